"""The operations of the web service. Each function makes a call, and is a method of both clients.

The names are those of the operations in the OpenAPI document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

import httpx

from pgface.client.calls import (
    GALLERIES,
    Call,
    PhotoSource,
    new_idempotency_key,
    path_of_gallery,
    reads,
    reads_field,
    reads_jpeg,
    reads_list,
    reads_nothing,
    reads_page,
    reads_text,
)
from pgface.client.models import (
    Account,
    AuditEntry,
    Challenge,
    Comparison,
    Enrollment,
    Event,
    Face,
    Gallery,
    Identification,
    Introspection,
    Job,
    Key,
    LivenessStep,
    Login,
    NewKey,
    NewLogin,
    Page,
    Photo,
    PhotoResult,
    Readiness,
    Status,
    User,
    Verification,
)

WhichFace: TypeAlias = Literal["only", "largest", "central"]
"""`only` refuses a photo with several faces. `largest` and `central` choose one."""

_MAX_ROWS = 100


# Users


def list_users(
    search: str | None = None,
    *,
    label: str | Sequence[str] | None = None,
    external_id: str | None = None,
    limit: int = _MAX_ROWS,
    cursor: str | None = None,
) -> Call[Page[User]]:
    """List the users in the order of their ids.

    Args:
        search: a part of the name or the e-mail.
        label: a label, or several that a user must all have.
        external_id: the external id of one user.
        limit: the maximum number of users on a page.
        cursor: the `next_cursor` of the previous page.

    """
    query = {"search": search, "label": label, "external_id": external_id, "limit": limit, "cursor": cursor}
    return Call("GET", "/users", reads_page("users", User), query=query)


def create_user(
    email: str,
    name: str | None = None,
    *,
    external_id: str | None = None,
    labels: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Call[User]:
    """Add a user without a photo and without a password. By default the name is the first part of the e-mail."""
    fields = {"email": email, "name": name, "external_id": external_id, "labels": labels, "metadata": metadata}
    return _creation("/users", reads(User), idempotency_key, fields=fields)


def get_user(user_id: int) -> Call[User]:
    """Get a user."""
    return Call("GET", f"/users/{user_id:d}", reads(User))


def update_user(
    user_id: int,
    *,
    name: str | None = None,
    external_id: str | None = None,
    labels: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Call[User]:
    """Change a user. What you do not give stays, and an empty external id deletes it."""
    fields = {"name": name, "external_id": external_id, "labels": labels, "metadata": metadata}
    return Call("PATCH", f"/users/{user_id:d}", reads(User), fields=fields)


def delete_user(user_id: int) -> Call[None]:
    """Delete a user with all photos, embeddings and logins."""
    return Call("DELETE", f"/users/{user_id:d}", reads_nothing)


# Photos


def list_photos(user_id: int, *, limit: int = _MAX_ROWS, cursor: str | None = None) -> Call[Page[Photo]]:
    """List a user's photos in the order of their ids."""
    query = {"limit": limit, "cursor": cursor}
    return Call("GET", f"/users/{user_id:d}/photos", reads_page("photos", Photo), query=query)


def enroll_photo(
    user_id: int,
    photo: PhotoSource,
    *,
    face: WhichFace = "only",
    allow_other_user: bool = False,
    idempotency_key: str | None = None,
) -> Call[Enrollment]:
    """Enroll a photo of a user. A photo that the user has already changes nothing.

    Args:
        user_id: the user's id.
        photo: the photo.
        face: which face of a photo with several.
        allow_other_user: enroll the face even if it is another user's. Only for administrators.
        idempotency_key: your own key, to repeat the call later. By default the client makes one for each call.

    """
    path = f"/users/{user_id:d}/photos"
    fields = {"face": face, "allow_other_user": allow_other_user}
    return _creation(path, reads(Enrollment), idempotency_key, fields=fields, photos=[("photo", photo)])


def enroll_photo_by_email(
    photo: PhotoSource,
    email: str | None = None,
    name: str | None = None,
    *,
    external_id: str | None = None,
    labels: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    face: WhichFace = "only",
    allow_other_user: bool = False,
    idempotency_key: str | None = None,
) -> Call[Enrollment]:
    """Enroll a photo of the user with this e-mail, and add the user if the e-mail is new.

    Args:
        photo: the photo.
        email: the user's e-mail. Without it, the name identifies the user.
        name: the name of a user who is added.
        external_id: the external id of a user who is added.
        labels: the labels of a user who is added.
        metadata: the metadata of a user who is added.
        face: which face of a photo with several.
        allow_other_user: enroll the face even if it is another user's. Only for administrators.
        idempotency_key: your own key, to repeat the call later. By default the client makes one for each call.

    """
    fields = {
        "email": email,
        "name": name,
        "external_id": external_id,
        "labels": labels,
        "metadata": None if metadata is None else json.dumps(metadata),  # a form contains the text of the object
        "face": face,
        "allow_other_user": allow_other_user,
    }
    return _creation("/photos", reads(Enrollment), idempotency_key, fields=fields, photos=[("photo", photo)])


def get_crop(user_id: int, photo_id: int) -> Call[bytes]:
    """Get the face of an enrolled photo, as a JPEG of 224×224 pixels."""
    return Call("GET", f"/users/{user_id:d}/photos/{photo_id:d}/crop", reads_jpeg)


def delete_photo(user_id: int, photo_id: int) -> Call[None]:
    """Delete a photo with its embedding."""
    return Call("DELETE", f"/users/{user_id:d}/photos/{photo_id:d}", reads_nothing)


# Faces


def identify(
    photo: PhotoSource, *, threshold: float | None = None, top: int = 1, labels: Sequence[str] | None = None
) -> Call[Identification]:
    """Identify every face of a photo (1:N).

    Args:
        photo: the probe.
        threshold: the lowest similarity of a match, -1 to 1. By default the gallery's own.
        top: the maximum number of users for each face, 1 to 100.
        labels: search only among the users who have all of these labels.

    """
    fields = {"threshold": threshold, "top": top, "labels": labels}
    return _question("/identify", reads(Identification), [("photo", photo)], **fields)


def verify(
    photo: PhotoSource,
    *,
    user_id: int | None = None,
    email: str | None = None,
    name: str | None = None,
    external_id: str | None = None,
    threshold: float | None = None,
    face: WhichFace = "only",
) -> Call[Verification]:
    """Verify that a photo shows a user (1:1). Name the user by one of `user_id`, `email`, `name` and `external_id`.

    Args:
        photo: the probe.
        user_id: the user's id.
        email: the user's e-mail.
        name: the user's name, if only one user has it.
        external_id: the user's id in another system.
        threshold: the lowest similarity of a match, -1 to 1. By default the gallery's own.
        face: which face of a photo with several.

    """
    claim = {"user_id": user_id, "email": email, "name": name, "external_id": external_id}
    return _question("/verify", reads(Verification), [("photo", photo)], threshold=threshold, face=face, **claim)


def compare(
    photo: PhotoSource, other: PhotoSource, *, threshold: float | None = None, face: WhichFace = "only"
) -> Call[Comparison]:
    """Compare the faces of two photos (1:1). The person need not be enrolled."""
    photos = [("photo", photo), ("other", other)]
    return _question("/compare", reads(Comparison), photos, threshold=threshold, face=face)


def detect(photo: PhotoSource) -> Call[tuple[Face, ...]]:
    """Detect the faces of a photo, the largest first."""
    return _question("/detect", reads_list("faces", Face), [("photo", photo)])


# Accounts


def register(email: str, password: str, name: str | None = None, *, idempotency_key: str | None = None) -> Call[User]:
    """Register a user with a password."""
    fields = {"email": email, "password": password, "name": name}
    return _creation("/auth/register", reads(User), idempotency_key, fields=fields)


def log_in(email: str, password: str) -> Call[NewLogin]:
    """Log in by password."""
    return Call("POST", "/auth/login", reads(NewLogin), fields={"email": email, "password": password})


def create_challenge(email: str | None = None, password: str | None = None) -> Call[Challenge]:
    """Start a login by face. The service's login policy says what it needs."""
    return Call("POST", "/auth/challenge", reads(Challenge), fields={"email": email, "password": password})


def get_hint(challenge: str, frame: PhotoSource) -> Call[str]:
    """Check the position of a face before a challenge is answered.

    Returns `ok`, or what is wrong, or where to move from the person's point of view.
    """
    hint = reads_field("hint", str)
    return Call("POST", "/auth/hint", hint, fields={"challenge": challenge}, photos=[("frame", frame)])


def log_in_by_face(challenge: str, frames: Sequence[PhotoSource]) -> Call[NewLogin | Challenge]:
    """Send the next frames of the camera, about ten a second. Returns the next step, or the login at the end.

    Args:
        challenge: the token of the challenge.
        frames: the frames since the last call, in order, not mirrored.

    """
    photos = [("frames", frame) for frame in frames]
    return Call("POST", "/auth/face", _login_or_challenge, fields={"challenge": challenge}, photos=photos)


def answer_liveness_session(session_id: str, frames: Sequence[PhotoSource]) -> Call[LivenessStep]:
    """Send the next frames of a liveness session, about ten a second, until it is done.

    The first pose is straight ahead. GetFaceLivenessSessionResults says whether the person is live.

    Args:
        session_id: the id that CreateFaceLivenessSession returned.
        frames: the frames since the last call, in order, not mirrored.

    """
    photos = [("frames", frame) for frame in frames]
    return Call("POST", f"/liveness/{quote(session_id, safe='')}", reads(LivenessStep), photos=photos)


def get_liveness_hint(session_id: str, frame: PhotoSource) -> Call[str]:
    """Check the position of a face before a liveness session is answered, as `get_hint` does."""
    path = f"/liveness/{quote(session_id, safe='')}/hint"
    return Call("POST", path, reads_field("hint", str), photos=[("frame", frame)])


def log_out() -> Call[None]:
    """End the login of the client's token."""
    return Call("POST", "/auth/logout", reads_nothing)


def get_me() -> Call[Account]:
    """Get the user and the login of the client's token."""
    return Call("GET", "/auth/me", reads(Account))


def delete_me(password: str) -> Call[None]:
    """Delete the user of the client's token."""
    return Call("DELETE", "/auth/me", reads_nothing, fields={"password": password})


def change_password(former: str, new: str) -> Call[None]:
    """Change the password of the client's user, and end all other logins."""
    return Call("POST", "/auth/password", reads_nothing, fields={"former": former, "new": new})


def list_logins() -> Call[tuple[Login, ...]]:
    """List the logins of the client's user that have not ended."""
    return Call("GET", "/auth/logins", reads_list("logins", Login))


def end_logins(*, keep_this: bool = False) -> Call[int]:
    """End all logins of the client's user, or all but the client's own. Returns their number."""
    return Call("DELETE", "/auth/logins", reads_field("ended", int), query={"keep_this": keep_this})


def end_login(login_id: int) -> Call[None]:
    """End one login of the client's user."""
    return Call("DELETE", f"/auth/logins/{login_id:d}", reads_nothing)


def introspect(token: str) -> Call[Introspection]:
    """Ask whose a token is that your application received (RFC 7662)."""
    return Call("POST", "/introspect", reads(Introspection), fields={"token": token}, changes_nothing=True)


# Events


def list_events(
    after: str | None = None, *, kind: Sequence[str] = (), wait: float = 0, limit: int = _MAX_ROWS
) -> Call[Page[Event]]:
    """List events in order. Keep the `next_cursor`, and give it as `after` of the next call.

    Args:
        after: the `next_cursor` of the previous call. By default the oldest events. `end` stands for the newest one.
        kind: only events of these kinds, such as `enrolled`.
        wait: seconds to wait for the next event if no event follows the cursor, 0 to 30.
        limit: the maximum number of events, 1 to 1,000.

    """
    query = {"after": after, "kind": kind, "wait": wait, "limit": limit}
    return Call("GET", "/events", reads_page("events", Event), query=query, waits=wait)


# Jobs


def create_job(
    kind: Literal["enroll", "import", "reembed", "evaluate"],
    archive: PhotoSource | None = None,
    *,
    face: WhichFace = "only",
    allow_other_user: bool = False,
    model: str | None = None,
    drop_lost: bool = False,
    idempotency_key: str | None = None,
) -> Call[Job]:
    """Add long work that a worker does. The call does not wait for it, so ask with `get_job`.

    Args:
        kind: what to do.
        archive: of `enroll`, a ZIP or TAR file of photos, `<person>/<photo>`. Of `import`, an export. It is read into
            memory, so that the call can be repeated.
        face: of `enroll`: which face of a photo to enroll.
        allow_other_user: of `enroll`: enroll faces also if they are another user's.
        model: of `reembed`: the name of the new model.
        drop_lost: of `reembed`: delete embeddings that cannot be embedded again.
        idempotency_key: a random text. By default each call has a new one.

    """
    query = {
        "kind": kind,
        "face": face,
        "allow_other_user": allow_other_user,
        "model": model,
        "drop_lost": drop_lost,
    }
    return _creation("/jobs", reads(Job), idempotency_key, query=query, upload=archive)


def list_jobs(state: str | None = None, *, limit: int = _MAX_ROWS, cursor: str | None = None) -> Call[Page[Job]]:
    """List the jobs, the newest first.

    Args:
        state: only jobs in this state, such as `running`.
        limit: the maximum of jobs on a page.
        cursor: the `next_cursor` of the previous page.

    """
    query = {"state": state, "limit": limit, "cursor": cursor}
    return Call("GET", "/jobs", reads_page("jobs", Job), query=query)


def get_job(job_id: str) -> Call[Job]:
    """Get a job with its progress."""
    return Call("GET", f"/jobs/{_segment(job_id)}", reads(Job))


def list_job_results(job_id: str, *, limit: int = _MAX_ROWS, cursor: str | None = None) -> Call[Page[PhotoResult]]:
    """List what a job did with each photo, in the order of the archive."""
    path = f"/jobs/{_segment(job_id)}/results"
    return Call("GET", path, reads_page("results", PhotoResult), query={"limit": limit, "cursor": cursor})


def cancel_job(job_id: str) -> Call[Job]:
    """Cancel a job. Photos that were enrolled stay."""
    return Call("POST", f"/jobs/{_segment(job_id)}/cancel", reads(Job))


# Administration


def get_status() -> Call[Status]:
    """Get the status of the gallery."""
    return Call("GET", "/status", reads(Status))


def list_api_keys() -> Call[tuple[Key, ...]]:
    """List all API keys, including revoked ones."""
    return Call("GET", "/keys", reads_list("keys", Key))


def create_api_key(name: str, scopes: Sequence[str], *, all_galleries: bool = False) -> Call[NewKey]:
    """Create an API key. If you call this twice, you get two keys.

    Args:
        name: what the key is for.
        scopes: what the key permits, such as `enroll`.
        all_galleries: whether the key works for all galleries. Only for administrators of all galleries.

    """
    fields = {"name": name, "scopes": scopes, "all_galleries": all_galleries}
    return Call("POST", "/keys", reads(NewKey), fields=fields)


def revoke_api_key(key_id: int) -> Call[None]:
    """Revoke an API key."""
    return Call("DELETE", f"/keys/{key_id:d}", reads_nothing)


def list_audit(
    *, user_id: int | None = None, event: str | None = None, limit: int = _MAX_ROWS, cursor: str | None = None
) -> Call[Page[AuditEntry]]:
    """List the audit log, the newest entries first. You can ask for one user or one event."""
    query = {"user_id": user_id, "event": event, "limit": limit, "cursor": cursor}
    return Call("GET", "/audit", reads_page("entries", AuditEntry), query=query)


# Galleries, for administrators of all galleries


def list_galleries() -> Call[tuple[Gallery, ...]]:
    """List all galleries except the default one."""
    return Call("GET", GALLERIES, reads_list("galleries", Gallery), of_gallery=False)


def create_gallery(name: str, model: str | None = None) -> Call[Gallery]:
    """Create an empty gallery.

    Args:
        name: 1 to 255 letters, digits and the characters `_.-`.
        model: the name of an installed model. By default the model of the default gallery.

    """
    return Call("POST", GALLERIES, reads(Gallery), fields={"name": name, "model": model}, of_gallery=False)


def get_gallery(gallery: str) -> Call[Gallery]:
    """Get a gallery by its name."""
    return Call("GET", path_of_gallery(gallery), reads(Gallery), of_gallery=False)


def rename_gallery(gallery: str, name: str) -> Call[Gallery]:
    """Give a gallery another name."""
    return Call("PATCH", path_of_gallery(gallery), reads(Gallery), fields={"name": name}, of_gallery=False)


def delete_gallery(gallery: str) -> Call[None]:
    """Delete a gallery with its people, photos, keys and sessions. You cannot undo this."""
    return Call("DELETE", path_of_gallery(gallery), reads_nothing, of_gallery=False)


# Health checks and metrics, which belong to the service and not to a gallery


def healthz() -> Call[str]:
    """Check that the process responds. Returns `ok`."""
    return Call("GET", "/healthz", reads_field("status", str), of_gallery=False)


def readyz() -> Call[Readiness]:
    """Check that the service is ready. If it is not, this is not an error, and `ready` is False."""
    return Call("GET", "/readyz", reads(Readiness), of_gallery=False, statuses=frozenset({200, 503}))


def get_metrics() -> Call[str]:
    """Get the metrics in the format of Prometheus."""
    return Call("GET", "/metrics", reads_text, of_gallery=False)


def _question(path: str, read: Any, photos: Sequence[tuple[str, PhotoSource]], **fields: Any) -> Call[Any]:
    """A call with photos that changes nothing."""
    return Call("POST", path, read, fields=fields, photos=photos, changes_nothing=True)


def _creation(path: str, read: Any, idempotency_key: str | None, **body: Any) -> Call[Any]:
    """A call that creates something, and is done once however often it is sent."""
    return Call("POST", path, read, idempotency_key=new_idempotency_key(idempotency_key), **body)


def _segment(text: str) -> str:
    """Return text as one segment of a path."""
    return quote(text, safe="")


def _login_or_challenge(response: httpx.Response) -> NewLogin | Challenge:
    return reads(Challenge)(response) if response.status_code == 202 else reads(NewLogin)(response)
