// Sends photos to the API. Retries with the same Idempotency-Key while the service is busy or cannot be reached.

const MAX_FAILED_TRIES = 5;
const MAX_WAIT = 30; // seconds

/** Returns the translated messages in the `data-words` of an element. */
export function wordsOf(element) {
  const reasons = element.dataset.reasons ? JSON.parse(element.dataset.reasons) : {};
  return { ...JSON.parse(element.dataset.words), reasons };
}

/** Returns the URL of a path of this service, which may be below a path of a shared host. */
export function at(path) {
  return new URL(`..${path}`, import.meta.url).href;
}

/** Returns `text` with its `{names}` replaced. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** A problem that the API responds with (RFC 9457). */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail);
    this.status = status;
    this.code = body.code ?? "";
  }
}

/**
 * Posts a form, and resolves to the JSON of the response.
 *
 * @param {string} url a path of this service
 * @param {FormData} form
 * @param {object} options
 *   signal: an AbortSignal.
 *   onSent: called with the sent fraction, from 0 to 1.
 *   onWait: called with "busy" or "offline" before a retry.
 *   idempotent: whether a retry must not do the work again.
 * @throws {Problem} the service refuses the form.
 * @throws {DOMException} the signal was aborted.
 * @throws {TypeError} there is no response.
 */
export async function post(url, form, { signal, onSent, onWait, idempotent = false }) {
  const headers = { Accept: "application/json" };
  if (idempotent) headers["Idempotency-Key"] = crypto.randomUUID();
  for (let failed = 0; ; ) {
    let answer;
    try {
      answer = await once(url, form, headers, signal, onSent);
    } catch (error) {
      if (error.name === "AbortError" || ++failed === MAX_FAILED_TRIES) throw error;
      onWait?.("offline");
      await pause(2 ** failed, signal);
      continue;
    }
    if (answer.status < 300) return answer.body;
    if (!answer.retryAfter) throw new Problem(answer.status, answer.body);
    onWait?.("busy");
    // A random extra time, so that not all clients retry at once.
    await pause(Math.min(answer.retryAfter, MAX_WAIT) * (1 + Math.random()), signal);
  }
}

function once(url, form, headers, signal, onSent) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest(); // fetch does not report how much was sent
    const abort = () => request.abort();
    request.open("POST", at(url));
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onSent?.(event.loaded / event.total);
    request.onload = () =>
      resolve({
        status: request.status,
        body: parsed(request.responseText),
        retryAfter: Number(request.getResponseHeader("Retry-After")) || 0,
      });
    request.onerror = () => reject(new TypeError("no answer"));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.onloadend = () => signal?.removeEventListener("abort", abort);
    signal?.addEventListener("abort", abort);
    request.send(form);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Shows an error in the elements `.reason`, `.detail` and `.code`. */
export function showProblem(element, error, words) {
  const problem = error instanceof Problem;
  const detail = problem ? error.message : "";
  const loggedOut = problem && error.status === 401;
  const reason = loggedOut ? words.logged_out : problem ? words.reasons[error.code] : words.no_answer;
  element.querySelector(".reason").textContent = reason ?? "";
  element.querySelector(".detail").textContent = loggedOut ? "" : detail;
  element.querySelector(".code").textContent = problem ? error.code : "";
  // A detail without a reason is not secondary.
  element.querySelector(".detail").classList.toggle("quiet", Boolean(reason));
  element.hidden = false;
}
