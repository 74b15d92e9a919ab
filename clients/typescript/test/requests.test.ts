// What the client sends, and when it sends it again. The server of these tests gives the responses that a test lists.

import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { inspect } from "node:util";
import {
  Client,
  ClientError,
  type ClientOptions,
  ProblemError,
  UnexpectedResponseError,
  UnreachableError,
} from "pgface-client";

type Answer = (response: ServerResponse) => void;

const KEY = "pgf_secret";
const USER = { id: 12, name: "Alice", email: "alice@example.org", created_at: "", photos: 0, embeddings: 0 };

const lists = new Map<string, Answer[]>();
const requests: IncomingMessage[] = [];
const server = createServer((request, response) => {
  requests.push(request);
  const answer = lists.get(listOf(request))?.shift();
  if (answer) answer(response);
  else response.destroy();
});

/** The tests run at the same time, so each has a path of its own. */
function listOf(request: IncomingMessage): string {
  return request.url?.split("/")[1] ?? "";
}

function url(name: string): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/${name}`;
}

/** A client, and a function that returns the requests so far. */
function scripted(name: string, answers: Answer[], options: ClientOptions = {}): [Client, () => IncomingMessage[]] {
  lists.set(name, answers);
  return [new Client(url(name), { key: KEY, ...options }), () => requests.filter((one) => listOf(one) === name)];
}

function json(body: unknown, status = 200, headers: Record<string, string> = {}): Answer {
  return (response) => {
    response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));
  };
}

function problem(status: number, code: string, retryAfter?: string): Answer {
  const headers: Record<string, string> = retryAfter === undefined ? {} : { "Retry-After": retryAfter };
  return json({ type: `/problems#${code}`, title: code, status, code, detail: "It did not work." }, status, headers);
}

const lost: Answer = (response) => response.destroy();
const never: Answer = () => undefined;

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof ProblemError && error.code === code;
}

before(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
after(() => {
  server.closeAllConnections();
  server.close();
});

describe("the client", { concurrency: true }, () => {
  it("waits as long as Retry-After says, and repeats the Idempotency-Key", async () => {
    const [service, sent] = scripted("waits", [problem(503, "database", "1"), json(USER, 201)]);
    const start = performance.now();
    assert.deepEqual(await service.createUser({ email: USER.email }), USER);
    assert.ok(performance.now() - start >= 1000);
    const keys = sent().map((one) => one.headers["idempotency-key"]);
    assert.equal(keys.length, 2);
    assert.match(String(keys[0]), /^[0-9a-f]{32}$/);
    assert.equal(keys[0], keys[1]);
  });

  it("reads a date in Retry-After", async () => {
    const date = new Date(Date.now() + 1000).toUTCString();
    const [service, sent] = scripted("date", [problem(503, "database", date), json({ keys: [] })]);
    await service.listApiKeys();
    assert.equal(sent().length, 2);
  });

  it("does not wait longer than allowed, and says how long to wait", async () => {
    const [service, sent] = scripted("long", [problem(429, "too-many", "900")]);
    await assert.rejects(service.getUser(12), (error) => error instanceof ProblemError && error.retryAfter === 900);
    assert.equal(sent().length, 1);
  });

  it("sends a request again after a lost connection only if that is safe", async () => {
    const [safe, sentSafely] = scripted("safe", [lost, json(USER, 201)]);
    await safe.createUser({ email: USER.email }, { idempotencyKey: "mine" });
    assert.deepEqual(
      sentSafely().map((one) => one.headers["idempotency-key"]),
      ["mine", "mine"],
    );
    const [unsafe, sentUnsafely] = scripted("unsafe", [lost]);
    await assert.rejects(unsafe.createApiKey({ name: "door", scopes: ["verify"] }), (error) => {
      return error instanceof UnreachableError && error.sent;
    });
    assert.equal(sentUnsafely().length, 1);
    const [deleting, sentDeletion] = scripted("deleting", [lost]);
    await assert.rejects(deleting.deleteUser(12), UnreachableError);
    assert.equal(sentDeletion().length, 1);
  });

  it("sends any request again that did not reach the service", async () => {
    const closed = createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address() as AddressInfo;
    closed.close();
    await once(closed, "close");
    const attempts: string[] = [];
    const refused: typeof fetch = async (input, init) => {
      attempts.push(String(input));
      return fetch(attempts.length === 1 ? `http://127.0.0.1:${port}/` : input, init);
    };
    const [service, sent] = scripted("refused", [json({ key: "k", about: {} }, 201)], { fetch: refused });
    assert.equal((await service.createApiKey({ name: "door", scopes: ["verify"] })).key, "k");
    assert.deepEqual([attempts.length, sent().length], [2, 1]);
  });

  it("repeats a request whose first attempt is still running", async () => {
    const [service, sent] = scripted("running", [lost, problem(409, "request-repeated", "0"), json(USER, 201)]);
    assert.deepEqual(await service.createUser({ email: USER.email }), USER);
    assert.equal(sent().length, 3);
  });

  it("waits for its first attempt longer than its retries, but does not repeat a photo that took too long", async () => {
    const running = Array.from({ length: 3 }, () => problem(409, "request-repeated", "0"));
    const [service, sent] = scripted("still", [...running, json(USER, 201)], { retries: 1 });
    assert.deepEqual(await service.createUser({ email: USER.email }), USER);
    assert.equal(sent().length, 4);
    const [slow, sentOnce] = scripted("too-slow", [problem(503, "work-timeout", "0")]);
    await assert.rejects(slow.detect({ photo: new Uint8Array([1]) }), hasCode("work-timeout"));
    assert.equal(sentOnce().length, 1);
  });

  it("follows events through an outage, each once", async () => {
    const page = (...cursors: string[]) => ({
      events: cursors.map((cursor) => ({ cursor })),
      next_cursor: cursors.at(-1) ?? "c",
    });
    const cut: Answer = (response) => {
      response.writeHead(200, { "Content-Type": "application/json", "Content-Length": "9999" });
      response.write('{"events": [{"cursor": "d"}', () => response.destroy());
    };
    const outage = [problem(503, "database", "0"), lost, cut];
    const answers = [json(page("a", "b")), json(page()), ...outage, json(page("d")), problem(503, "database", "0")];
    const [service, sent] = scripted("follow", answers, { retries: 0, timeout: 5000 });
    const found: string[] = [];
    const following = service.followEvents({ after: "0", kind: ["enrolled"] }, { maxOutage: 15_000 });
    for (const _ of ["a", "b", "d"]) found.push((await following.next()).value.cursor);
    assert.deepEqual(found, ["a", "b", "d"]);
    const wanted = "kind=enrolled";
    assert.deepEqual(
      sent().map((one) => one.url?.split("?")[1]),
      [`after=0&${wanted}&wait=0`, ...["b", "c", "c", "c", "c"].map((after) => `wait=25&after=${after}&${wanted}`)],
    );
    const [impatient] = scripted("impatient", [json(page("a")), problem(503, "database", "0")], { retries: 0 });
    const ended = impatient.followEvents({}, { maxOutage: 0 });
    await ended.next();
    await assert.rejects(ended.next(), hasCode("database"));
  });

  it("does not repeat a login after too many attempts", async () => {
    const [service, sent] = scripted("login", [problem(429, "too-many-attempts", "0")]);
    await assert.rejects(service.logIn({ email: USER.email, password: "x" }), hasCode("too-many-attempts"));
    assert.equal(sent().length, 1);
  });

  it("gives up after its retries", async () => {
    const busy = Array.from({ length: 9 }, () => problem(503, "service-busy", "0"));
    const [service, sent] = scripted("gives-up", busy, { retries: 2 });
    await assert.rejects(service.getUser(12), hasCode("service-busy"));
    assert.equal(sent().length, 3);
  });

  it("tells a proxy's error from one of pgface", async () => {
    const page: Answer = (response) => response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad</h1>");
    const [service] = scripted("proxy", [page], { retries: 0 });
    await assert.rejects(service.getUser(12), (error) => {
      return error instanceof UnexpectedResponseError && error.status === 502;
    });
    const [other] = scripted("portal", [(response) => response.end("<h1>Welcome</h1>")], { retries: 0 });
    await assert.rejects(other.getUser(12), UnexpectedResponseError);
  });

  it("returns a result whose status is not a success", async () => {
    const readiness = { ready: false, database: false, schema_current: true, model: true };
    const [service, sent] = scripted("ready", [json(readiness, 503)]);
    assert.deepEqual(await service.readyz(), readiness);
    assert.equal(sent().length, 1);
  });

  it("stops at a timeout, and at a signal", async () => {
    const [slow, sentSlowly] = scripted("slow", [never]);
    await assert.rejects(slow.getUser(12, { timeout: 1000 }), (error) => {
      return error instanceof UnreachableError && error.timedOut;
    });
    assert.equal(sentSlowly().length, 1);
    const controller = new AbortController();
    const thenAbort: Answer = (response) => {
      problem(503, "service-busy", "20")(response);
      setTimeout(() => controller.abort(), 100);
    };
    const [waiting, sent] = scripted("signal", [thenAbort]);
    await assert.rejects(waiting.getUser(12, { signal: controller.signal }), { name: "AbortError" });
    assert.equal(sent().length, 1);
  });

  it("follows no redirect, which would send the key to another address", async () => {
    const elsewhere: Answer = (response) => response.writeHead(307, { Location: url("elsewhere") }).end();
    const [service] = scripted("redirect", [elsewhere], { retries: 0 });
    await assert.rejects(service.getUser(12), UnreachableError);
    assert.ok(!requests.some((one) => listOf(one) === "elsewhere"));
  });

  it("sends the calls of a gallery below its path", async () => {
    const [service, sent] = scripted("gallery", [json(USER), json(USER), json({ status: "ok" })]);
    const staff = service.using({ gallery: "staff.1" });
    await staff.getUser(12);
    await staff.using({ gallery: "guests" }).getUser(12);
    await staff.healthz();
    assert.deepEqual(
      sent().map((one) => one.url),
      ["/gallery/api/v1/galleries/staff.1/users/12", "/gallery/api/v1/galleries/guests/users/12", "/gallery/healthz"],
    );
    for (const gallery of ["", ".", "..", "a/b", "%2e%2e", "a b", "a".repeat(256)]) {
      assert.throws(() => service.using({ gallery }), ClientError);
    }
  });

  it("refuses a URL or a key that cannot be right, and does not show it", () => {
    const shown = (error: unknown) => error instanceof ClientError && !error.message.includes("secret");
    for (const wrong of ["secret", "ftp://secret", "http://user:secret@localhost", "http://localhost?key=secret"]) {
      assert.throws(() => new Client(wrong), shown);
    }
    for (const wrong of ["", "secret\n", "secret key", "sécret"]) {
      assert.throws(() => new Client("http://localhost", { key: wrong }), shown);
    }
  });

  it("sends values of a query in their encoding, and omits those that are not given", async () => {
    const page = { users: [], next_cursor: null };
    const [service, sent] = scripted("query", [json(page), json(page)]);
    await service.listUsers({ search: "a b&c=ü", limit: 5 });
    await service.listUsers({ search: null });
    assert.deepEqual(
      sent().map((one) => one.url?.split("?")[1]),
      ["search=a+b%26c%3D%C3%BC&limit=5", undefined],
    );
  });

  it("shows the key in no log and in no error", async () => {
    const [service, sent] = scripted("hidden", [problem(403, "not-permitted"), lost], { retries: 0 });
    for (let number = 0; number < 2; number += 1) {
      const error = await service.getUser(12).catch((one: unknown) => one);
      assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes(KEY));
    }
    assert.equal(sent()[0]?.headers.authorization, `Bearer ${KEY}`);
    assert.ok(!inspect(service, { depth: 9, showHidden: true }).includes(KEY));
    assert.equal(JSON.stringify(service), "{}");
  });

  it("sends an upload as the whole body", async () => {
    const bodies: string[] = [];
    const recording: typeof fetch = async (input, init) => {
      bodies.push(await new Response(init?.body ?? null).text());
      return fetch(input, init);
    };
    const [service, sent] = scripted("upload", [lost, json({ id: "1", state: "queued" }, 202)], { fetch: recording });
    const job = await service.createJob({ kind: "enroll", face: "largest" }, new Uint8Array([80, 75]));
    assert.equal(job.state, "queued");
    assert.deepEqual(bodies, ["PK", "PK"]);
    assert.deepEqual(
      sent().map((one) => [one.url, one.headers["content-type"]]),
      Array(2).fill(["/upload/api/v1/jobs?kind=enroll&face=largest", "application/octet-stream"]),
    );
    const [evaluating, sentWithout] = scripted("without", [json({ id: "2" }, 202)]);
    await evaluating.createJob({ kind: "evaluate" });
    assert.equal(sentWithout()[0]?.headers["content-length"], "0");
  });

  it("sends nothing if a photo cannot be read", async () => {
    const [service, sent] = scripted("no-file", []);
    await assert.rejects(service.detect({ photo: "/no/such/photo.jpg" }), { code: "ENOENT" });
    assert.equal(sent().length, 0);
  });
});
