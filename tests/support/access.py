"""The callers that each operation of the service permits, and requests of every kind of caller."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from httpx2 import Response

from pgface.accounts import Accounts, Client, add_administrator, create_key, revoke_key
from pgface.accounts.sessions import begin_session
from support.web_service import V1, Headers, LoggedInUser, Served, bearer

SCOPES = ("identify", "verify", "enroll", "events", "admin", "metrics")
PEOPLE = {"self", "self by cookie", "administrator", "other person"}
KEYS = {f"key {scope}" for scope in SCOPES}
WITHOUT_ACCESS = {
    "none",
    "expired token",
    "token logged out",
    "revoked key",
    "garbage",
    "empty",
    "another scheme",
    "cookie without Fetch Metadata",
    "cookie from another site",
    "cookie from another host of the site",
    "cookie with an opaque origin",
    "unknown cookie",
}
ALL = PEOPLE | KEYS | WITHOUT_ACCESS
SELF = {"self", "self by cookie"}


def scoped(scope: str) -> set[str]:
    return {"administrator", "key admin", f"key {scope}"}


PERMITTED: dict[tuple[str, str], set[str]] = {
    ("GET", "/healthz"): ALL,
    ("GET", "/readyz"): ALL,
    ("GET", "/metrics"): scoped("metrics"),
    ("GET", f"{V1}/users"): scoped("admin"),
    ("POST", f"{V1}/users"): scoped("enroll"),
    ("GET", f"{V1}/users/{{user_id}}"): scoped("admin") | SELF,
    ("PATCH", f"{V1}/users/{{user_id}}"): scoped("admin"),
    ("DELETE", f"{V1}/users/{{user_id}}"): scoped("admin"),
    ("GET", f"{V1}/users/{{user_id}}/photos"): scoped("admin") | SELF,
    ("POST", f"{V1}/users/{{user_id}}/photos"): scoped("enroll") | SELF,
    ("GET", f"{V1}/users/{{user_id}}/photos/{{photo_id}}/crop"): scoped("admin") | SELF,
    ("DELETE", f"{V1}/users/{{user_id}}/photos/{{photo_id}}"): scoped("admin") | SELF,
    ("POST", f"{V1}/photos"): scoped("enroll"),
    ("POST", f"{V1}/identify"): scoped("identify"),
    ("POST", f"{V1}/verify"): scoped("verify") | PEOPLE,
    ("POST", f"{V1}/compare"): scoped("verify") | PEOPLE,
    ("POST", f"{V1}/detect"): scoped("identify") | PEOPLE,
    ("POST", f"{V1}/auth/register"): ALL,
    ("POST", f"{V1}/auth/login"): ALL,
    ("POST", f"{V1}/auth/challenge"): ALL,
    ("POST", f"{V1}/auth/hint"): ALL,
    ("POST", f"{V1}/auth/face"): ALL,
    ("POST", f"{V1}/liveness/{{session_id}}"): ALL,
    ("POST", f"{V1}/liveness/{{session_id}}/hint"): ALL,
    ("POST", f"{V1}/auth/logout"): PEOPLE,
    ("GET", f"{V1}/auth/me"): PEOPLE,
    ("DELETE", f"{V1}/auth/me"): PEOPLE,
    ("POST", f"{V1}/auth/password"): PEOPLE,
    ("GET", f"{V1}/auth/logins"): PEOPLE,
    ("DELETE", f"{V1}/auth/logins"): PEOPLE,
    ("DELETE", f"{V1}/auth/logins/{{login_id}}"): PEOPLE,
    ("POST", f"{V1}/introspect"): scoped("verify"),
    ("GET", f"{V1}/events"): scoped("events"),
    ("GET", f"{V1}/jobs"): scoped("enroll"),
    ("POST", f"{V1}/jobs"): scoped("enroll"),
    ("GET", f"{V1}/jobs/{{job_id}}"): scoped("enroll"),
    ("GET", f"{V1}/jobs/{{job_id}}/results"): scoped("enroll"),
    ("POST", f"{V1}/jobs/{{job_id}}/cancel"): scoped("enroll"),
    ("GET", f"{V1}/status"): scoped("admin"),
    ("GET", f"{V1}/keys"): scoped("admin"),
    ("POST", f"{V1}/keys"): scoped("admin"),
    ("DELETE", f"{V1}/keys/{{key_id}}"): scoped("admin"),
    ("GET", f"{V1}/audit"): scoped("admin"),
    # Only for operators (see test_galleries).
    ("GET", f"{V1}/galleries"): set(),
    ("POST", f"{V1}/galleries"): set(),
    ("GET", f"{V1}/galleries/{{gallery}}"): set(),
    ("PATCH", f"{V1}/galleries/{{gallery}}"): set(),
    ("DELETE", f"{V1}/galleries/{{gallery}}"): set(),
}

_numbers = count(1)


class Example:
    """A user with a photo, other users, and keys. SQL creates them, because there are many."""

    def __init__(self, api: Served) -> None:
        self.api = api
        self.me = self.new_user()
        ((photo_id,),) = api.execute(
            "INSERT INTO photos (user_id, filename, filepath) VALUES (%s, 'x.jpg', 'x') RETURNING id",
            self.me.id,
        )
        self.key, key_id = api.new_key("identify")
        ((login_id,),) = api.execute("SELECT id FROM auth_tokens WHERE user_id = %s", self.me.id)
        self.ids = {"user_id": self.me.id, "photo_id": photo_id, "key_id": key_id, "login_id": login_id}
        self.ids |= dict.fromkeys(("job_id", "session_id"), "0b5c1f1e-4a53-4c0e-9a2b-6f1f5d1f9c11")

    def new_user(self, *, seconds: float = 60) -> LoggedInUser:
        user = self.api.gallery.add_user(f"user{next(_numbers)}@example.net")
        with self.api.owner.database.transaction() as connection:
            token = begin_session(connection, user.id, confidence=1.0, password_given=True, seconds=seconds).token
        return LoggedInUser(user.id, user.email, token)

    def credentials(self, caller: str) -> Headers:
        make: dict[str, Callable[[], Headers]] = {
            "none": dict,
            "self": lambda: self.me.headers,
            "self by cookie": lambda: self.me.cookie,
            "other person": lambda: self.new_user().headers,
            "administrator": self._administrator,
            "expired token": lambda: self.new_user(seconds=-1).headers,
            "token logged out": self._logged_out,
            "revoked key": self._revoked,
            "garbage": lambda: bearer("\x7f" + "é" * 500),
            "empty": lambda: bearer(""),
            "another scheme": lambda: {"Authorization": f"Basic {self.me.token}"},
            "cookie without Fetch Metadata": lambda: {"Cookie": self.me.cookie["Cookie"]},
            "cookie from another site": lambda: self.me.cookie | {"Sec-Fetch-Site": "cross-site"},
            "cookie from another host of the site": lambda: self.me.cookie | {"Sec-Fetch-Site": "same-site"},
            "cookie with an opaque origin": lambda: {
                "Cookie": self.me.cookie["Cookie"],
                "Origin": "null",
                "Host": "",
            },
            "unknown cookie": lambda: self.me.cookie | {"Cookie": "__Host-pgface=x"},
        }
        if caller in make:
            return make[caller]()
        return self.api.key(caller.removeprefix("key "))

    def _administrator(self) -> Headers:
        person = self.new_user()
        add_administrator(self.api.owner.database, person.id, Client())
        return person.headers

    def _logged_out(self) -> Headers:
        person = self.new_user()
        Accounts(self.api.gallery).log_out(person.token)
        return person.headers

    def _revoked(self) -> Headers:
        key, about = create_key(self.api.owner.database, "revoked", ["admin"], Client())
        revoke_key(self.api.owner.database, about.id, Client())
        return bearer(key)


def send(example: Example, method: str, path: str, headers: Headers) -> Response:
    """Send a request. The headers are sent as bytes, so that they may contain any characters."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return example.api.client.request(method, path.format(**example.ids, gallery="staff"), headers=raw)
