import type { FieldProblem } from "./generated/types.js";

/** The base class of this client's errors. */
export class PgfaceError extends Error {
  override name = "PgfaceError";
}

/** There was no usable response: no connection, a timeout, or a response that is not pgface's. `cause` says why. */
export class ConnectionError extends PgfaceError {
  override name = "ConnectionError";
}

/** The service refused the request, or failed. The message is the problem's `detail`, a sentence for people. */
export class ProblemError extends PgfaceError {
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

  constructor(status: number, problem: ProblemFields, retryAfter?: number) {
    super(problem.detail);
    this.status = status;
    this.code = problem.code;
    this.requestId = problem.request_id ?? undefined;
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

/** The fields of problem details (RFC 9457) that an error keeps. */
export interface ProblemFields {
  detail: string;
  code: string;
  request_id?: string | null;
  errors?: FieldProblem[] | null;
}

/** Read the error from a response whose status is not a success. */
export async function problemOf(response: Response): Promise<ProblemError> {
  const retryAfter = secondsToWait(response.headers.get("Retry-After"));
  const body: unknown = await response.json().catch(() => undefined);
  if (isProblem(body)) return new ProblemError(response.status, body, retryAfter);
  // A proxy answered, and not pgface.
  const detail = `The response has the status ${response.status}, and is not pgface's. Check the URL, and any proxy.`;
  return new ProblemError(response.status, { code: "not-from-pgface", detail }, retryAfter);
}

function isProblem(body: unknown): body is ProblemFields {
  return typeof body === "object" && body !== null && "code" in body && "detail" in body;
}

/** Read the header Retry-After, which has seconds or a date (RFC 9110, section 10.2.3). */
function secondsToWait(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}
