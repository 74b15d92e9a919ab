// Generated from docs/reference/openapi.json by `make typescript`.
// SHA-256 of the document and scripts/generate.js: c01288bb61fd2dc10be54a7535dd698d04d8684a587778b82a5e18f20b3e0ba1
// SHA-256 of the rest of this file: 710d40fe4376cbeff981dcda0082c2a4b652ee0f6d47568d2cab306ddfe9b185

import type { Photo } from "../photos.js";
export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
  schemas: {
    /** @description A row of the audit log. */
    AuditEntry: {
      id: number;
      /** Format: date-time */
      at: string;
      event: string;
      /** @enum {string} */
      outcome: "done" | "refused";
      reason: string | null;
      actor: string | null;
      user_id: number | null;
      key_id: number | null;
      address: string | null;
      similarity: number | null;
      /** @description The number of equal events within the hour. Equal refusals share a row. */
      count: number;
      /** @description The time of the last of several equal events. */
      last_at: string | null;
    };
    /** @description A page of the audit log, the newest entries first. */
    AuditPage: {
      /** @description The cursor of the next page. Null at the end. */
      next_cursor?: string | null;
      entries: components["schemas"]["AuditEntry"][];
    };
    /** @description A box in pixels of the upright photo. Parts of it may lie outside of the photo. */
    Box: {
      x: number;
      y: number;
      width: number;
      height: number;
    };
    /** @description The user who starts a login by face. */
    ChallengeRequest: {
      /** @description Not with the policy `identify+liveness`. */
      email?: string | null;
      /** @description With the policy `password+face` only. */
      password?: string | null;
    };
    /** @description The next step of a login by face. */
    ChallengeResponse: {
      /** @description The token to send with the frames. It stays the same until the login is done. */
      token: string;
      /** @description Where to look, from the person's point of view. `centre` is straight ahead. Hold this pose until a response has another one. */
      pose: ("left" | "right" | "up") | "centre";
      /** @description The share of the poses that is done. */
      progress: number;
      /** @description The time limit of the whole login, from the first challenge on. */
      seconds: number;
      /**
       * @description What a login by face needs.
       * @enum {string}
       */
      policy: "password+face" | "face+liveness" | "identify+liveness";
    };
    /** @description The current password and the new one. */
    ChangePasswordRequest: {
      /**
       * Format: password
       * @description The current password.
       */
      former: string;
      /**
       * Format: password
       * @description The new password.
       */
      new: string;
    };
    /** @description Two photos that may show the same person. */
    CompareRequest: {
      /** @description A photo. */
      photo: Photo;
      /** @description Another photo. */
      other: Photo;
      /** @description By default the gallery's threshold for 1:1. */
      threshold?: number | null;
      /**
       * @description `only` refuses a photo with several faces, unless the others are less than a quarter as wide. `largest` takes the largest, `central` the large one nearest the middle. At enrollment, `only` leaves faces in the background aside.
       * @default only
       * @enum {string}
       */
      face?: "only" | "largest" | "central";
    };
    /** @description Whether two photos show the same person. */
    CompareResponse: {
      match: boolean;
      similarity: number;
      threshold: number;
      /** @description 0 to 100: 50 is reached by 1 in 100 pairs of strangers, 80 by 1 in 1,000, 90 by 1 in 10,000, 99 by 1 in a million. Null if the photos do not match, and below the gallery's threshold. */
      confidence: number | null;
    };
    /** @description A gallery to create. */
    CreateGalleryRequest: {
      /** @description Letters, digits and `_.-`. Upper and lower case differ. */
      name: string;
      /** @description The name of an installed model. The default gallery's model by default. */
      model?: string | null;
    };
    /** @description An API key to create. */
    CreateKeyRequest: {
      /** @description What the key is for. */
      name: string;
      /** @description What the key permits. */
      scopes: ("identify" | "verify" | "enroll" | "events" | "admin" | "metrics")[];
      /**
       * @description Whether the key works for all galleries. Only an administrator of all galleries can create such a key, in the default gallery.
       * @default false
       */
      all_galleries?: boolean;
    };
    /** @description A new API key. */
    CreateKeyResponse: {
      /** @description Shown only once. pgface does not store it. */
      key: string;
      about: components["schemas"]["KeyResponse"];
    };
    /** @description A user to add, without a photo. */
    CreateUserRequest: {
      /** @description The user's e-mail. */
      email: string;
      /** @description By default the first part of the e-mail. */
      name?: string | null;
      external_id?: string | null;
      /**
       * @description The labels of the user.
       * @default []
       */
      labels?: string[];
      /**
       * @description A JSON object of up to 8 kB, with up to 8 levels. In a form, its text.
       * @default {}
       */
      metadata?: {
        [key: string]: unknown;
      };
    };
    /** @description A photo in which to detect faces. */
    DetectRequest: {
      /** @description The photo. */
      photo: Photo;
    };
    /** @description The faces of a photo, the largest first. */
    DetectResponse: {
      faces: components["schemas"]["Face"][];
    };
    /** @description The number of logins that were ended. */
    EndedLoginsResponse: {
      ended: number;
    };
    /** @description A photo to enroll for the user with an e-mail. A user with a new e-mail is added. */
    EnrollByEmailRequest: {
      /** @description The photo. */
      photo: Photo;
      /**
       * @description `only` refuses a photo with several faces, unless the others are less than a quarter as wide. `largest` takes the largest, `central` the large one nearest the middle. At enrollment, `only` leaves faces in the background aside.
       * @default only
       * @enum {string}
       */
      face?: "only" | "largest" | "central";
      /**
       * @description Enroll the face even if it is another user's. Only for administrators.
       * @default false
       */
      allow_other_user?: boolean;
      /** @description The user's e-mail. Optional if you give a name. */
      email?: string | null;
      /** @description The name of a user who is added. By default the first part of the e-mail. Without an e-mail, the name identifies the user, like the name of a folder for `pgface enroll --folder`. The e-mail is then `<name>@pgface.invalid`. */
      name?: string | null;
      /** @description The external id of a user who is added. */
      external_id?: string | null;
      /**
       * @description The labels of a user who is added.
       * @default []
       */
      labels?: string[];
      /**
       * @description The metadata of a user who is added. In a form, its text.
       * @default {}
       */
      metadata?: {
        [key: string]: unknown;
      };
    };
    /** @description A photo to enroll for a user. */
    EnrollRequest: {
      /** @description The photo. */
      photo: Photo;
      /**
       * @description `only` refuses a photo with several faces, unless the others are less than a quarter as wide. `largest` takes the largest, `central` the large one nearest the middle. At enrollment, `only` leaves faces in the background aside.
       * @default only
       * @enum {string}
       */
      face?: "only" | "largest" | "central";
      /**
       * @description Enroll the face even if it is another user's. Only for administrators.
       * @default false
       */
      allow_other_user?: boolean;
    };
    /** @description The result of an enrollment. */
    EnrollResponse: {
      user: components["schemas"]["UserResponse"];
      photo_id: number;
      /** @description False if the user has this photo already. Nothing was changed then. */
      added: boolean;
      /** @description Null if nothing was added. */
      face: components["schemas"]["Face"] | null;
      /** @description Smaller faces in the background, which were not enrolled. */
      left_aside: components["schemas"]["Box"][];
    };
    /** @description Events in their order. */
    EventPageResponse: {
      events: components["schemas"]["EventResponse"][];
      /** @description Keep it, and send it as `after` of the next request. */
      next_cursor: string;
    };
    /** @description Something that happened in the gallery. It has no name, e-mail, photo or embedding. */
    EventResponse: {
      /** @description The place of the event. Send it as `after` to read the events that follow. */
      cursor: string;
      /** @description Unique in the gallery. The ids are not in the order of the events. */
      id: number;
      /** Format: date-time */
      at: string;
      kind: string;
      /** @description The user. Null if the event is about no user or about more than 100 users, or if the user was deleted since. */
      user_id: number | null;
      /** @description Of `user_merged`: the user that was deleted. */
      other_user_id: number | null;
      /** @description The photo, if the event is about one photo. */
      photo_id: number | null;
      /** @description Of `identified` and `verified`: whether a user matched. */
      matched: boolean | null;
      /** @description Of a match, 0 to 100. */
      confidence: number | null;
      /** @description The number of users, photos or faces that one statement changed. */
      count: number;
    };
    /** @description A face of a photo. */
    Face: {
      box: components["schemas"]["Box"];
      /** @description Left eye, right eye, nose, left and right mouth corner, as seen in the photo. Null if the model does not find one. */
      landmarks: ([number, number] | null)[];
      /** @description The score of the detector. Scores of different models cannot be compared. */
      detection_score: number;
      /** @description Face size in pixels, sharpness, brightness from 0 to 1, yaw, pitch and roll in degrees. */
      quality: {
        [key: string]: number | null;
      };
    };
    /** @description The next frames of the camera. */
    FaceLoginRequest: {
      /** @description The token of the challenge. */
      challenge: string;
      /** @description The frames since the last request, about ten a second, in order, not mirrored. Each has at most 500 kB and one megapixel. */
      frames: Photo[];
    };
    /** @description What is wrong with one field of a request. */
    FieldProblem: {
      /** @description The name of the field. Dots separate the names of nested fields. */
      field: string;
      detail: string;
    };
    /** @description All galleries except the default one. */
    GalleryList: {
      galleries: components["schemas"]["GalleryResponse"][];
    };
    /** @description A gallery. */
    GalleryResponse: {
      name: string;
      /** @description Null in a list if the gallery is on another server. */
      model_name: string | null;
      /** @description The number of people. Null as for the model. */
      people: number | null;
      /** @description The number of enrolled faces. Null as for the model. */
      faces: number | null;
      /** Format: date-time */
      created_at: string;
    };
    /** @description The process responds. */
    HealthResponse: {
      /**
       * @default ok
       * @constant
       */
      status?: "ok";
    };
    /** @description A frame of the camera before a challenge is answered. */
    HintRequest: {
      /** @description The token of the challenge. */
      challenge: string;
      /** @description A frame of the camera. */
      frame: Photo;
    };
    /** @description How to stand in front of the camera. */
    HintResponse: {
      /**
       * @description `ok`, or what is wrong, or where to move from the person's point of view: `left` is to their left.
       * @enum {string}
       */
      hint: "ok" | "no-face" | "several" | "closer" | "farther" | "left" | "right" | "up" | "down" | "straight";
    };
    /** @description A face of a photo, and the users it matches. */
    IdentifiedFace: {
      box: components["schemas"]["Box"];
      /** @description Left eye, right eye, nose, left and right mouth corner, as seen in the photo. Null if the model does not find one. */
      landmarks: ([number, number] | null)[];
      /** @description The score of the detector. Scores of different models cannot be compared. */
      detection_score: number;
      /** @description Face size in pixels, sharpness, brightness from 0 to 1, yaw, pitch and roll in degrees. */
      quality: {
        [key: string]: number | null;
      };
      identified: boolean;
      /** @description The users above the threshold, the most similar first. Empty for an unknown person. */
      matches: components["schemas"]["Match"][];
    };
    /** @description A photo to search for in the gallery. */
    IdentifyRequest: {
      /** @description The probe. */
      photo: Photo;
      /** @description By default the gallery's threshold for 1:N. */
      threshold?: number | null;
      /**
       * @description The maximum of users for each face.
       * @default 1
       */
      top?: number;
      /**
       * @description Search only among the users who have all of these labels.
       * @default []
       */
      labels?: string[];
    };
    /** @description The users in a photo, for every face, the largest first. */
    IdentifyResponse: {
      model: string;
      threshold: number;
      /** @description The gallery's threshold for 1:N. A face below it counts as unknown. */
      gallery_threshold: number;
      faces: components["schemas"]["IdentifiedFace"][];
      /** @description The number of faces in the photo. If there are more than the service's `PGFACE_MAX_FACES`, only the largest are identified. */
      faces_found: number;
    };
    /** @description A token that another application received. Other fields of OAuth libraries are ignored. */
    IntrospectRequest: {
      /** @description The token. */
      token: string;
      /** @description Ignored. */
      token_type_hint?: string | null;
    };
    /** @description The state of a token (RFC 7662, section 2.2). */
    IntrospectResponse: {
      active: boolean;
      /** @description The user's id. */
      sub?: string | null;
      /** @description The user's e-mail. */
      username?: string | null;
      name?: string | null;
      token_type?: "Bearer" | null;
      /** @description When the login ends, in seconds since 1970 in UTC. */
      exp?: number | null;
      /** @description When the login began. */
      iat?: number | null;
      /** @description 1.0 for a password, the similarity for a face. */
      confidence?: number | null;
      /** @description How the user logged in (RFC 8176): `pwd`, `face` or both. */
      amr?: string[] | null;
    };
    /** @description A page of jobs. */
    JobPage: {
      /** @description The cursor of the next page. Null at the end. */
      next_cursor?: string | null;
      jobs: components["schemas"]["JobResponse"][];
    };
    /** @description A job. */
    JobResponse: {
      /** Format: uuid */
      id: string;
      /** @enum {string} */
      kind: "enroll" | "import" | "reembed" | "evaluate";
      /** @enum {string} */
      state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
      /** @description The caller, as in the audit log. */
      created_by: string;
      /** Format: date-time */
      created_at: string;
      /** @description Null while the job waits for a worker. */
      started_at: string | null;
      finished_at: string | null;
      /** @description The number of photos or embeddings. 0 until it is known. */
      total: number;
      /** @description How many of them have a result. */
      done: number;
      /** @description Photos that were enrolled. */
      enrolled: number;
      /** @description Photos that their users had already. */
      already_enrolled: number;
      /** @description Photos that could not be enrolled. */
      refused: number;
      /** @description The code of the error, for a failed job. */
      error: string | null;
      /** @description Why the job failed. */
      reason: string | null;
      /** @description What an import, a change of the model or an evaluation returned. Null if nothing was changed. */
      report: {
        [key: string]: unknown;
      } | null;
    };
    /** @description All API keys, including revoked ones. */
    KeyList: {
      keys: components["schemas"]["KeyResponse"][];
    };
    /** @description An API key, without the key itself. */
    KeyResponse: {
      id: number;
      name: string;
      scopes: string[];
      /** Format: date-time */
      created_at: string;
      /** @description Accurate to the minute. */
      last_used_at: string | null;
      revoked_at: string | null;
      /** @description Whether the key works for all galleries. */
      all_galleries: boolean;
    };
    /** @description The next frames of the camera. */
    LivenessFramesRequest: {
      /** @description The frames since the last request, about ten a second, in order, not mirrored. Each has at most 500 kB and one megapixel. */
      frames: Photo[];
    };
    /** @description A frame of the camera before a session is answered. */
    LivenessHintRequest: {
      /** @description A frame of the camera. */
      frame: Photo;
    };
    /** @description The next step of a liveness session. */
    LivenessStepResponse: {
      /** @description Where to look, from the person's point of view. `centre` is straight ahead. Hold this pose until a response has another one. */
      pose: ("left" | "right" | "up") | "centre";
      /** @description The share of the poses that is done. */
      progress: number;
      /** @description Whether the session has ended. It does not say whether the person is live. */
      done: boolean;
    };
    /** @description The logins of a user. */
    LoginList: {
      logins: components["schemas"]["LoginResponse"][];
    };
    /** @description An e-mail and a password. */
    LoginRequest: {
      /** @description The user's e-mail. */
      email: string;
      /**
       * Format: password
       * @description The user's password.
       */
      password: string;
    };
    /** @description A login that has not ended. */
    LoginResponse: {
      id: number;
      confidence: number;
      /** Format: date-time */
      created_at: string;
      expires_at: string | null;
      /** @description Whether it is the login of this request. */
      current: boolean;
    };
    /** @description A user found for a face. */
    Match: {
      user_id: number;
      name: string;
      email: string;
      similarity: number;
      /** @description 0 to 100: 50 is reached by 1 in 100 pairs of strangers, 80 by 1 in 1,000, 90 by 1 in 10,000, 99 by 1 in a million. Null below `gallery_threshold`. */
      confidence: number | null;
      /** @description The id of the user in another system. */
      external_id: string | null;
    };
    /** @description The user and the login of the request's token. */
    MeResponse: {
      user: components["schemas"]["UserResponse"];
      administrator: boolean;
      login: components["schemas"]["LoginResponse"];
    };
    /** @description A password. */
    PasswordRequest: {
      /**
       * Format: password
       * @description The user's password.
       */
      password: string;
    };
    /** @description A page of a user's photos. */
    PhotoPage: {
      /** @description The cursor of the next page. Null at the end. */
      next_cursor?: string | null;
      photos: components["schemas"]["PhotoResponse"][];
    };
    /** @description An enrolled photo. pgface stores only the crop of the face. */
    PhotoResponse: {
      id: number;
      user_id: number;
      filename: string;
      width: number;
      height: number;
      /** Format: date-time */
      created_at: string;
    };
    /** @description A page of results. */
    PhotoResultPage: {
      /** @description The cursor of the next page. Null at the end. */
      next_cursor?: string | null;
      results: components["schemas"]["PhotoResultResponse"][];
    };
    /** @description What a job did with one photo. */
    PhotoResultResponse: {
      /** @description The path in the archive. Null after the user was deleted. */
      photo: string | null;
      /** @enum {string} */
      outcome: "waiting" | "enrolled" | "already enrolled" | "refused" | "cancelled";
      user_id: number | null;
      photo_id: number | null;
      /** @description The code of the error, for a refused photo. */
      error: string | null;
      /** @description Why the photo was refused. */
      reason: string | null;
    };
    /** @description An error, as RFC 9457 describes it. */
    Problem: {
      /** @description The page that describes the error: `/problems#` and the code. */
      type: string;
      title: string;
      status: number;
      /** @description What happened, and what to do. */
      detail: string;
      /** @description The error for programs. It does not change between versions. */
      code: string;
      /**
       * @description Identifies the request in the log.
       * @default null
       */
      request_id?: string | null;
      /**
       * @description The fields that cannot be used.
       * @default null
       */
      errors?: components["schemas"]["FieldProblem"][] | null;
    } & {
      [key: string]: unknown;
    };
    /** @description Whether the service is ready, and the parts that it needs. */
    ReadinessResponse: {
      ready: boolean;
      database: boolean;
      /** @description Whether the tables are those of this version of pgface. */
      schema_current: boolean;
      /** @description Whether the model is loaded. */
      model: boolean;
      /** @description The state of the database if it is a replica, so that the service only reads. Null if the service can write. */
      replica: components["schemas"]["ReplicaResponse"] | null;
    };
    /** @description A user who registers. */
    RegisterRequest: {
      /** @description The user's e-mail. */
      email: string;
      /**
       * Format: password
       * @description The user's password.
       */
      password: string;
      /** @description By default the first part of the e-mail. */
      name?: string | null;
    };
    /** @description A new name of a gallery. */
    RenameGalleryRequest: {
      name: string;
    };
    /** @description How far a replica is behind its primary. */
    ReplicaResponse: {
      /** @description Whether it is not further behind than PGFACE_MAX_REPLICA_LAG. */
      current: boolean;
      /** @description Bytes that the replica has received and does not show yet. */
      lag_bytes: number | null;
      /** @description Seconds since the replica certainly showed everything. Null if that is not known. */
      lag_seconds: number | null;
    };
    /** @description The status of the gallery. */
    StatusResponse: {
      model: string | null;
      /** @description Why the model cannot be used here. */
      model_problem: string | null;
      execution_provider: string | null;
      /** @description What runs `detection` and `embedding`, and where. */
      runtimes: {
        [key: string]: string;
      } | null;
      verify_threshold: number;
      identify_threshold: number;
      /** @description The threshold that the number of enrolled users needs. */
      advised_identify_threshold: number;
      calibration_due: boolean;
      users: number;
      photos: number;
      embeddings: number;
      /** @description Where new crops go: `folder`, `postgres`, or the URL of a bucket. */
      photo_store: string;
      /** @description Number of crops of deleted photos that are not deleted yet. */
      photos_to_delete: number | null;
      /** @description `exact`, or the index that a search uses first. */
      search: string;
      search_agreement: number | null;
      search_due: boolean;
      index: string | null;
      schema_version: number;
      postgresql: string;
      pgvector: string;
      login_policy: string;
    };
    /** @description A new login. */
    TokenResponse: {
      /** @description Shown only once. pgface does not store it. */
      token: string;
      /**
       * @default Bearer
       * @constant
       */
      token_type?: "Bearer";
      user_id: number;
      /** @description 1.0 for a password, the similarity for a face. */
      confidence: number;
      /** Format: date-time */
      expires_at: string;
    };
    /** @description What to change of a user. A field that you leave out stays as it is. */
    UpdateUserRequest: {
      name?: string | null;
      /** @description Null or an empty text deletes the external id. */
      external_id?: string | null;
      /** @description The new labels, in place of all earlier ones. */
      labels?: string[] | null;
      /** @description The new metadata, in place of all earlier ones. */
      metadata?: {
        [key: string]: unknown;
      } | null;
    };
    /** @description A page of users. */
    UserPage: {
      /** @description The cursor of the next page. Null at the end. */
      next_cursor?: string | null;
      users: components["schemas"]["UserResponse"][];
    };
    /** @description A user of the gallery. */
    UserResponse: {
      id: number;
      name: string;
      email: string;
      /** Format: date-time */
      created_at: string;
      photos: number;
      embeddings: number;
      /** @description The id of the user in another system. */
      external_id: string | null;
      /** @description Sorted. */
      labels: string[];
      metadata: {
        [key: string]: unknown;
      };
    };
    /** @description A photo and the user whom it is claimed to show. */
    VerifyRequest: {
      /** @description The probe. */
      photo: Photo;
      /** @description The user's id. */
      user_id?: number | null;
      /** @description Instead of `user_id`. A logged-in user may omit both. */
      email?: string | null;
      /** @description Instead of `user_id`, if only one user has this name. Not for a logged-in user. */
      name?: string | null;
      /** @description Instead of `user_id`. The user's id in another system. Not for a logged-in user. */
      external_id?: string | null;
      /** @description By default the gallery's threshold for 1:1. */
      threshold?: number | null;
      /**
       * @description `only` refuses a photo with several faces, unless the others are less than a quarter as wide. `largest` takes the largest, `central` the large one nearest the middle. At enrollment, `only` leaves faces in the background aside.
       * @default only
       * @enum {string}
       */
      face?: "only" | "largest" | "central";
    };
    /** @description Whether a photo shows a user. */
    VerifyResponse: {
      match: boolean;
      similarity: number;
      threshold: number;
      /** @description 0 to 100: 50 is reached by 1 in 100 pairs of strangers, 80 by 1 in 1,000, 90 by 1 in 10,000, 99 by 1 in a million. Null if the photos do not match, and below the gallery's threshold. */
      confidence: number | null;
      user_id: number;
    };
    /** @description The query of: List the users. */
    ListUsersQuery: {
      /** @description A part of the name or the e-mail. */
      search?: string | null;
      /** @description A label. Repeat it for users who have all of these labels. */
      label?: string[] | null;
      /** @description The external id of one user. */
      external_id?: string | null;
      /**
       * @description The maximum of rows.
       * @default 50
       */
      limit?: number;
      /** @description The `next_cursor` of the previous page. None for the first page. */
      cursor?: string | null;
    };
    /** @description The query of: List a user's photos. */
    ListPhotosQuery: {
      /**
       * @description The maximum of rows.
       * @default 50
       */
      limit?: number;
      /** @description The `next_cursor` of the previous page. None for the first page. */
      cursor?: string | null;
    };
    /** @description The query of: Log out everywhere. */
    EndLoginsQuery: {
      /**
       * @description Whether to keep the login of this request.
       * @default false
       */
      keep_this?: boolean;
    };
    /** @description The query of: Read the events. */
    ListEventsQuery: {
      /** @description The `next_cursor` of the previous response. By default, the oldest events. `end` returns no event, and the cursor of the newest one. */
      after?: string | null;
      /**
       * @description The maximum of events.
       * @default 100
       */
      limit?: number;
      /** @description Only events of this kind. You can send several. */
      kind?:
        | (
            | "gallery_created"
            | "model_changed"
            | "user_added"
            | "user_changed"
            | "user_merged"
            | "user_deleted"
            | "photo_deleted"
            | "enrolled"
            | "face_contested"
            | "face_accepted"
            | "face_changed"
            | "face_deleted"
            | "identified"
            | "verified"
          )[]
        | null;
      /**
       * @description Seconds to wait for an event if none follows.
       * @default 0
       */
      wait?: number;
    };
    /** @description The query of: Add a job. */
    CreateJobQuery: {
      /**
       * @description What to do. `enroll` needs the scope `enroll`, the others `admin`.
       * @enum {string}
       */
      kind: "enroll" | "import" | "reembed" | "evaluate";
      /**
       * @description Of `enroll`: which face of a photo, as for one photo.
       * @default only
       * @enum {string}
       */
      face?: "only" | "largest" | "central";
      /**
       * @description Of `enroll`: enroll faces also if they are another user's. Only administrators may do so.
       * @default false
       */
      allow_other_user?: boolean;
      /** @description Of `reembed`: the name of the new model. */
      model?: string | null;
      /**
       * @description Of `reembed`: delete embeddings that cannot be embedded again.
       * @default false
       */
      drop_lost?: boolean;
    };
    /** @description The query of: List the jobs. */
    ListJobsQuery: {
      /** @description Only jobs in this state. */
      state?: ("queued" | "running" | "succeeded" | "failed" | "cancelled") | null;
      /**
       * @description The maximum of rows.
       * @default 50
       */
      limit?: number;
      /** @description The `next_cursor` of the previous page. None for the first page. */
      cursor?: string | null;
    };
    /** @description The query of: List the results of a job. */
    ListJobResultsQuery: {
      /**
       * @description The maximum of rows.
       * @default 50
       */
      limit?: number;
      /** @description The `next_cursor` of the previous page. None for the first page. */
      cursor?: string | null;
    };
    /** @description The query of: List the audit log. */
    ListAuditQuery: {
      /** @description Only entries about this user. */
      user_id?: number | null;
      /** @description Only this event. */
      event?: string | null;
      /**
       * @description The maximum of rows.
       * @default 50
       */
      limit?: number;
      /** @description The `next_cursor` of the previous page. None for the first page. */
      cursor?: string | null;
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
export type AuditEntry = components["schemas"]["AuditEntry"];
export type AuditPage = components["schemas"]["AuditPage"];
export type Box = components["schemas"]["Box"];
export type ChallengeRequest = components["schemas"]["ChallengeRequest"];
export type ChallengeResponse = components["schemas"]["ChallengeResponse"];
export type ChangePasswordRequest = components["schemas"]["ChangePasswordRequest"];
export type CompareRequest = components["schemas"]["CompareRequest"];
export type CompareResponse = components["schemas"]["CompareResponse"];
export type CreateGalleryRequest = components["schemas"]["CreateGalleryRequest"];
export type CreateKeyRequest = components["schemas"]["CreateKeyRequest"];
export type CreateKeyResponse = components["schemas"]["CreateKeyResponse"];
export type CreateUserRequest = components["schemas"]["CreateUserRequest"];
export type DetectRequest = components["schemas"]["DetectRequest"];
export type DetectResponse = components["schemas"]["DetectResponse"];
export type EndedLoginsResponse = components["schemas"]["EndedLoginsResponse"];
export type EnrollByEmailRequest = components["schemas"]["EnrollByEmailRequest"];
export type EnrollRequest = components["schemas"]["EnrollRequest"];
export type EnrollResponse = components["schemas"]["EnrollResponse"];
export type EventPageResponse = components["schemas"]["EventPageResponse"];
export type EventResponse = components["schemas"]["EventResponse"];
export type Face = components["schemas"]["Face"];
export type FaceLoginRequest = components["schemas"]["FaceLoginRequest"];
export type FieldProblem = components["schemas"]["FieldProblem"];
export type GalleryList = components["schemas"]["GalleryList"];
export type GalleryResponse = components["schemas"]["GalleryResponse"];
export type HealthResponse = components["schemas"]["HealthResponse"];
export type HintRequest = components["schemas"]["HintRequest"];
export type HintResponse = components["schemas"]["HintResponse"];
export type IdentifiedFace = components["schemas"]["IdentifiedFace"];
export type IdentifyRequest = components["schemas"]["IdentifyRequest"];
export type IdentifyResponse = components["schemas"]["IdentifyResponse"];
export type IntrospectRequest = components["schemas"]["IntrospectRequest"];
export type IntrospectResponse = components["schemas"]["IntrospectResponse"];
export type JobPage = components["schemas"]["JobPage"];
export type JobResponse = components["schemas"]["JobResponse"];
export type KeyList = components["schemas"]["KeyList"];
export type KeyResponse = components["schemas"]["KeyResponse"];
export type LivenessFramesRequest = components["schemas"]["LivenessFramesRequest"];
export type LivenessHintRequest = components["schemas"]["LivenessHintRequest"];
export type LivenessStepResponse = components["schemas"]["LivenessStepResponse"];
export type LoginList = components["schemas"]["LoginList"];
export type LoginRequest = components["schemas"]["LoginRequest"];
export type LoginResponse = components["schemas"]["LoginResponse"];
export type Match = components["schemas"]["Match"];
export type MeResponse = components["schemas"]["MeResponse"];
export type PasswordRequest = components["schemas"]["PasswordRequest"];
export type PhotoPage = components["schemas"]["PhotoPage"];
export type PhotoResponse = components["schemas"]["PhotoResponse"];
export type PhotoResultPage = components["schemas"]["PhotoResultPage"];
export type PhotoResultResponse = components["schemas"]["PhotoResultResponse"];
export type Problem = components["schemas"]["Problem"];
export type ReadinessResponse = components["schemas"]["ReadinessResponse"];
export type RegisterRequest = components["schemas"]["RegisterRequest"];
export type RenameGalleryRequest = components["schemas"]["RenameGalleryRequest"];
export type ReplicaResponse = components["schemas"]["ReplicaResponse"];
export type StatusResponse = components["schemas"]["StatusResponse"];
export type TokenResponse = components["schemas"]["TokenResponse"];
export type UpdateUserRequest = components["schemas"]["UpdateUserRequest"];
export type UserPage = components["schemas"]["UserPage"];
export type UserResponse = components["schemas"]["UserResponse"];
export type VerifyRequest = components["schemas"]["VerifyRequest"];
export type VerifyResponse = components["schemas"]["VerifyResponse"];
export type ListUsersQuery = components["schemas"]["ListUsersQuery"];
export type ListPhotosQuery = components["schemas"]["ListPhotosQuery"];
export type EndLoginsQuery = components["schemas"]["EndLoginsQuery"];
export type ListEventsQuery = components["schemas"]["ListEventsQuery"];
export type CreateJobQuery = components["schemas"]["CreateJobQuery"];
export type ListJobsQuery = components["schemas"]["ListJobsQuery"];
export type ListJobResultsQuery = components["schemas"]["ListJobResultsQuery"];
export type ListAuditQuery = components["schemas"]["ListAuditQuery"];
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
