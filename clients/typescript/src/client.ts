import { ClientError, ProblemError, UnexpectedResponseError, UnreachableError, errorOf } from "./errors.js";
import { Operations } from "./generated/operations.js";
import type { EventResponse, ListEventsQuery } from "./generated/types.js";
import type { CallOptions, CreateOptions, Operation } from "./operation.js";
import { type Photo, fileOf } from "./photos.js";

/** Options of a client. */
export interface ClientOptions {
  /** An API key, or the token of a login. Without it, a browser sends the cookie of the service's pages. */
  key?: string | undefined;
  /** The name of a gallery. Without it, calls go to the service's default gallery. */
  gallery?: string | undefined;
  /** Milliseconds for each attempt. By default 60,000. */
  timeout?: number | undefined;
  /** The number of further attempts after a failure, if a repetition is safe. By default 4. */
  retries?: number | undefined;
  /** The longest wait that the service may ask for, in milliseconds. Otherwise the call fails. By default 60,000. */
  maxWait?: number | undefined;
  /** A replacement for the global `fetch`, for example with a proxy. */
  fetch?: typeof globalThis.fetch | undefined;
}

/** Options of `followEvents`. */
export interface FollowOptions extends CallOptions {
  /** Milliseconds to go on if the service no longer responds or is busy. Then the error is thrown. By default 300,000. */
  maxOutage?: number | undefined;
}

/** What `send` receives. Within `maxOutage`, attempts are not counted. */
type SendOptions = CreateOptions & FollowOptions;

/**
 * A client of pgface's web service. It has a method for each operation, and is safe to share.
 *
 * A method throws a `ProblemError` if the service refuses the request, an `UnreachableError` if no response arrives,
 * and an `UnexpectedResponseError` if the response is not pgface's. All of them are a `ClientError`.
 */
export class Client extends Operations {
  // Private, so that a log of this object does not show the key.
  readonly #url: string;
  readonly #options: ClientOptions;

  /** @param url - The URL of the service, such as `https://faces.example.org`. Empty for the origin of a page. */
  constructor(url: string, options: ClientOptions = {}) {
    super();
    check(url, options);
    this.#url = url.replace(/\/+$/, "");
    this.#options = { ...options };
  }

  /** Return a client of the same service with other options, such as another key or gallery. */
  using(options: ClientOptions): Client {
    return new Client(this.#url, { ...this.#options, ...options });
  }

  /**
   * Yield events without an end: the events after a cursor, then each new one when it happens.
   *
   * Keep the `cursor` of the last event that your program has processed. After a restart, give it as `after`.
   */
  async *followEvents(
    query: ListEventsQuery = {},
    options: FollowOptions = {},
  ): AsyncGenerator<EventResponse, never, undefined> {
    const { maxOutage = 300_000, ...usual } = options;
    let page = await this.listEvents({ ...query, wait: 0 }, usual);
    for (;;) {
      yield* page.events;
      const next = { wait: 25, ...query, after: page.next_cursor };
      const outlasting: FollowOptions = { ...usual, maxOutage };
      page = await this.listEvents(next, outlasting);
    }
  }

  protected override async send<T>(operation: Operation, options: SendOptions = {}): Promise<T> {
    const { retries = 4, maxWait = 60_000 } = this.#options;
    const request = await this.#request(operation, options);
    const start = performance.now();
    for (let failures = 0; ;) {
      try {
        return await this.#attempt<T>(operation, request, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        const left = start + (options.maxOutage ?? 0) - performance.now();
        const isStillRunning = retries > 0 && isProblem(error, STILL_RUNNING);
        const mayGoOn = isStillRunning
          ? performance.now() - start < MAX_RUNNING
          : (failures < retries || left > 0) && mayRepeat(operation, error);
        if (!mayGoOn || askedWait(error) > Math.max(maxWait, left)) throw error;
        await pause(waitAfter(error, failures), options.signal);
        failures += 1;
      }
    }
  }

  async #request(operation: Operation, options: CreateOptions): Promise<{ url: string; init: RequestInit }> {
    const { key, gallery } = this.#options;
    const headers = new Headers();
    if (key !== undefined) headers.set("Authorization", `Bearer ${key}`);
    if (operation.acceptsKey) headers.set("Idempotency-Key", options.idempotencyKey ?? newKey());
    // A redirect would send the key to another address.
    const init: RequestInit = { method: operation.method, headers, redirect: "error" };
    if (operation.body !== undefined && operation.photos) {
      init.body = await formOf(operation.body, operation.photos);
    } else if (operation.upload !== undefined) {
      init.body = await fileOf(operation.upload);
      headers.set("Content-Type", "application/octet-stream");
    } else if (operation.body !== undefined) {
      init.body = JSON.stringify(operation.body);
      headers.set("Content-Type", "application/json");
    }
    const path =
      gallery !== undefined && operation.inGallery
        ? operation.path.replace(API, `${API}/galleries/${gallery}`)
        : operation.path;
    return { url: this.#url + path + queryOf(operation.query), init };
  }

  /** Send a request once. */
  async #attempt<T>(
    operation: Operation,
    { url, init }: { url: string; init: RequestInit },
    options: CreateOptions,
  ): Promise<T> {
    // The time limit begins after the time for which the service may wait.
    const waits = Number(operation.query?.["wait"] ?? 0) * 1000;
    const milliseconds = waits + (options.timeout ?? this.#options.timeout ?? 60_000);
    const timeout = AbortSignal.timeout(milliseconds);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    const send = this.#options.fetch ?? globalThis.fetch;
    try {
      const response = await send(url, { ...init, signal });
      if (!response.ok && !operation.results?.includes(response.status)) throw await errorOf(response);
      return (await contentOf(operation, response)) as T;
    } catch (error) {
      if (error instanceof ClientError) throw error;
      const what = timeout.aborted ? `did not respond within ${milliseconds / 1000} s` : "did not respond";
      const where = this.#url || "the origin of this page";
      const message = `The service at ${where} ${what}. Check that it runs, and that its URL is right.`;
      throw new UnreachableError(message, { cause: error, timedOut: timeout.aborted });
    }
  }
}

const API = "/api/v1";

/** Check the arguments of a client. An error does not show them, because a key or a password may be in the wrong one. */
function check(url: string, { key, gallery }: ClientOptions): void {
  if (!/^(https?:\/\/[^\s@?#/]+)?(\/[^\s@?#]*)?$/i.test(url)) {
    throw new ClientError("The URL of the service must be like https://faces.example.org, without a password.");
  }
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key)) {
    throw new ClientError(
      "This is not a key or a token of pgface. Check that you read the right file, without spaces.",
    );
  }
  // The path segments `.` and `..` would lead to another gallery.
  if (gallery !== undefined && !/^(?!\.{1,2}$)[A-Za-z0-9_.-]{1,255}$/.test(gallery)) {
    throw new ClientError("The name of a gallery has 1 to 255 letters, digits and the characters `_.-`.");
  }
}

/** Whether a request may be sent again after an error. */
function mayRepeat(operation: Operation, error: unknown): boolean {
  const isSafe = operation.acceptsKey === true || operation.isRepeatable === true;
  if (error instanceof UnreachableError) return !error.timedOut && (isSafe || !error.sent);
  if (isProblem(error, TOO_SLOW)) return false;
  const hasStatus = error instanceof ProblemError || error instanceof UnexpectedResponseError;
  return hasStatus && isSafe && TRY_LATER.has(error.status);
}

function isProblem(error: unknown, code: string): boolean {
  return error instanceof ProblemError && error.code === code;
}

/** The code of a problem if the first request with the same Idempotency-Key is still running. */
const STILL_RUNNING = "request-repeated";

/** Milliseconds to wait for that request. After a crash, the service counts it as failed after 60 seconds. */
const MAX_RUNNING = 90_000;

/** The code of a problem if a photo took too long. The same photo would probably take too long again. */
const TOO_SLOW = "work-timeout";

/** Statuses that say to try later. */
const TRY_LATER: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** Return the milliseconds that the service asks to wait. */
function askedWait(error: unknown): number {
  const hasStatus = error instanceof ProblemError || error instanceof UnexpectedResponseError;
  return hasStatus ? (error.retryAfter ?? 0) * 1000 : 0;
}

/** Return the milliseconds to wait: at least what the service asks for, and twice as long after each failure. */
function waitAfter(error: unknown, failures: number): number {
  const delay = Math.min(8000, 500 * 2 ** failures);
  // Clients that failed together must not come back together.
  const jittered = delay * (0.5 + Math.random() / 2);
  const asked = askedWait(error);
  return asked > 0 ? asked + jittered / 2 : jittered;
}

/** Wait, until a signal ends it. */
function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

async function contentOf(operation: Operation, response: Response): Promise<unknown> {
  switch (operation.response) {
    case "json":
      return jsonOf(response);
    case "blob":
      return response.blob();
    case "text":
      return response.text();
    case "nothing":
      await response.body?.cancel(); // otherwise Node keeps the connection
      return undefined;
  }
}

async function jsonOf(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UnexpectedResponseError(response, { cause: error });
  }
}

/** Return a body as a form. A list becomes a field that is repeated. */
async function formOf(body: object, photos: readonly string[]): Promise<FormData> {
  const form = new FormData();
  for (const [name, value] of Object.entries(body) as [string, unknown][]) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one === undefined || one === null) continue;
      if (photos.includes(name)) form.append(name, await fileOf(one as Photo));
      else form.append(name, typeof one === "object" ? JSON.stringify(one) : String(one));
    }
  }
  return form;
}

/** Return a query with its question mark, without the values that are not given. */
function queryOf(query: Record<string, unknown> | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null) parameters.append(name, String(one));
    }
  }
  return parameters.size > 0 ? `?${parameters}` : "";
}

/** Make a new Idempotency-Key. `crypto.randomUUID` would need a secure context. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
