import { ConnectionError, ProblemError, problemOf } from "./errors.js";
import { Operations } from "./generated/operations.js";
import type { CreateOptions, Operation } from "./operation.js";
import { type Photo, fileOf } from "./photos.js";

/** Options of a client. */
export interface ClientOptions {
  /** An API key, or the token of a login. Without it, a browser sends the cookie of the service's pages. */
  key?: string | undefined;
  /** The name of a gallery. Without it, calls go to the service's default gallery. */
  gallery?: string | undefined;
  /** Milliseconds for each attempt. By default 60,000. */
  timeout?: number | undefined;
  /** How often a failed request is sent again, if that is safe. By default twice. */
  retries?: number | undefined;
  /** The longest wait before a retry, in milliseconds. If the service asks for more, the call fails. By default 30,000. */
  maxWait?: number | undefined;
  /** A replacement for the global `fetch`, for example with a proxy. */
  fetch?: typeof globalThis.fetch | undefined;
}

/**
 * A client of pgface's web service. It has a method for each operation, and is safe to share.
 *
 * A method throws a `ProblemError` if the service refuses the request, and a `ConnectionError` without a response.
 */
export class Pgface extends Operations {
  // Private, so that a log of this object does not show the key.
  readonly #url: string;
  readonly #options: ClientOptions;

  /** @param url - The URL of the service, such as `https://faces.example.org`. Empty for the origin of a page. */
  constructor(url: string, options: ClientOptions = {}) {
    super();
    if (options.gallery === "") throw new TypeError("The gallery's name is empty. Omit it for the default gallery.");
    this.#url = url.replace(/\/+$/, "");
    this.#options = { ...options };
  }

  /** Return a client of another gallery of the same service. */
  gallery(name: string): Pgface {
    return new Pgface(this.#url, { ...this.#options, gallery: name });
  }

  /** Return a client with another API key, or with the token of a login. */
  withKey(key: string): Pgface {
    return new Pgface(this.#url, { ...this.#options, key });
  }

  protected override async send<T>(operation: Operation, options: CreateOptions = {}): Promise<T> {
    const { retries = 2, maxWait = 30_000 } = this.#options;
    const request = await this.#request(operation, options);
    for (let failures = 0; ;) {
      try {
        return await this.#attempt<T>(operation, request, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        const wait = mayRepeat(operation, error) ? waitAfter(error, failures) : Infinity;
        if (failures >= retries || wait > maxWait) throw error;
        failures += 1;
        await pause(wait, options.signal);
      }
    }
  }

  async #request(operation: Operation, options: CreateOptions): Promise<{ url: string; init: RequestInit }> {
    const { key, gallery } = this.#options;
    const headers = new Headers();
    if (key !== undefined) headers.set("Authorization", `Bearer ${key}`);
    if (operation.acceptsKey) headers.set("Idempotency-Key", options.idempotencyKey ?? newKey());
    let body: string | FormData | undefined;
    if (operation.body !== undefined && operation.photos) {
      body = await formOf(operation.body, operation.photos);
    } else if (operation.body !== undefined) {
      body = JSON.stringify(operation.body);
      headers.set("Content-Type", "application/json");
    }
    const path =
      gallery !== undefined && operation.inGallery
        ? operation.path.replace(API, `${API}/galleries/${encodeURIComponent(gallery)}`)
        : operation.path;
    // A redirect would send the key to another address.
    const init: RequestInit = { method: operation.method, headers, redirect: "error" };
    if (body !== undefined) init.body = body;
    return { url: this.#url + path + queryOf(operation.query), init };
  }

  /** Send a request once. */
  async #attempt<T>(
    operation: Operation,
    { url, init }: { url: string; init: RequestInit },
    options: CreateOptions,
  ): Promise<T> {
    const milliseconds = options.timeout ?? this.#options.timeout ?? 60_000;
    const timeout = AbortSignal.timeout(milliseconds);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    const send = this.#options.fetch ?? globalThis.fetch;
    try {
      const response = await send(url, { ...init, signal });
      if (!response.ok && !operation.results?.includes(response.status)) throw await problemOf(response);
      return (await contentOf(operation, response)) as T;
    } catch (error) {
      if (error instanceof ProblemError) throw error;
      const what = timeout.aborted ? `did not respond within ${milliseconds / 1000} s` : "gave no usable response";
      throw new ConnectionError(`The service ${what}. Check that it runs at ${this.#url || "this page's origin"}.`, {
        cause: error,
      });
    }
  }
}

const API = "/api/v1";

/** Whether a request may be sent again after an error. */
function mayRepeat(operation: Operation, error: unknown): boolean {
  if (error instanceof ProblemError && NOTHING_WAS_DONE.has(error.code)) return true;
  const isSafe = operation.acceptsKey === true || operation.isRepeatable === true;
  return isSafe && (error instanceof ConnectionError || (error instanceof ProblemError && PASSING.has(error.status)));
}

/** The codes of problems with which the service refuses a request before it does anything. */
const NOTHING_WAS_DONE: ReadonlySet<string> = new Set(["service-busy", "request-repeated"]);

/** Statuses that pass: too many requests, and failures of a proxy or of what the service needs. */
const PASSING: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** Return the milliseconds to wait: as long as the service says, or twice as long after each failure. */
function waitAfter(error: unknown, failures: number): number {
  const told = error instanceof ProblemError ? error.retryAfter : undefined;
  const wait = told === undefined ? 500 * 2 ** failures : told * 1000;
  // Clients that failed together should not return together.
  return wait + Math.random() * 250;
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
      return response.json();
    case "blob":
      return response.blob();
    case "text":
      return response.text();
    case "nothing":
      await response.body?.cancel(); // otherwise Node keeps the connection
      return undefined;
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
