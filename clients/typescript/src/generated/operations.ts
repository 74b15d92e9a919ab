// Generated from docs/reference/openapi.json by `make typescript`.
// SHA-256 of the document and scripts/generate.js: c01288bb61fd2dc10be54a7535dd698d04d8684a587778b82a5e18f20b3e0ba1
// SHA-256 of the rest of this file: fb8cda3d0cc6b1bc4e392a1574de12a9cfa8cb4dc662cf7e8c20712229b5da07

import { type CallOptions, type CreateOptions, Sender, itemsOfPages, segment } from "../operation.js";
import type { Photo } from "../photos.js";
import type {
  AuditEntry,
  AuditPage,
  ChallengeRequest,
  ChallengeResponse,
  ChangePasswordRequest,
  CompareRequest,
  CompareResponse,
  CreateGalleryRequest,
  CreateJobQuery,
  CreateKeyRequest,
  CreateKeyResponse,
  CreateUserRequest,
  DetectRequest,
  DetectResponse,
  EndLoginsQuery,
  EndedLoginsResponse,
  EnrollByEmailRequest,
  EnrollRequest,
  EnrollResponse,
  EventPageResponse,
  FaceLoginRequest,
  GalleryList,
  GalleryResponse,
  HealthResponse,
  HintRequest,
  HintResponse,
  IdentifyRequest,
  IdentifyResponse,
  IntrospectRequest,
  IntrospectResponse,
  JobPage,
  JobResponse,
  KeyList,
  ListAuditQuery,
  ListEventsQuery,
  ListJobResultsQuery,
  ListJobsQuery,
  ListPhotosQuery,
  ListUsersQuery,
  LivenessFramesRequest,
  LivenessHintRequest,
  LivenessStepResponse,
  LoginList,
  LoginRequest,
  MeResponse,
  PasswordRequest,
  PhotoPage,
  PhotoResponse,
  PhotoResultPage,
  PhotoResultResponse,
  ReadinessResponse,
  RegisterRequest,
  RenameGalleryRequest,
  StatusResponse,
  TokenResponse,
  UpdateUserRequest,
  UserPage,
  UserResponse,
  VerifyRequest,
  VerifyResponse,
} from "./types.js";

/** The operations of the service. */
export abstract class Operations extends Sender {
  /**
   * List the users.
   *
   * Returns the users in the order of their ids.
   *
   * Who may call it: administrators, and programs with the scope `admin`.
   */
  listUsers(query?: ListUsersQuery, options?: CallOptions): Promise<UserPage> {
    return this.send(
      {
        method: "GET",
        path: `/api/v1/users`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
        query: { ...query },
      },
      options,
    );
  }

  /**
   * List the users.
   *
   * Yields the items of all pages.
   *
   * Who may call it: administrators, and programs with the scope `admin`.
   */
  iterUsers(
    query: Omit<ListUsersQuery, "cursor"> = {},
    options?: CallOptions,
  ): AsyncGenerator<UserResponse, void, undefined> {
    return itemsOfPages(async (cursor) => {
      const page = await this.listUsers({ ...query, ...(cursor === undefined ? {} : { cursor }) }, options);
      return { items: page.users, next: page.next_cursor };
    });
  }

  /**
   * Add a user.
   *
   * Adds a user without a photo and without a password.
   *
   * Who may call it: administrators, and programs with the scope `enroll` or `admin`.
   */
  createUser(body: CreateUserRequest, options?: CreateOptions): Promise<UserResponse> {
    return this.send(
      { method: "POST", path: `/api/v1/users`, inGallery: true, response: "json", acceptsKey: true, body },
      options,
    );
  }

  /**
   * Get a user.
   *
   * A logged-in user may get only their own account.
   *
   * Who may call it: the user themselves, administrators, and programs with the scope `admin`.
   */
  getUser(userId: number, options?: CallOptions): Promise<UserResponse> {
    return this.send(
      {
        method: "GET",
        path: `/api/v1/users/${segment(userId)}`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
      },
      options,
    );
  }

  /**
   * Change a user.
   *
   * Changes only the fields that you send.
   *
   * Who may call it: administrators, and programs with the scope `admin`.
   */
  updateUser(userId: number, body: UpdateUserRequest, options?: CallOptions): Promise<UserResponse> {
    return this.send(
      { method: "PATCH", path: `/api/v1/users/${segment(userId)}`, inGallery: true, response: "json", body },
      options,
    );
  }

  /**
   * Delete a user.
   *
   * Deletes the user's rows, embeddings, logins and files.
   *
   * Who may call it: administrators, and programs with the scope `admin`.
   */
  deleteUser(userId: number, options?: CallOptions): Promise<void> {
    return this.send(
      { method: "DELETE", path: `/api/v1/users/${segment(userId)}`, inGallery: true, response: "nothing" },
      options,
    );
  }

  /**
   * List a user's photos.
   *
   * Returns the photos in the order of their ids.
   *
   * Who may call it: the user themselves, administrators, and programs with the scope `admin`.
   */
  listPhotos(userId: number, query?: ListPhotosQuery, options?: CallOptions): Promise<PhotoPage> {
    return this.send(
      {
        method: "GET",
        path: `/api/v1/users/${segment(userId)}/photos`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
        query: { ...query },
      },
      options,
    );
  }

  /**
   * List a user's photos.
   *
   * Yields the items of all pages.
   *
   * Who may call it: the user themselves, administrators, and programs with the scope `admin`.
   */
  iterPhotos(
    userId: number,
    query: Omit<ListPhotosQuery, "cursor"> = {},
    options?: CallOptions,
  ): AsyncGenerator<PhotoResponse, void, undefined> {
    return itemsOfPages(async (cursor) => {
      const page = await this.listPhotos(userId, { ...query, ...(cursor === undefined ? {} : { cursor }) }, options);
      return { items: page.photos, next: page.next_cursor };
    });
  }

  /**
   * Enroll a photo of a user.
   *
   * Stores only the aligned crop of the face. A photo that the user has already changes nothing.
   *
   * A user who enrolls their own photo does not learn whether the face is another user's. An administrator does.
   *
   * Who may call it: the user themselves, administrators, and programs with the scope `enroll` or `admin`.
   */
  enrollPhoto(userId: number, body: EnrollRequest, options?: CreateOptions): Promise<EnrollResponse> {
    return this.send(
      {
        method: "POST",
        path: `/api/v1/users/${segment(userId)}/photos`,
        inGallery: true,
        response: "json",
        acceptsKey: true,
        body,
        photos: ["photo"],
      },
      options,
    );
  }

  /**
   * Enroll a photo by e-mail.
   *
   * Adds a user if the e-mail is new, in the same transaction.
   *
   * Who may call it: administrators, and programs with the scope `enroll` or `admin`.
   */
  enrollPhotoByEmail(body: EnrollByEmailRequest, options?: CreateOptions): Promise<EnrollResponse> {
    return this.send(
      {
        method: "POST",
        path: `/api/v1/photos`,
        inGallery: true,
        response: "json",
        acceptsKey: true,
        body,
        photos: ["photo"],
      },
      options,
    );
  }

  /**
   * Get the crop of a photo.
   *
   * Returns the face, rotated so that the eyes are level.
   *
   * Who may call it: the user themselves, administrators, and programs with the scope `admin`.
   */
  getCrop(userId: number, photoId: number, options?: CallOptions): Promise<Blob> {
    return this.send(
      {
        method: "GET",
        path: `/api/v1/users/${segment(userId)}/photos/${segment(photoId)}/crop`,
        inGallery: true,
        response: "blob",
        isRepeatable: true,
      },
      options,
    );
  }

  /**
   * Delete a photo.
   *
   * Deletes its row, the embeddings made from it, and its file.
   *
   * Who may call it: the user themselves, administrators, and programs with the scope `admin`.
   */
  deletePhoto(userId: number, photoId: number, options?: CallOptions): Promise<void> {
    return this.send(
      {
        method: "DELETE",
        path: `/api/v1/users/${segment(userId)}/photos/${segment(photoId)}`,
        inGallery: true,
        response: "nothing",
      },
      options,
    );
  }

  /**
   * Identify people (1:N).
   *
   * Identifies every face, or the largest ones if there are many. A photo without a face is not an error.
   *
   * Who may call it: administrators, and programs with the scope `identify` or `admin`.
   */
  identify(body: IdentifyRequest, options?: CallOptions): Promise<IdentifyResponse> {
    return this.send(
      {
        method: "POST",
        path: `/api/v1/identify`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
        body,
        photos: ["photo"],
      },
      options,
    );
  }

  /**
   * Verify a user (1:1).
   *
   * A logged-in user may verify only themselves.
   *
   * Who may call it: every logged-in user, administrators, and programs with the scope `verify` or `admin`.
   */
  verify(body: VerifyRequest, options?: CallOptions): Promise<VerifyResponse> {
    return this.send(
      {
        method: "POST",
        path: `/api/v1/verify`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
        body,
        photos: ["photo"],
      },
      options,
    );
  }

  /**
   * Compare two photos.
   *
   * Compares the faces of two photos. The person need not be enrolled.
   *
   * Who may call it: every logged-in user, administrators, and programs with the scope `verify` or `admin`.
   */
  compare(body: CompareRequest, options?: CallOptions): Promise<CompareResponse> {
    return this.send(
      {
        method: "POST",
        path: `/api/v1/compare`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
        body,
        photos: ["photo", "other"],
      },
      options,
    );
  }

  /**
   * Detect faces.
   *
   * Returns boxes, landmarks and quality. It does not search for users.
   *
   * Who may call it: every logged-in user, administrators, and programs with the scope `identify` or `admin`.
   */
  detect(body: DetectRequest, options?: CallOptions): Promise<DetectResponse> {
    return this.send(
      {
        method: "POST",
        path: `/api/v1/detect`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
        body,
        photos: ["photo"],
      },
      options,
    );
  }

  /**
   * Register.
   *
   * A user whom an administrator has enrolled cannot register. An administrator sets the first password.
   *
   * Who may call it: anyone, without credentials.
   */
  register(body: RegisterRequest, options?: CreateOptions): Promise<UserResponse> {
    return this.send(
      { method: "POST", path: `/api/v1/auth/register`, inGallery: true, response: "json", acceptsKey: true, body },
      options,
    );
  }

  /**
   * Log in by password.
   *
   * An unknown e-mail and a wrong password get the same response, after the same work.
   *
   * Who may call it: anyone, without credentials.
   */
  logIn(body: LoginRequest, options?: CallOptions): Promise<TokenResponse> {
    return this.send({ method: "POST", path: `/api/v1/auth/login`, inGallery: true, response: "json", body }, options);
  }

  /**
   * Start a login by face.
   *
   * Returns where to look first. The challenge counts as a failed attempt until the login is done.
   *
   * Who may call it: anyone, without credentials.
   */
  createChallenge(body: ChallengeRequest, options?: CallOptions): Promise<ChallengeResponse> {
    return this.send(
      { method: "POST", path: `/api/v1/auth/challenge`, inGallery: true, response: "json", body },
      options,
    );
  }

  /**
   * Check the position of a face.
   *
   * Accepts at most 300 frames for each challenge. A hint identifies no face. A busy service gives no hints.
   *
   * Who may call it: anyone, without credentials.
   */
  getHint(body: HintRequest, options?: CallOptions): Promise<HintResponse> {
    return this.send(
      { method: "POST", path: `/api/v1/auth/hint`, inGallery: true, response: "json", body, photos: ["frame"] },
      options,
    );
  }

  /**
   * Log in by face.
   *
   * Send frames while the status is 202, and look where the response says. The service stores no frame.
   *
   * The audit log has the reason of a refusal, but the response does not.
   *
   * Who may call it: anyone, without credentials.
   */
  logInByFace(body: FaceLoginRequest, options?: CallOptions): Promise<TokenResponse | ChallengeResponse> {
    return this.send(
      { method: "POST", path: `/api/v1/auth/face`, inGallery: true, response: "json", body, photos: ["frames"] },
      options,
    );
  }

  /**
   * Log out.
   *
   * Ends the login of this request. Its token is no longer valid.
   *
   * Who may call it: every logged-in user.
   */
  logOut(options?: CallOptions): Promise<void> {
    return this.send({ method: "POST", path: `/api/v1/auth/logout`, inGallery: true, response: "nothing" }, options);
  }

  /**
   * Get my account.
   *
   * Returns the user and the login of the token.
   *
   * Who may call it: every logged-in user.
   */
  getMe(options?: CallOptions): Promise<MeResponse> {
    return this.send(
      { method: "GET", path: `/api/v1/auth/me`, inGallery: true, response: "json", isRepeatable: true },
      options,
    );
  }

  /**
   * Delete my account.
   *
   * Deletes the user's rows, faces, logins and files.
   *
   * Who may call it: every logged-in user.
   */
  deleteMe(body: PasswordRequest, options?: CallOptions): Promise<void> {
    return this.send(
      { method: "DELETE", path: `/api/v1/auth/me`, inGallery: true, response: "nothing", body },
      options,
    );
  }

  /**
   * Change my password.
   *
   * Ends all other logins.
   *
   * Who may call it: every logged-in user.
   */
  changePassword(body: ChangePasswordRequest, options?: CallOptions): Promise<void> {
    return this.send(
      { method: "POST", path: `/api/v1/auth/password`, inGallery: true, response: "nothing", body },
      options,
    );
  }

  /**
   * List my logins.
   *
   * Returns the logins that have not ended.
   *
   * Who may call it: every logged-in user.
   */
  listLogins(options?: CallOptions): Promise<LoginList> {
    return this.send(
      { method: "GET", path: `/api/v1/auth/logins`, inGallery: true, response: "json", isRepeatable: true },
      options,
    );
  }

  /**
   * Log out everywhere.
   *
   * Ends all logins, or with `keep_this` all others.
   *
   * Who may call it: every logged-in user.
   */
  endLogins(query?: EndLoginsQuery, options?: CallOptions): Promise<EndedLoginsResponse> {
    return this.send(
      { method: "DELETE", path: `/api/v1/auth/logins`, inGallery: true, response: "json", query: { ...query } },
      options,
    );
  }

  /**
   * End one of my logins.
   *
   * Ends a login, which may be the login of this request.
   *
   * Who may call it: every logged-in user.
   */
  endLogin(loginId: number, options?: CallOptions): Promise<void> {
    return this.send(
      { method: "DELETE", path: `/api/v1/auth/logins/${segment(loginId)}`, inGallery: true, response: "nothing" },
      options,
    );
  }

  /**
   * Introspect a token (RFC 7662).
   *
   * Lets another application accept the tokens of users who have logged in here.
   *
   * Who may call it: administrators, and programs with the scope `verify` or `admin`.
   */
  introspect(body: IntrospectRequest, options?: CallOptions): Promise<IntrospectResponse> {
    return this.send({ method: "POST", path: `/api/v1/introspect`, inGallery: true, response: "json", body }, options);
  }

  /**
   * Send frames of a liveness session.
   *
   * Send frames while the status is 202. The first pose is straight ahead.
   *
   * The status 200 means that the session has ended. GetFaceLivenessSessionResults says whether the person is live.
   *
   * Who may call it: anyone, without credentials.
   */
  answerLivenessSession(
    sessionId: string,
    body: LivenessFramesRequest,
    options?: CallOptions,
  ): Promise<LivenessStepResponse> {
    return this.send(
      {
        method: "POST",
        path: `/api/v1/liveness/${segment(sessionId)}`,
        inGallery: true,
        response: "json",
        body,
        photos: ["frames"],
      },
      options,
    );
  }

  /**
   * Check the position of a face.
   *
   * Accepts at most 300 frames for each session. A hint identifies no face. A busy service gives no hints.
   *
   * Who may call it: anyone, without credentials.
   */
  getLivenessHint(sessionId: string, body: LivenessHintRequest, options?: CallOptions): Promise<HintResponse> {
    return this.send(
      {
        method: "POST",
        path: `/api/v1/liveness/${segment(sessionId)}/hint`,
        inGallery: true,
        response: "json",
        body,
        photos: ["frame"],
      },
      options,
    );
  }

  /**
   * Read the events.
   *
   * Returns events in order. A reader that keeps `next_cursor` gets every event exactly once.
   *
   * Who may call it: administrators, and programs with the scope `events` or `admin`.
   */
  listEvents(query?: ListEventsQuery, options?: CallOptions): Promise<EventPageResponse> {
    return this.send(
      {
        method: "GET",
        path: `/api/v1/events`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
        query: { ...query },
      },
      options,
    );
  }

  /**
   * Add a job.
   *
   * Adds long work that a worker does (`pgface worker`). The response does not wait for it.
   *
   * An archive has a folder for each person, `<person>/<photo>`, as for `pgface enroll --folder`.
   *
   * Who may call it: administrators, and programs with the scope `enroll` or `admin`.
   */
  createJob(query: CreateJobQuery, upload?: Photo, options?: CreateOptions): Promise<JobResponse> {
    return this.send(
      {
        method: "POST",
        path: `/api/v1/jobs`,
        inGallery: true,
        response: "json",
        acceptsKey: true,
        query: { ...query },
        upload,
      },
      options,
    );
  }

  /**
   * List the jobs.
   *
   * Returns the newest jobs first. Programs without the scope `admin` see only those that they added.
   *
   * Who may call it: administrators, and programs with the scope `enroll` or `admin`.
   */
  listJobs(query?: ListJobsQuery, options?: CallOptions): Promise<JobPage> {
    return this.send(
      {
        method: "GET",
        path: `/api/v1/jobs`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
        query: { ...query },
      },
      options,
    );
  }

  /**
   * List the jobs.
   *
   * Yields the items of all pages.
   *
   * Who may call it: administrators, and programs with the scope `enroll` or `admin`.
   */
  iterJobs(
    query: Omit<ListJobsQuery, "cursor"> = {},
    options?: CallOptions,
  ): AsyncGenerator<JobResponse, void, undefined> {
    return itemsOfPages(async (cursor) => {
      const page = await this.listJobs({ ...query, ...(cursor === undefined ? {} : { cursor }) }, options);
      return { items: page.jobs, next: page.next_cursor };
    });
  }

  /**
   * Get a job.
   *
   * Returns its state and progress.
   *
   * Who may call it: administrators, and programs with the scope `enroll` or `admin`.
   */
  getJob(jobId: string, options?: CallOptions): Promise<JobResponse> {
    return this.send(
      { method: "GET", path: `/api/v1/jobs/${segment(jobId)}`, inGallery: true, response: "json", isRepeatable: true },
      options,
    );
  }

  /**
   * List the results of a job.
   *
   * Returns one result for each photo, in the order of the archive. Other kinds of jobs have none.
   *
   * Who may call it: administrators, and programs with the scope `enroll` or `admin`.
   */
  listJobResults(jobId: string, query?: ListJobResultsQuery, options?: CallOptions): Promise<PhotoResultPage> {
    return this.send(
      {
        method: "GET",
        path: `/api/v1/jobs/${segment(jobId)}/results`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
        query: { ...query },
      },
      options,
    );
  }

  /**
   * List the results of a job.
   *
   * Yields the items of all pages.
   *
   * Who may call it: administrators, and programs with the scope `enroll` or `admin`.
   */
  iterJobResults(
    jobId: string,
    query: Omit<ListJobResultsQuery, "cursor"> = {},
    options?: CallOptions,
  ): AsyncGenerator<PhotoResultResponse, void, undefined> {
    return itemsOfPages(async (cursor) => {
      const page = await this.listJobResults(jobId, { ...query, ...(cursor === undefined ? {} : { cursor }) }, options);
      return { items: page.results, next: page.next_cursor };
    });
  }

  /**
   * Cancel a job.
   *
   * Photos that were enrolled stay. Photos that wait are deleted.
   *
   * Who may call it: administrators, and programs with the scope `enroll` or `admin`.
   */
  cancelJob(jobId: string, options?: CallOptions): Promise<JobResponse> {
    return this.send(
      { method: "POST", path: `/api/v1/jobs/${segment(jobId)}/cancel`, inGallery: true, response: "json" },
      options,
    );
  }

  /**
   * Get the status of the gallery.
   *
   * Returns the model, the thresholds, the search, and the numbers of users, photos and embeddings.
   *
   * Who may call it: administrators, and programs with the scope `admin`.
   */
  getStatus(options?: CallOptions): Promise<StatusResponse> {
    return this.send(
      { method: "GET", path: `/api/v1/status`, inGallery: true, response: "json", isRepeatable: true },
      options,
    );
  }

  /**
   * List the API keys.
   *
   * Returns the keys' names and scopes. pgface does not store the keys themselves.
   *
   * Who may call it: administrators, and programs with the scope `admin`.
   */
  listApiKeys(options?: CallOptions): Promise<KeyList> {
    return this.send(
      { method: "GET", path: `/api/v1/keys`, inGallery: true, response: "json", isRepeatable: true },
      options,
    );
  }

  /**
   * Create an API key.
   *
   * Returns the key, which pgface does not store. If you repeat the request, you get another key.
   *
   * Who may call it: administrators, and programs with the scope `admin`.
   */
  createApiKey(body: CreateKeyRequest, options?: CallOptions): Promise<CreateKeyResponse> {
    return this.send({ method: "POST", path: `/api/v1/keys`, inGallery: true, response: "json", body }, options);
  }

  /**
   * Revoke an API key.
   *
   * A program with this key gets the status 401 from now on.
   *
   * Who may call it: administrators, and programs with the scope `admin`.
   */
  revokeApiKey(keyId: number, options?: CallOptions): Promise<void> {
    return this.send(
      { method: "DELETE", path: `/api/v1/keys/${segment(keyId)}`, inGallery: true, response: "nothing" },
      options,
    );
  }

  /**
   * List the audit log.
   *
   * Returns the events of accounts, the newest first.
   *
   * Who may call it: administrators, and programs with the scope `admin`.
   */
  listAudit(query?: ListAuditQuery, options?: CallOptions): Promise<AuditPage> {
    return this.send(
      {
        method: "GET",
        path: `/api/v1/audit`,
        inGallery: true,
        response: "json",
        isRepeatable: true,
        query: { ...query },
      },
      options,
    );
  }

  /**
   * List the audit log.
   *
   * Yields the items of all pages.
   *
   * Who may call it: administrators, and programs with the scope `admin`.
   */
  iterAudit(
    query: Omit<ListAuditQuery, "cursor"> = {},
    options?: CallOptions,
  ): AsyncGenerator<AuditEntry, void, undefined> {
    return itemsOfPages(async (cursor) => {
      const page = await this.listAudit({ ...query, ...(cursor === undefined ? {} : { cursor }) }, options);
      return { items: page.entries, next: page.next_cursor };
    });
  }

  /**
   * List the galleries.
   *
   * The default gallery is not in the list. The paths without a gallery belong to it.
   *
   * Who may call it: administrators of all galleries, and programs with the scope `admin` for all galleries.
   */
  listGalleries(options?: CallOptions): Promise<GalleryList> {
    return this.send(
      { method: "GET", path: `/api/v1/galleries`, inGallery: false, response: "json", isRepeatable: true },
      options,
    );
  }

  /**
   * Create a gallery.
   *
   * The gallery is empty, and registration in it is closed. Its paths are `/api/v1/galleries/{gallery}/...`.
   *
   * Who may call it: administrators of all galleries, and programs with the scope `admin` for all galleries.
   */
  createGallery(body: CreateGalleryRequest, options?: CallOptions): Promise<GalleryResponse> {
    return this.send({ method: "POST", path: `/api/v1/galleries`, inGallery: false, response: "json", body }, options);
  }

  /**
   * Get a gallery.
   *
   * Returns the model and the numbers of people and faces.
   *
   * Who may call it: administrators of all galleries, and programs with the scope `admin` for all galleries.
   */
  getGallery(gallery: string, options?: CallOptions): Promise<GalleryResponse> {
    return this.send(
      {
        method: "GET",
        path: `/api/v1/galleries/${segment(gallery)}`,
        inGallery: false,
        response: "json",
        isRepeatable: true,
      },
      options,
    );
  }

  /**
   * Rename a gallery.
   *
   * The ids of its people stay, and so do its keys. Browsers have to log in again.
   *
   * Who may call it: administrators of all galleries, and programs with the scope `admin` for all galleries.
   */
  renameGallery(gallery: string, body: RenameGalleryRequest, options?: CallOptions): Promise<GalleryResponse> {
    return this.send(
      { method: "PATCH", path: `/api/v1/galleries/${segment(gallery)}`, inGallery: false, response: "json", body },
      options,
    );
  }

  /**
   * Delete a gallery.
   *
   * Deletes its people, photos, keys and sessions. You cannot undo this.
   *
   * Who may call it: administrators of all galleries, and programs with the scope `admin` for all galleries.
   */
  deleteGallery(gallery: string, options?: CallOptions): Promise<void> {
    return this.send(
      { method: "DELETE", path: `/api/v1/galleries/${segment(gallery)}`, inGallery: false, response: "nothing" },
      options,
    );
  }

  /**
   * Check that the process responds.
   *
   * Checks nothing else. If this fails, restart the process.
   *
   * Who may call it: anyone, without credentials.
   */
  healthz(options?: CallOptions): Promise<HealthResponse> {
    return this.send(
      { method: "GET", path: `/healthz`, inGallery: false, response: "json", isRepeatable: true },
      options,
    );
  }

  /**
   * Check that the service is ready.
   *
   * Checks the database, the version of its tables, and the model. A replica must also follow its primary.
   *
   * Who may call it: anyone, without credentials.
   */
  readyz(options?: CallOptions): Promise<ReadinessResponse> {
    return this.send(
      { method: "GET", path: `/readyz`, inGallery: false, response: "json", results: [503], isRepeatable: true },
      options,
    );
  }

  /**
   * Get the metrics.
   *
   * Returns the metrics of all processes: requests, stages, the work queues, the size of the gallery, and logins.
   *
   * With replicas, they also show how far each is behind.
   *
   * Who may call it: administrators, and programs with the scope `metrics` or `admin`.
   */
  getMetrics(options?: CallOptions): Promise<string> {
    return this.send(
      { method: "GET", path: `/metrics`, inGallery: false, response: "text", isRepeatable: true },
      options,
    );
  }
}
