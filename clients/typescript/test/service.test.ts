// The client against a running service. tests/integration/test_typescript_client.py starts it, and sets the variables.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, describe, it } from "node:test";
import { Client, ProblemError, type UserResponse } from "pgface-client";

const { PGFACE_URL: url = "", PGFACE_KEY: key, PHOTOS: photos = "" } = process.env;
const skip = url === "" && "PGFACE_URL is not set";
const service = new Client(url, { key });
const [first, second, other] = ["alice1.jpg", "alice2.jpg", "other.jpg"].map((name) => `${photos}/${name}`) as [
  string,
  string,
  string,
];
const PASSWORD = "several plain words here";

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof ProblemError && error.code === code;
}

/** A `fetch` that loses the first response after the service has sent it. */
function losing(seen: Response[]): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    seen.push(response.clone());
    if (seen.length === 1) throw new TypeError("the connection was lost");
    return response;
  };
}

describe("a program with an API key", { skip }, () => {
  let alice: UserResponse;

  it("enrolls a path, bytes and a File once", async () => {
    const enrolled = await service.enrollPhotoByEmail({ photo: first, email: "alice@example.org", name: "Alice" });
    alice = enrolled.user;
    assert.equal(enrolled.added, true);
    const bytes = await readFile(first);
    assert.equal((await service.enrollPhoto(alice.id, { photo: bytes })).added, false);
    const blob = new Blob([bytes], { type: "image/jpeg" });
    assert.equal((await service.enrollPhoto(alice.id, { photo: blob, face: "largest" })).added, false);
    const file = new File([await readFile(second)], "second.jpg");
    assert.equal((await service.enrollPhoto(alice.id, { photo: file })).added, true);
    const { photos: listed } = await service.listPhotos(alice.id);
    assert.deepEqual(
      listed.map((one) => one.filename),
      ["alice1.jpg", "second.jpg"],
    );
  });

  it("creates a user and an enrollment once if the response is lost", async () => {
    const seen: Response[] = [];
    const unlucky = new Client(url, { key, fetch: losing(seen) });
    const bob = await unlucky.createUser({ email: "bob@example.org" });
    assert.equal(seen[1]?.headers.get("Idempotent-Replayed"), "true");
    assert.deepEqual(await service.getUser(bob.id), bob);
    assert.deepEqual((await service.listUsers({ search: "bob" })).users, [bob]);
    seen.length = 0;
    assert.equal((await unlucky.enrollPhoto(bob.id, { photo: other })).added, true);
    assert.equal(seen[1]?.headers.get("Idempotent-Replayed"), "true");
    assert.equal((await service.listPhotos(bob.id)).photos.length, 1);
  });

  it("identifies, verifies, compares and detects", async () => {
    const { faces } = await service.identify({ photo: second, top: 3 });
    assert.deepEqual(
      faces.map((face) => face.matches[0]?.name),
      ["Alice"],
    );
    assert.equal((await service.verify({ photo: second, user_id: alice.id })).match, true);
    assert.equal((await service.verify({ photo: other, email: alice.email, threshold: 0.9 })).match, false);
    await service.updateUser(alice.id, { external_id: "emp-17" });
    assert.equal((await service.verify({ photo: second, external_id: "emp-17" })).match, true);
    assert.equal((await service.compare({ photo: first, other: second })).match, true);
    assert.equal((await service.detect({ photo: await readFile(first) })).faces.length, 1);
  });

  it("lists all users page by page", async () => {
    const emails = [];
    for await (const user of service.iterUsers({ limit: 1 })) emails.push(user.email);
    assert.deepEqual(emails, ["alice@example.org", "bob@example.org"]);
  });

  it("gets and deletes photos and users", async () => {
    const [photo] = (await service.listPhotos(alice.id, { limit: 1 })).photos;
    assert.ok(photo);
    const crop = await service.getCrop(alice.id, photo.id);
    assert.equal(crop.type, "image/jpeg");
    assert.ok(crop.size > 1000);
    assert.equal(await service.deletePhoto(alice.id, photo.id), undefined);
    const names = [];
    for await (const one of service.iterPhotos(alice.id)) names.push(one.filename);
    assert.deepEqual(names, ["second.jpg"]);
    await service.deleteUser(alice.id);
    await assert.rejects(service.getUser(alice.id), (error) => {
      assert.ok(error instanceof ProblemError);
      assert.equal(error.code, "unknown-user");
      assert.equal(error.status, 404);
      assert.match(error.requestId ?? "", /\S/);
      assert.match(error.message, /\.$/);
      return true;
    });
  });

  it("learns which field cannot be used", async () => {
    await assert.rejects(service.identify({ photo: first, top: 0 }), (error) => {
      assert.ok(error instanceof ProblemError);
      assert.equal(error.code, "invalid-request");
      assert.equal(error.errors[0]?.field, "top");
      return true;
    });
    await assert.rejects(service.detect({ photo: Buffer.from("not a photo") }), hasCode("photo-format"));
  });

  it("manages keys, and reads the status, the audit log and the metrics", async () => {
    const made = await service.createApiKey({ name: "door", scopes: ["verify"] });
    const door = service.using({ key: made.key });
    await assert.rejects(door.listUsers(), hasCode("not-permitted"));
    assert.ok((await service.listApiKeys()).keys.some((one) => one.id === made.about.id));
    await service.revokeApiKey(made.about.id);
    await assert.rejects(door.detect({ photo: first }), hasCode("key-refused"));
    assert.equal((await service.getStatus()).users, 1);
    const events = [];
    for await (const entry of service.iterAudit({ limit: 2 })) events.push(entry.event);
    assert.ok(events.length > 2);
    assert.equal((await service.listAudit({ limit: 1 })).entries.length, 1);
    assert.match(await service.getMetrics(), /^pgface_/m);
  });

  after(async () => {
    for await (const user of service.iterUsers()) await service.deleteUser(user.id);
  });
});

describe("an administrator of all galleries", { skip }, () => {
  it("creates, uses, renames and deletes a gallery", async () => {
    const made = await service.createGallery({ name: "staff.1" });
    assert.deepEqual([made.name, made.people], ["staff.1", 0]);
    const staff = service.using({ gallery: "staff.1" });
    const { user } = await staff.enrollPhotoByEmail({ photo: first, email: "alice@example.org" });
    assert.deepEqual(await staff.getUser(user.id), user);
    assert.equal((await staff.identify({ photo: second })).faces[0]?.matches[0]?.user_id, user.id);
    assert.equal((await service.identify({ photo: second })).faces[0]?.identified, false);
    assert.equal((await service.getGallery("staff.1")).people, 1);
    const door = await staff.createApiKey({ name: "door", scopes: ["identify"] });
    assert.equal((await staff.using({ key: door.key }).identify({ photo: second })).faces.length, 1);
    await assert.rejects(service.using({ key: door.key }).identify({ photo: second }), hasCode("key-refused"));
    await service.renameGallery("staff.1", { name: "employees" });
    assert.deepEqual(
      (await service.listGalleries()).galleries.map((one) => one.name),
      ["employees"],
    );
    assert.equal(await service.deleteGallery("employees"), undefined);
    await assert.rejects(service.getGallery("employees"), hasCode("unknown-gallery"));
    await assert.rejects(async () => service.getGallery(".."), TypeError);
  });
});

describe("a user", { skip }, () => {
  const anyone = new Client(`${url}/`);

  it("registers, logs in, and manages the account", async () => {
    const email = "carol@example.org";
    const user = await anyone.register({ email, password: PASSWORD });
    const { token } = await anyone.logIn({ email, password: PASSWORD });
    const carol = anyone.using({ key: token });
    assert.deepEqual((await carol.getMe()).user, user);
    assert.equal((await carol.listLogins()).logins.length, 1);
    assert.equal((await service.introspect({ token })).username, email);
    const other = anyone.using({ key: (await anyone.logIn({ email, password: PASSWORD })).token });
    await other.logOut();
    await assert.rejects(other.getMe(), hasCode("not-logged-in"));
    await assert.rejects(carol.endLogin(2 ** 31 - 1), hasCode("unknown-login"));
    assert.equal((await carol.endLogins({ keep_this: true })).ended, 0);
    await carol.changePassword({ former: PASSWORD, new: `${PASSWORD} too` });
    await carol.deleteMe({ password: `${PASSWORD} too` });
    await assert.rejects(carol.getMe(), hasCode("not-logged-in"));
  });

  it("sends frames to log in by face", async () => {
    const email = "stranger@example.org";
    const challenge = "outdated";
    await assert.rejects(anyone.createChallenge({ email, password: PASSWORD }), hasCode("login-refused"));
    await assert.rejects(anyone.getHint({ challenge, frame: first }), hasCode("liveness"));
    await assert.rejects(anyone.logInByFace({ challenge, frames: [first, second] }), hasCode("login-refused"));
  });

  it("sends frames of a liveness session", async () => {
    const session = "0b5c1f1e-4a53-4c0e-9a2b-6f1f5d1f9c11";
    const unknown = hasCode("unknown-liveness-session");
    await assert.rejects(anyone.getLivenessHint(session, { frame: first }), unknown);
    await assert.rejects(anyone.answerLivenessSession(session, { frames: [first, second] }), unknown);
  });
});

describe("a health check", { skip }, () => {
  it("needs no key", async () => {
    const anyone = new Client(url);
    assert.deepEqual(await anyone.healthz(), { status: "ok" });
    assert.equal((await anyone.readyz()).ready, true);
  });
});
