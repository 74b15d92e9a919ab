"""Sentences of pgface that only the tests of the how-to pages expect."""

from __future__ import annotations

from support.sentences import Sentence

GALLERY_OF_THE_EMBEDDED_SERVER_IS_READY = Sentence("the embedded PostgreSQL ... is ready")
GALLERY_OF_ANOTHER_SERVER_IS_READY = Sentence("of PostgreSQL ... is ready")
IMPORTED = Sentence("Imported {embeddings:embedding} and {people:person|people}")
EMBEDDED_SERVER_IS_STOPPED = Sentence("The embedded PostgreSQL is stopped.")
KEY_IS_REVOKED = Sentence("Key {key} is revoked.")
