"""A Flask application whose people log in with their face: pgface as a library in pages of one's own.

    pip install '.[embedded,insightface]' flask
    pgface init --model buffalo_l        # or leave dlib, whose challenges are easier
    flask --app examples/flask_login/app.py run

The browser takes some ten pictures a second and sends a few at a time. Each answer says where to look next. A camera
needs https, or localhost.
"""

from __future__ import annotations

import atexit
import secrets
from functools import cache

from flask import Flask, abort, jsonify, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from pgface import Gallery
from pgface.accounts import Accounts, Client, FaceLogin, Login, NewLogin
from pgface.errors import AccountError, NotLoggedInError, PgfaceError, PhotoError, TooManyAttemptsError

MOST_BYTES = 20 * 1024 * 1024
"""Of one request: more than the 20 pictures of 500 kB that pgface takes."""

app = Flask(__name__)
app.config.update(
    SECRET_KEY=secrets.token_bytes(32),  # of a service: read it from where its secrets are, the same in each process
    MAX_CONTENT_LENGTH=MOST_BYTES,
    SESSION_COOKIE_HTTPONLY=True,
    SESSION_COOKIE_SECURE=True,  # browsers take localhost for secure
    SESSION_COOKIE_SAMESITE="Lax",
)


@cache
def gallery() -> Gallery:
    """One for the life of the process, for all its threads."""
    opened = Gallery.open()
    atexit.register(opened.close)
    return opened


def client() -> Client:
    """Behind a proxy that you trust, let werkzeug's ProxyFix set the address."""
    return Client(address=request.remote_addr)


def logged_in() -> Login | None:
    """Who has the token in the session's cookie, which Flask signs and no script can read."""
    try:
        return Accounts(gallery()).who(session.get("token", ""))
    except NotLoggedInError:
        return None


@app.before_request
def only_from_our_own_pages() -> None:
    """Other sites may not send forms and pictures in somebody's name; every browser says where a request comes from."""
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        abort(403)


@app.get("/")
def home() -> ResponseReturnValue:
    """What only people who are logged in see."""
    login = logged_in()
    return render_template("home.html", login=login) if login else redirect("/login")


@app.get("/login")
def login_page() -> ResponseReturnValue:
    """Both ways in."""
    return render_template("login.html", policy=gallery().settings.login_policy)


@app.post("/login")
def log_in() -> ResponseReturnValue:
    """By e-mail and password; hashes of werkzeug's are verified too, and replaced by argon2id."""
    login = Accounts(gallery()).log_in(request.form["email"], request.form["password"], client=client())
    return begin(login.token)


@app.post("/login/face/challenge")
def challenge() -> ResponseReturnValue:
    """Begin a login by face: where to look first."""
    asked = FaceLogin(gallery()).challenge(
        email=request.form.get("email"), password=request.form.get("password"), client=client()
    )
    return jsonify(token=asked.token, pose=asked.pose)


@app.post("/login/face")
def log_in_by_face() -> ResponseReturnValue:
    """Look at the next pictures: where to look now, or the login."""
    pictures = [picture.read() for picture in request.files.getlist("frames")]
    answer = FaceLogin(gallery()).answer(request.form["challenge"], pictures, client=client())
    return begin(answer.token) if isinstance(answer, NewLogin) else (jsonify(pose=answer.pose), 202)


@app.post("/logout")
def log_out() -> ResponseReturnValue:
    """End the login in the database, so that a copied cookie is worth nothing."""
    Accounts(gallery()).log_out(session.pop("token", ""), client=client())
    return redirect("/login")


@app.errorhandler(AccountError)
def refused(error: AccountError) -> ResponseReturnValue:
    """One sentence, and not why: that is in the audit log (`pgface audit list`)."""
    waiting = isinstance(error, TooManyAttemptsError)
    page = render_template("login.html", policy=gallery().settings.login_policy, refusal=str(error))
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, TooManyAttemptsError) else {}
    return page, 429 if waiting else 401, headers


@app.errorhandler(PhotoError)
def unreadable(error: PhotoError) -> ResponseReturnValue:
    """A picture that cannot be used, which tells nothing of anybody."""
    return jsonify(error=str(error)), 422


@app.errorhandler(PgfaceError)
def failed(error: PgfaceError) -> ResponseReturnValue:
    """The database is away, or the model: one sentence for the log, and none of it for the client."""
    app.logger.error("%s", error)
    return "This does not work at the moment.", 503


def begin(token: str) -> ResponseReturnValue:
    """A new session, in which nothing of a former one is left."""
    session.clear()
    session["token"] = token
    return redirect("/")
