export { type ClientOptions, Pgface } from "./client.js";
export { ConnectionError, PgfaceError, ProblemError } from "./errors.js";
export type * from "./generated/types.js";
export type { CallOptions, CreateOptions } from "./operation.js";
export type { Photo } from "./photos.js";
