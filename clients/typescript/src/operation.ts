import type { Photo } from "./photos.js";

/** Options of one call. */
export interface CallOptions {
  /** Cancels the call. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for each attempt, in place of the client's `timeout`. */
  timeout?: number | undefined;
}

/** Options of a call that creates something. */
export interface CreateOptions extends CallOptions {
  /**
   * If you repeat a call with the same key within a day, it is done once. By default the client makes a key for each
   * call, so that its own retries are safe. Give one to repeat a call yourself, for example after a restart.
   */
  idempotencyKey?: string | undefined;
}

/** A request to the service, as the generated methods describe it. */
export interface Operation {
  method: string;
  /** The path with its values, below the URL of the service. */
  path: string;
  /** Whether a gallery has this path too, below `/api/v1/galleries/{gallery}`. */
  inGallery: boolean;
  query?: Record<string, unknown> | undefined;
  body?: object | undefined;
  /** The fields of the body with photos. Such a body is sent as a form with files. */
  photos?: readonly string[];
  /** A file that is the whole body. */
  upload?: Photo | undefined;
  /** What the response contains. */
  response: "json" | "blob" | "text" | "nothing";
  /** Statuses besides success whose response is a result and not a problem. */
  results?: readonly number[];
  /** Whether it accepts an Idempotency-Key. */
  acceptsKey?: boolean;
  /** Whether it changes nothing, so that it may be repeated without an Idempotency-Key. */
  isRepeatable?: boolean;
}

/** Sends the requests of the generated methods. */
export abstract class Sender {
  /** Send a request, and return the content of the response. */
  protected abstract send<T>(operation: Operation, options: CreateOptions | undefined): Promise<T>;
}

/** Yield the items of all pages of a list. */
export async function* itemsOfPages<Item>(
  page: (cursor: string | undefined) => Promise<{ items: Item[]; next: string | null | undefined }>,
): AsyncGenerator<Item, void, undefined> {
  let cursor: string | undefined;
  do {
    const { items, next } = await page(cursor);
    yield* items;
    cursor = next ?? undefined;
  } while (cursor !== undefined);
}

/** Encode a value of a path. The segments `.` and `..` would lead to another path. */
export function segment(value: string | number): string {
  const text = String(value);
  if (/^\.{0,2}$/.test(text)) throw new TypeError(`${JSON.stringify(text)} cannot be a part of a path.`);
  return encodeURIComponent(text);
}
