"""A Flask application that opens its gallery at import, as in docs/how-to/flask.md."""

from __future__ import annotations

from flask import Flask, Response, jsonify, request

from pgface import Gallery

app = Flask(__name__)
gallery = Gallery.open()


@app.get("/users/<int:number>")
def user(number: int) -> Response:
    """Return the user with this id."""
    (found,) = gallery.users(after=number - 1, limit=1)
    return jsonify(id=found.id, email=found.email)


@app.post("/identify")
def identify() -> Response:
    """Identify the photo in the body of the request."""
    found = gallery.identify(request.get_data())
    return jsonify([[match.email for match in face.matches] for face in found.faces])
