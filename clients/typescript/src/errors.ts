import type { FieldProblem } from "./generated/types.js";

/** The base class of this client's errors. The client could not do this: check its arguments. */
export class ClientError extends Error {
  override name = "ClientError";
}

/** No response arrived from the service. `cause` says why. */
export class UnreachableError extends ClientError {
  override name = "UnreachableError";
  /** Whether the service may have received the request. If so, a change may have been made. */
  readonly sent: boolean;
  /** Whether the time limit of the client was reached. */
  readonly timedOut: boolean;

  constructor(message: string, options: { cause: unknown; timedOut: boolean }) {
    super(message, { cause: options.cause });
    this.timedOut = options.timedOut;
    this.sent = !NOT_SENT.has(codeOf(options.cause));
  }
}

/** The response is not one of pgface. Check the URL, and any proxy. */
export class UnexpectedResponseError extends ClientError {
  override name = "UnexpectedResponseError";
  /** The HTTP status. */
  readonly status: number;
  /** The seconds after which you may try again, if the response says so. */
  readonly retryAfter: number | undefined;

  constructor(response: Response, options?: { cause: unknown }) {
    super(`The response with status ${response.status} is not pgface's. Check the URL, and any proxy.`, options);
    this.status = response.status;
    this.retryAfter = retryAfterOf(response);
  }
}

/** The service refused the request, or failed. The message is the problem's `detail`, a sentence for people. */
export class ProblemError extends ClientError {
  override name = "ProblemError";
  /** The HTTP status. */
  readonly status: number;
  /** The error for programs, such as `several-faces`. The service's page `/problems` lists all codes. */
  readonly code: string;
  /** Identifies the request in the log of the service. */
  readonly requestId: string | undefined;
  /** The fields that cannot be used. */
  readonly errors: readonly FieldProblem[];
  /** The seconds after which you may try again, if the service says so. */
  readonly retryAfter: number | undefined;

  constructor(response: Response, problem: ProblemFields) {
    super(problem.detail);
    this.status = response.status;
    this.code = problem.code;
    this.requestId = problem.request_id ?? undefined;
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfterOf(response);
  }
}

/** The fields of problem details (RFC 9457) that an error keeps. */
interface ProblemFields {
  detail: string;
  code: string;
  request_id?: string | null;
  errors?: FieldProblem[] | null;
}

/** Read the error from a response whose status is not a success. */
export async function errorOf(response: Response): Promise<ProblemError | UnexpectedResponseError> {
  const body: unknown = await response.json().catch(() => undefined);
  return isProblem(body) ? new ProblemError(response, body) : new UnexpectedResponseError(response);
}

function isProblem(body: unknown): body is ProblemFields {
  return typeof body === "object" && body !== null && "code" in body && "detail" in body;
}

/** Read the header Retry-After, which has seconds or a date (RFC 9110, section 10.2.3). */
function retryAfterOf(response: Response): number | undefined {
  const header = response.headers.get("Retry-After");
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

/** Codes of Node's errors for requests that did not leave this machine. Browsers do not tell. */
const NOT_SENT: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** Return the code of the error that made `fetch` fail. */
function codeOf(error: unknown): unknown {
  const cause = error instanceof Error ? error.cause : undefined;
  return typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined;
}
