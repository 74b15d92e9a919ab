"""A Flask application with login by face: your own pages, with pgface as a library.

    pip install '.[embedded,sface]' flask
    pgface init    # with `--model buffalo_l`, users also have to look up, but its weights are for research only
    flask --app examples/flask_login/app.py run

The browser takes about ten pictures a second and sends a few in each request. Each answer says where to look next. The
camera needs https, or localhost.
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

MAX_REQUEST_BYTES = 20 * 1024 * 1024
"""Maximum size of a request. pgface accepts 20 pictures of 500 kB, which is less."""

app = Flask(__name__)
app.config.update(
    SECRET_KEY=secrets.token_bytes(32),  # in production, read one key for all processes from your secrets
    MAX_CONTENT_LENGTH=MAX_REQUEST_BYTES,
    SESSION_COOKIE_HTTPONLY=True,
    SESSION_COOKIE_SECURE=True,  # browsers treat localhost as secure
    SESSION_COOKIE_SAMESITE="Lax",
)


@cache
def gallery() -> Gallery:
    """Return the gallery, which all threads of the process share."""
    opened = Gallery.open()
    atexit.register(opened.close)
    return opened


def client() -> Client:
    """Return the client's address. Behind a proxy that you trust, let werkzeug's ProxyFix set it."""
    return Client(address=request.remote_addr)


def logged_in() -> Login | None:
    """Return the login of the session's cookie, which Flask signs and no script can read. None without a login."""
    try:
        return Accounts(gallery()).who(session.get("token", ""))
    except NotLoggedInError:
        return None


@app.before_request
def refuse_other_sites() -> None:
    """Refuse forms and pictures that a page of another site sends. Every browser names the site in a header."""
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        abort(403)


@app.get("/")
def home() -> ResponseReturnValue:
    """Show the page of a user who is logged in."""
    login = logged_in()
    return render_template("home.html", login=login) if login else redirect("/login")


@app.get("/login")
def login_page() -> ResponseReturnValue:
    """Show the login by password and by face."""
    return render_template("login.html", policy=gallery().settings.login_policy)


@app.post("/login")
def log_in() -> ResponseReturnValue:
    """Log in by e-mail and password. pgface also accepts werkzeug's hashes, and replaces them by argon2id."""
    login = Accounts(gallery()).log_in(request.form["email"], request.form["password"], client=client())
    return start_session(login.token)


@app.post("/login/face/challenge")
def challenge() -> ResponseReturnValue:
    """Start a login by face, and answer where to look first."""
    started = FaceLogin(gallery()).challenge(
        email=request.form.get("email"), password=request.form.get("password"), client=client()
    )
    return jsonify(token=started.token, pose=started.pose)


@app.post("/login/face")
def log_in_by_face() -> ResponseReturnValue:
    """Check the next pictures, and answer where to look next, or log in."""
    pictures = [picture.read() for picture in request.files.getlist("frames")]
    answer = FaceLogin(gallery()).answer(request.form["challenge"], pictures, client=client())
    return start_session(answer.token) if isinstance(answer, NewLogin) else (jsonify(pose=answer.pose), 202)


@app.post("/logout")
def log_out() -> ResponseReturnValue:
    """End the session in the database, so that a copied cookie no longer works."""
    Accounts(gallery()).log_out(session.pop("token", ""), client=client())
    return redirect("/login")


@app.errorhandler(AccountError)
def refused(error: AccountError) -> ResponseReturnValue:
    """Show the login page with the error, without the reason. That is in the audit log (`pgface audit list`)."""
    page = render_template("login.html", policy=gallery().settings.login_policy, error=str(error))
    if isinstance(error, TooManyAttemptsError):
        return page, 429, {"Retry-After": str(error.retry_after)}
    return page, 401


@app.errorhandler(PhotoError)
def unreadable(error: PhotoError) -> ResponseReturnValue:
    """Answer that a picture cannot be used. This reveals nothing about a user."""
    return jsonify(error=str(error)), 422


@app.errorhandler(PgfaceError)
def failed(error: PgfaceError) -> ResponseReturnValue:
    """Log an error of the database or the model, and hide it from the client."""
    app.logger.error("%s", error)
    return "This does not work at the moment.", 503


def start_session(token: str) -> ResponseReturnValue:
    """Put the token into a new session, without any content of an earlier one."""
    session.clear()
    session["token"] = token
    return redirect("/")
