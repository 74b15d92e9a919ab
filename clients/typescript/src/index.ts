export { Client, type ClientOptions, type FollowOptions } from "./client.js";
export { ClientError, ProblemError, UnexpectedResponseError, UnreachableError } from "./errors.js";
export type * from "./generated/types.js";
export type { CallOptions, CreateOptions } from "./operation.js";
export type { Photo } from "./photos.js";
