"""The one model of a gallery: which it is, and that no other is ever used with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from uuid import UUID

from psycopg.rows import class_row

from pgface.errors import ModelMismatchError, ModelNotInstalledError
from pgface.faces import load_engine, model_defaults, remember_folder
from pgface.faces.engine import Engine, ModelIdentity
from pgface.postgres.database import Database
from pgface.schema import queries
from pgface.settings import Settings


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


def read_binding(database: Database) -> Binding:
    """Read the gallery's row."""
    (binding,) = database.read("select_gallery", row_factory=class_row(Binding))
    return binding


class GalleryModel:
    """The gallery's model; its engine is loaded when it is first needed."""

    def __init__(self, settings: Settings, binding: Binding, engine: Engine | None) -> None:
        self._settings = settings
        self.binding = binding
        self.reload: Callable[[], Engine] | None = None
        """Loads the engine again in another process; None for an engine that was given and not loaded."""
        self._engine = engine
        if engine is not None and binding.model_name is not None:
            _require_same_model(binding, engine)

    @property
    def engine(self) -> Engine:
        """The engine, as `Gallery.engine`."""
        if self._engine is not None:
            return self._engine
        if self.binding.model_name is None:
            raise ModelNotInstalledError("This gallery is not bound to a model yet; run `pgface init`.")
        return self._load(self._loader(self.binding.model_name))

    def bind(self, database: Database, model: str | None) -> None:
        """Bind a new gallery to a model, or check that the model given is the one that it is bound to.

        Raises:
            ModelError: the model cannot be loaded.
            ModelMismatchError: the gallery is bound to another.

        """
        if self.binding.model_name is not None and model is None:
            return
        wanted = model or self._settings.model
        load = self._loader(wanted)
        engine = self._engine or load()
        if self.binding.model_name is None:
            with database.transaction() as connection:
                values = asdict(engine.identity) | asdict(model_defaults(engine.identity.name))
                connection.execute(queries()["bind_gallery"], values)
            # Read back, because another program may have been first.
            self.binding = read_binding(database)
        if self._engine is not None:
            _require_same_model(self.binding, engine)
            return
        self._load(load)
        remember_folder(wanted, self._settings.models_dir)

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


def _require_same_model(binding: Binding, engine: Engine) -> None:
    bound = ModelIdentity(
        binding.model_name or "", binding.dimension, binding.detector_size or 0, binding.weights_sha256 or ""
    )
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
