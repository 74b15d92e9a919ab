"""A Flask application that accepts the tokens of people who logged in at pgface's web service: it asks whose they are.

    pip install flask httpx
    export FACE_SERVICE=http://127.0.0.1:8000 FACE_SERVICE_KEY="$(pgface keys create "my application" --scope verify)"
    flask --app examples/flask_introspection/app.py run

It needs nothing of pgface but its URL and an API key, and never sees a face or a password. The question is the one of
OAuth 2.0 Token Introspection (RFC 7662), so a library for that does as well.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache

import httpx
from flask import Flask, g, jsonify, request
from flask.typing import ResponseReturnValue

SECONDS = 5
"""For an answer; without one nobody is let in."""

app = Flask(__name__)


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in at the service."""

    id: int
    email: str
    name: str
    by_password: bool
    """Or else by their face alone, which is not enough for everything."""


class ServiceAwayError(Exception):
    """It cannot be known whose the token is."""


@cache
def service() -> httpx.Client:
    """The connections to the service, for the life of the process and all its threads; through no proxy."""
    headers = {"Authorization": f"Bearer {os.environ['FACE_SERVICE_KEY']}"}
    return httpx.Client(base_url=os.environ["FACE_SERVICE"], headers=headers, timeout=SECONDS, trust_env=False)


def owner_of(token: str) -> Person | None:
    """Whose token it is; None for one that opens nothing.

    It is asked for every request and remembered for none: somebody who logs out is out at once.

    Raises:
        ServiceAwayError: there was no answer that can be relied upon.

    """
    try:
        answer = service().post("/api/v1/introspect", data={"token": token}).raise_for_status().json()
        if answer["active"] is not True:
            return None
        return Person(int(answer["sub"]), answer["username"], answer["name"], answer["confidence"] == 1.0)
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        # The kind alone: the text may repeat what was sent.
        raise ServiceAwayError(type(error).__name__) from None


@app.before_request
def only_people_who_are_logged_in() -> ResponseReturnValue | None:
    """Before every view, so that none can be forgotten."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    # What a token looks like: RFC 6750, section 2.1. Nothing else is worth a question.
    plausible = scheme.lower() == "bearer" and re.fullmatch(r"[A-Za-z0-9._~+/-]{1,200}=*", token)
    person = owner_of(token) if plausible else None
    if person is None:
        # The same for none, a wrong one and one that has ended.
        return {"error": "Log in."}, 401, {"WWW-Authenticate": "Bearer"}
    g.person = person
    return None


@app.get("/")
def home() -> ResponseReturnValue:
    """What everybody sees who is logged in."""
    return jsonify(hello=g.person.name)


@app.get("/salary")
def salary() -> ResponseReturnValue:
    """What a face alone does not open."""
    if not g.person.by_password:
        return {"error": "Log in by password for this."}, 403
    return jsonify(of=g.person.email, amount=5_000)


@app.errorhandler(ServiceAwayError)
def away(error: ServiceAwayError) -> ResponseReturnValue:
    """Closed, whatever is wrong: the service is away, or refuses this application's key."""
    app.logger.error("The face service gave no usable answer (%s).", error)
    return {"error": "This does not work at the moment."}, 503, {"Retry-After": "5"}
