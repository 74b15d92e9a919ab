"""The switch: one transaction replaces all embeddings, and binds the gallery to the new model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import psycopg
from psycopg import errors as pg

from pgface.database.sql import queries
from pgface.errors import TableLockedError
from pgface.faces.models.registry import ModelIdentity, model_defaults
from pgface.gallery.config import store_anchors
from pgface.operations.reembed import staging
from pgface.thresholds import anchors_of

_MAX_WAIT_SECONDS = 60.0
"""How long to wait for writers, which may be in the middle of a transaction."""
_SECONDS_BETWEEN_TRIES = 0.02
_REPLACEMENT = (
    "delete_faces_without_new_embedding",
    "delete_contested_faces_without_new_embedding",
    "disable_triggers_of_faces",
    "replace_embeddings",
    "enable_triggers_of_faces",
    "replace_contested_embeddings",
    # What the triggers would do for each row.
    "delete_old_templates",
    "delete_stale_templates",
    "note_all_stale",
    # The measured similarity of strangers is of the old model, until the search is fitted again.
    "suspend_index_search",
)
"""The statements that replace the embeddings, in their order."""


@contextmanager
def writes_blocked(connection: psycopg.Connection) -> Iterator[None]:
    """Start a transaction in which no other session can add, change or delete users, photos and faces.

    Other sessions can read. Those that want to write wait.

    Raises:
        TableLockedError: another session has been writing for a minute.

    """
    with connection.transaction():
        connection.execute(queries()["keep_vacuum_away"])
        connection.execute(queries()["lock_enrollment"])
        deadline = time.monotonic() + _MAX_WAIT_SECONDS
        while not _locked(connection):
            if time.monotonic() > deadline:
                raise TableLockedError
            time.sleep(_SECONDS_BETWEEN_TRIES)
        yield


def _locked(connection: psycopg.Connection) -> bool:
    try:
        with connection.transaction():
            connection.execute(queries()["lock_faces"])
    except pg.LockNotAvailable:
        return False
    return True


def users_without_new_embedding(connection: psycopg.Connection) -> int:
    """Count the people who have an embedding now, and will have none after the switch."""
    row = connection.execute(queries()["users_without_new_embedding"]).fetchone()
    return int(row[0]) if row else 0


def switch(connection: psycopg.Connection, model: ModelIdentity) -> None:
    """Replace the embeddings, and delete those without a new one. Call it in `writes_blocked`.

    The gallery gets the model's published thresholds and confidence scale. Until the templates are made, searches
    compare every embedding.
    """
    for statement in _REPLACEMENT:
        connection.execute(queries()[statement])
    defaults = model_defaults(model.name)
    connection.execute(queries()["rebind_gallery"], asdict(model))
    # Afterwards, because a trigger of that statement resets a threshold that the new model has, too.
    connection.execute(queries()["set_verify_threshold"], {"threshold": defaults.verify_threshold})
    connection.execute(queries()["set_identify_threshold"], {"threshold": defaults.identify_threshold})
    store_anchors(connection, anchors_of(defaults.fmr_thresholds))
    staging.delete_all(connection)
