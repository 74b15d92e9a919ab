"""A Flask application that accepts the session tokens of pgface's web service, and asks the service whose they are.

    pip install flask '.[client]'
    export FACE_SERVICE=http://127.0.0.1:8000 FACE_SERVICE_KEY="$(pgface keys create "my application" --scope verify)"
    flask --app examples/flask_introspection/app.py run

It needs only the service's URL and an API key, and never sees a face or a password. The request is OAuth 2.0 Token
Introspection (RFC 7662), so without `pgface.client` you can also use a library for that.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache

import httpx
from flask import Flask, g, jsonify, request
from flask.typing import ResponseReturnValue

from pgface.client import Client, ClientError

TIMEOUT = 5
"""Seconds to wait for the service. Without an answer, the application refuses access."""

app = Flask(__name__)


@dataclass(frozen=True)
class Person:
    """A user who is logged in at the service."""

    id: int
    email: str
    name: str
    by_password: bool
    """False after a login by face alone, which is not enough for everything."""


class ServiceAwayError(Exception):
    """The service gave no usable answer, so the owner of the token is unknown."""


@cache
def service() -> Client:
    """Return the client of the service, which all threads share. It uses no proxy, and does not repeat a request."""
    http = httpx.Client(timeout=TIMEOUT, trust_env=False)
    return Client(os.environ["FACE_SERVICE"], os.environ["FACE_SERVICE_KEY"], retries=0, http=http)


def owner_of(token: str) -> Person | None:
    """Return the owner of a token. None if the token is not valid.

    The answer is not cached, so a logout takes effect with the next request.

    Raises:
        ServiceAwayError: the service gave no usable answer.

    """
    try:
        answer = service().introspect(token)
    except ClientError as error:
        # Only the type of the error, because its text may contain the token.
        raise ServiceAwayError(type(error).__name__) from None
    if not answer.active:
        return None
    if not (answer.sub and answer.sub.isdecimal() and answer.username and answer.name):
        raise ServiceAwayError("no owner")
    return Person(int(answer.sub), answer.username, answer.name, answer.confidence == 1.0)


@app.before_request
def require_login() -> ResponseReturnValue | None:
    """Check the token before every view, so that no view can forget to do it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    # The syntax of a token is in RFC 6750, section 2.1. The service is not asked about anything else.
    plausible = scheme.lower() == "bearer" and re.fullmatch(r"[A-Za-z0-9._~+/-]{1,200}=*", token)
    person = owner_of(token) if plausible else None
    if person is None:
        # The same answer for a missing, a wrong and an expired token.
        return {"error": "Log in."}, 401, {"WWW-Authenticate": "Bearer"}
    g.person = person
    return None


@app.get("/")
def home() -> ResponseReturnValue:
    """Greet the user. Every login is enough."""
    return jsonify(hello=g.person.name)


@app.get("/salary")
def salary() -> ResponseReturnValue:
    """Show the salary. This needs a login by password."""
    if not g.person.by_password:
        return {"error": "Log in by password for this."}, 403
    return jsonify(of=g.person.email, amount=5_000)


@app.errorhandler(ServiceAwayError)
def away(error: ServiceAwayError) -> ResponseReturnValue:
    """Refuse access if the service cannot be reached, or refuses this application's key."""
    app.logger.error("The face service gave no usable answer (%s).", error)
    return {"error": "This does not work at the moment."}, 503, {"Retry-After": "5"}
