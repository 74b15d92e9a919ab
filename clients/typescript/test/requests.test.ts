// What the client sends, and when it sends it again. The server of these tests gives the responses that a test lists.

import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { inspect } from "node:util";
import { type ClientOptions, ConnectionError, Pgface, ProblemError } from "pgface-client";

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
function scripted(name: string, answers: Answer[], options: ClientOptions = {}): [Pgface, () => IncomingMessage[]] {
  lists.set(name, answers);
  return [new Pgface(url(name), { key: KEY, ...options }), () => requests.filter((one) => listOf(one) === name)];
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
    const [pgface, sent] = scripted("waits", [problem(503, "database", "1"), json(USER, 201)]);
    const start = performance.now();
    assert.deepEqual(await pgface.createUser({ email: USER.email }), USER);
    assert.ok(performance.now() - start >= 1000);
    const keys = sent().map((one) => one.headers["idempotency-key"]);
    assert.equal(keys.length, 2);
    assert.match(String(keys[0]), /^[0-9a-f]{32}$/);
    assert.equal(keys[0], keys[1]);
  });

  it("reads a date in Retry-After", async () => {
    const date = new Date(Date.now() + 1000).toUTCString();
    const [pgface, sent] = scripted("date", [problem(503, "database", date), json({ keys: [] })]);
    await pgface.listApiKeys();
    assert.equal(sent().length, 2);
  });

  it("does not wait longer than allowed, and says how long to wait", async () => {
    const [pgface, sent] = scripted("long", [problem(429, "too-many", "900")]);
    await assert.rejects(pgface.getUser(12), (error) => error instanceof ProblemError && error.retryAfter === 900);
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
    await assert.rejects(unsafe.createApiKey({ name: "door", scopes: ["verify"] }), ConnectionError);
    assert.equal(sentUnsafely().length, 1);
  });

  it("sends any request again that the service refused because it was busy", async () => {
    const created = { key: "k", about: {} };
    const [pgface, sent] = scripted("busy", [problem(503, "service-busy", "0"), json(created, 201)]);
    assert.deepEqual(await pgface.createApiKey({ name: "door", scopes: ["verify"] }), created);
    assert.equal(sent().length, 2);
  });

  it("does not repeat a login after too many attempts", async () => {
    const [pgface, sent] = scripted("login", [problem(429, "too-many-attempts", "0")]);
    await assert.rejects(pgface.logIn({ email: USER.email, password: "x" }), hasCode("too-many-attempts"));
    assert.equal(sent().length, 1);
  });

  it("gives up after its retries", async () => {
    const busy = Array.from({ length: 9 }, () => problem(503, "service-busy", "0"));
    const [pgface, sent] = scripted("gives-up", busy, { retries: 3 });
    await assert.rejects(pgface.getUser(12), hasCode("service-busy"));
    assert.equal(sent().length, 4);
  });

  it("tells a proxy's error from one of pgface", async () => {
    const page: Answer = (response) => response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad</h1>");
    const [pgface] = scripted("proxy", [page], { retries: 0 });
    await assert.rejects(pgface.getUser(12), hasCode("not-from-pgface"));
    const [other] = scripted("portal", [(response) => response.end("<h1>Welcome</h1>")], { retries: 0 });
    await assert.rejects(other.getUser(12), ConnectionError);
  });

  it("returns a result whose status is not a success", async () => {
    const readiness = { ready: false, database: false, schema_current: true, model: true };
    const [pgface, sent] = scripted("ready", [json(readiness, 503)]);
    assert.deepEqual(await pgface.readyz(), readiness);
    assert.equal(sent().length, 1);
  });

  it("stops at a timeout, and at a signal", async () => {
    const [slow] = scripted("slow", [never], { retries: 0 });
    await assert.rejects(slow.getUser(12, { timeout: 50 }), (error) => error instanceof ConnectionError);
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
    const [pgface] = scripted("redirect", [elsewhere], { retries: 0 });
    await assert.rejects(pgface.getUser(12), ConnectionError);
    assert.ok(!requests.some((one) => listOf(one) === "elsewhere"));
  });

  it("sends the calls of a gallery below its path", async () => {
    const [pgface, sent] = scripted("gallery", [json(USER), json(USER), json({ status: "ok" })]);
    await pgface.gallery("staff.1").getUser(12);
    await pgface.gallery("staff.1").gallery("guests").getUser(12);
    await pgface.gallery("staff.1").healthz();
    assert.deepEqual(
      sent().map((one) => one.url),
      ["/gallery/api/v1/galleries/staff.1/users/12", "/gallery/api/v1/galleries/guests/users/12", "/gallery/healthz"],
    );
    assert.throws(() => pgface.gallery(""), TypeError);
  });

  it("sends values of a query in their encoding, and omits those that are not given", async () => {
    const page = { users: [], next_cursor: null };
    const [pgface, sent] = scripted("query", [json(page), json(page)]);
    await pgface.listUsers({ search: "a b&c=ü", limit: 5 });
    await pgface.listUsers({ search: null });
    assert.deepEqual(
      sent().map((one) => one.url?.split("?")[1]),
      ["search=a+b%26c%3D%C3%BC&limit=5", undefined],
    );
  });

  it("shows the key in no log and in no error", async () => {
    const [pgface, sent] = scripted("hidden", [problem(403, "not-permitted"), lost], { retries: 0 });
    for (let number = 0; number < 2; number += 1) {
      const error = await pgface.getUser(12).catch((one: unknown) => one);
      assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes(KEY));
    }
    assert.equal(sent()[0]?.headers.authorization, `Bearer ${KEY}`);
    assert.ok(!inspect(pgface, { depth: 9, showHidden: true }).includes(KEY));
    assert.equal(JSON.stringify(pgface), "{}");
  });

  it("sends nothing if a photo cannot be read", async () => {
    const [pgface, sent] = scripted("no-file", []);
    await assert.rejects(pgface.detect({ photo: "/no/such/photo.jpg" }), { code: "ENOENT" });
    assert.equal(sent().length, 0);
  });
});
