"""The one model of a gallery: which it is, and that no other is ever used with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from pgface.confidence import Anchor, anchors_of
from pgface.errors import (
    DatabaseError,
    ModelError,
    ModelMismatchError,
    ModelNotInstalledError,
    UnknownModelError,
)
from pgface.faces import how_to_bring, keep_pack, load_engine, model_defaults
from pgface.faces.installed import is_installed
from pgface.faces.models import ModelIdentity
from pgface.forks import leave_to_parent, renew_after_fork
from pgface.postgres.database import Database
from pgface.schema import queries
from pgface.settings import Settings

if TYPE_CHECKING:
    from pgface.faces.engine import Engine

_FRESH = 5.0
"""Seconds for which the gallery's row is not read again."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The gallery's one row: what its embeddings were made with, and its thresholds."""

    id: UUID
    model_name: str | None
    dimension: int
    detector_size: int | None
    weights_sha256: str | None
    verify_threshold: float
    identify_threshold: float

    @property
    def identity(self) -> ModelIdentity:
        """The model that the gallery is bound to."""
        return ModelIdentity(self.model_name or "", self.dimension, self.detector_size or 0, self.weights_sha256 or "")


def read_binding(source: Database | psycopg.Connection) -> Binding:
    """Read the gallery's row."""
    if isinstance(source, Database):
        (binding,) = source.read("select_gallery", row_factory=class_row(Binding))
        return binding
    with source.cursor(row_factory=class_row(Binding)) as cursor:
        return cursor.execute(queries()["select_gallery"]).fetchall()[0]


def read_anchors(database: Database) -> tuple[Anchor, ...]:
    """What similarities mean in this gallery, in their order; empty for one that is not bound to a model."""
    return tuple(database.read("select_confidence_anchors", row_factory=class_row(Anchor)))


def store_anchors(connection: psycopg.Connection, anchors: Sequence[Anchor]) -> None:
    """Put anchors in place of those that are there."""
    connection.execute(queries()["delete_confidence_anchors"])
    values = {
        "similarities": [anchor.similarity for anchor in anchors],
        "confidences": [anchor.confidence for anchor in anchors],
        "fmrs": [anchor.fmr for anchor in anchors],
        "extrapolated": [anchor.extrapolated for anchor in anchors],
    }
    connection.execute(queries()["insert_confidence_anchors"], values)


class GalleryModel:
    """The gallery's model; its engine is loaded when it is first needed."""

    def __init__(self, settings: Settings, binding: Binding, engine: Engine | None) -> None:
        self._settings = settings
        self.binding = binding
        self.reload: Callable[[], Engine] | None = None
        """Loads the engine again in another process; None for an engine that was given and not loaded."""
        self._engine = engine
        self._anchors: tuple[Anchor, ...] | None = None
        self._read_at = time.monotonic()
        if engine is not None and binding.model_name is not None:
            _require_same_model(binding, engine)
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Load the engine anew in a child process, unless it was given and cannot be."""
        if self.reload is not None:
            leave_to_parent(self._engine)
            self._engine = None

    @property
    def engine(self) -> Engine:
        """The engine, as `Gallery.engine`."""
        if self._engine is not None:
            return self._engine
        if self.binding.model_name is None:
            raise ModelNotInstalledError("This gallery is not bound to a model yet; run `pgface init`.")
        try:
            return self._load(self._loader(self.binding.model_name))
        except (ModelNotInstalledError, UnknownModelError) as error:
            name = self.binding.model_name
            if name == "dlib" or (self._settings.models_dir / name).is_dir():
                raise  # packages are missing, and the sentence says which
            raise ModelNotInstalledError(
                f"The gallery's model {name} (weights with SHA-256 {self.binding.weights_sha256}) is not on this "
                "machine. " + how_to_bring(name, self._settings.models_dir)
            ) from error

    def problem(self) -> str | None:
        """Why the gallery's model cannot be used here, and what to do; None if it can, or there is none yet."""
        if self.binding.model_name is None:
            return None
        try:
            _ = self.engine
        except (ModelError, ModelMismatchError) as error:
            return str(error)
        return None

    @property
    def execution_provider(self) -> str:
        """Where inference runs; loads the engine only where this cannot be told without it.

        Raises:
            ModelError, ModelMismatchError: as `engine`.

        """
        name, weights = self.binding.model_name, self.binding.weights_sha256
        asked = self._settings.execution_provider.strip().lower().removesuffix("executionprovider")
        if self._engine is None and name and weights and (name == "dlib" or asked == "cpu"):
            with suppress(ModelError):  # which the engine says more of
                if is_installed(name, self._settings.models_dir, weights):
                    return "dlib (CPU)" if name == "dlib" else "CPUExecutionProvider"
        return self.engine.execution_provider

    def current_binding(self, database: Database) -> Binding:
        """The gallery's row as it is now, or was 5 seconds ago at most; as it was where PostgreSQL cannot be asked.

        Raises:
            ModelMismatchError: the gallery was bound to another model meanwhile.

        """
        if time.monotonic() - self._read_at > _FRESH:
            with suppress(DatabaseError):
                self._take(read_binding(database))
                self._anchors = None
            self._read_at = time.monotonic()
        return self.binding

    def current_anchors(self, database: Database) -> tuple[Anchor, ...]:
        """What similarities mean now, or did 5 seconds ago at most."""
        self.current_binding(database)
        anchors = self._anchors
        if anchors is None:
            anchors = self._anchors = read_anchors(database)
        return anchors

    def _take(self, now: Binding) -> None:
        if self.binding.model_name is not None and now.identity != self.binding.identity:
            raise ModelMismatchError(
                f"This gallery was bound to {_describe(now.identity)} while it was open; open it again."
            )
        self.binding = now

    def bind(self, database: Database, model: str | None) -> None:
        """Bind a new gallery to a model, or check that the model given is the one that it is bound to.

        Raises:
            ModelError: the model cannot be loaded.
            ModelMismatchError: the gallery is bound to another.

        """
        if self.binding.model_name is not None and model is None:
            _add_missing_anchors(database, self.binding)
            return
        wanted = model or self._settings.model
        load = self._loader(wanted)
        engine = self._engine or load()
        if self._engine is None:
            if self.binding.model_name is not None:
                _require_same_model(self.binding, engine)
            keep_pack(wanted, self._settings.models_dir, engine)
        if self.binding.model_name is None:
            with database.transaction() as connection:
                values = asdict(engine.identity) | asdict(model_defaults(engine.identity.name))
                connection.execute(queries()["bind_gallery"], values)
            # Read back, because another program may have been first.
            self.binding = read_binding(database)
        _add_missing_anchors(database, self.binding)
        if self._engine is not None:
            _require_same_model(self.binding, engine)
            return
        self._load(load)

    def _loader(self, model: str) -> Callable[[], Engine]:
        return partial(
            load_engine,
            model,
            models_dir=self._settings.models_dir,
            detector_size=self.binding.detector_size or self._settings.detector_size,
            execution_provider=self._settings.execution_provider,
        )

    def _load(self, load: Callable[[], Engine]) -> Engine:
        engine = load()
        _require_same_model(self.binding, engine)
        self._engine, self.reload = engine, load
        return engine


def _add_missing_anchors(database: Database, binding: Binding) -> None:
    """Let similarities mean what the model's publisher, or we, found, until the gallery is calibrated."""
    if read_anchors(database):
        return
    with database.transaction() as connection:
        connection.execute(queries()["lock_gallery_row"])
        # Again, because somebody may have calibrated meanwhile.
        if not connection.execute(queries()["select_confidence_anchors"]).fetchall():
            store_anchors(connection, anchors_of(model_defaults(binding.model_name or "").fmr_thresholds))


def _require_same_model(binding: Binding, engine: Engine) -> None:
    bound = binding.identity
    given = engine.identity
    if given == bound:
        return
    raise ModelMismatchError(
        f"This gallery is bound to {_describe(bound)} and this is {_describe(given)}; embeddings of two models cannot "
        "be compared, so use the gallery's own model, or another gallery (PGFACE_SCHEMA) for this one."
    )


def _describe(model: ModelIdentity) -> str:
    detector = f", detector {model.detector_size}" if model.detector_size else ""
    return f"{model.name} ({model.dimension}-D{detector}, weights {model.weights_sha256[:12]})"
