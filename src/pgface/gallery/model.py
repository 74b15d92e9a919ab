"""The model of a gallery: loading its engine, and refusing every other model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import (
    DatabaseError,
    ModelError,
    ModelMismatchError,
    ModelNotInstalledError,
    UnknownModelError,
)
from pgface.faces.engines import load_engine
from pgface.faces.engines.runtimes import expected_runtimes, runtimes, runtimes_of
from pgface.faces.models.folders import comes_with_package, missing_model_advice
from pgface.faces.models.installed import is_installed
from pgface.faces.models.registry import REGISTRY, ModelIdentity, model_defaults
from pgface.gallery.config import GalleryConfig, read_config, store_anchors
from pgface.settings import Settings
from pgface.system.forks import leave_to_parent, renew_after_fork
from pgface.thresholds import anchors_of

if TYPE_CHECKING:
    from pgface.faces.engines.base import Engine
    from pgface.gallery.gallery import Gallery

_MAX_CONFIG_AGE = 5.0
"""Seconds after which the gallery's configuration is read again."""


class EngineCache:
    """The engines that several galleries share, one for each model."""

    def __init__(self, default: Gallery) -> None:
        """Begin with the engine of this gallery, which is loaded when it is needed."""
        self._default = default
        self._engines: dict[ModelIdentity, Engine] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Load the engines again in a child process."""
        leave_to_parent(self._engines)
        self._engines, self._lock = {}, threading.Lock()

    def get(self, identity: ModelIdentity, load: Callable[[], Engine]) -> Engine:
        """Return the engine of a model, loaded once. An engine of another model is an error of the caller's."""
        if identity == self._default.config.identity:
            return self._default.engine
        with self._lock:
            if identity not in self._engines:
                engine = load()
                self._engines[engine.identity] = engine
                return engine
            return self._engines[identity]

    def identity(self, model: str | None) -> ModelIdentity:
        """Return the identity of a model by its name or folder, by default that of the default gallery.

        Raises:
            ModelError: the model cannot be loaded.

        """
        config = self._default.config
        if config.model_name is not None and model in (None, config.model_name):
            return config.identity
        settings = self._default.settings
        wanted = model or settings.model
        with self._lock:
            known = [engine.identity for engine in self._engines.values() if engine.identity.name == wanted]
        if known:
            return known[0]
        from pgface.faces.models.install import keep_pack

        engine = _loader(settings, wanted)()
        keep_pack(wanted, settings.models_dir, engine)
        with self._lock:
            self._engines[engine.identity] = engine
        return engine.identity


class GalleryModel:
    """The gallery's model. Its engine is loaded at the first use.

    Args:
        settings: the models folder, and where inference runs.
        database: the gallery's connections.
        engine: use this engine instead of loading the gallery's model.
        engines: the engines of other galleries, to use the same one for the same model.

    Raises:
        ModelMismatchError: the engine has another model than the gallery.

    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        engine: Engine | None = None,
        *,
        engines: EngineCache | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self.config = read_config(database)
        """The configuration that was read last."""
        self.reload: Callable[[], Engine] | None = None
        """Loads the engine in another process. None if the engine was passed to `__init__`."""
        self._engine = engine
        self._engines = engines
        self._read_at = time.monotonic()
        if engine is not None and self.config.model_name is not None:
            _require_same_model(self.config, engine)
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Load the engine again in a child process, unless it was passed to `__init__`."""
        if self.reload is not None:
            leave_to_parent(self._engine)
            self._engine = None

    @property
    def engine(self) -> Engine:
        """The engine. See `Gallery.engine`."""
        engine = self._engine
        # After `adopt`, the engine may be the one of the earlier model.
        if engine is not None and (self.reload is None or engine.identity == self.config.identity):
            return engine
        if self.config.model_name is None:
            raise ModelNotInstalledError("This gallery is not bound to a model yet. Run `pgface init`.")
        load = self._loader(self.config.model_name)
        try:
            engine = load() if self._engines is None else self._engines.get(self.config.identity, load)
        except (ModelNotInstalledError, UnknownModelError) as error:
            name = self.config.model_name
            if comes_with_package(name) or (self._settings.models_dir / name).is_dir():
                raise  # packages are missing, and the message says which
            raise ModelNotInstalledError(
                f"The gallery's model {name} (weights with SHA-256 {self.config.weights_sha256}) is not on this "
                "machine. " + missing_model_advice(name, self._settings.models_dir)
            ) from error
        _require_same_model(self.config, engine)
        self._engine, self.reload = engine, load
        return engine

    def problem(self) -> str | None:
        """Return why the gallery's model cannot be used here, and what to do. None if it can, or is not chosen yet."""
        if self.config.model_name is None:
            return None
        try:
            _ = self.engine
        except (ModelError, ModelMismatchError) as error:
            return str(error)
        return None

    @property
    def execution_provider(self) -> str:
        """The device that inference runs on. The engine is loaded only if the settings do not determine it.

        Raises:
            ModelError, ModelMismatchError: as `engine`.

        """
        return self._provider_without_loading() or self.engine.execution_provider

    @property
    def runtimes(self) -> dict[str, str]:
        """What runs the detection and the embedding of faces. The engine is loaded as for `execution_provider`.

        Raises:
            ModelError, ModelMismatchError: as `engine`.

        """
        provider = self._provider_without_loading()
        if provider is None:
            return runtimes_of(self.engine)
        fixed = REGISTRY[name].execution_provider if (name := self.config.model_name) in REGISTRY else None
        return runtimes(fixed, fixed) if fixed else expected_runtimes(provider)

    def _provider_without_loading(self) -> str | None:
        name, weights = self.config.model_name, self.config.weights_sha256
        provider = self._settings.execution_provider.strip().lower().removesuffix("executionprovider")
        fixed = REGISTRY[name].execution_provider if name in REGISTRY else None
        known = fixed or ("CPUExecutionProvider" if provider == "cpu" else None)
        if self._engine is None and name and weights and known:
            with suppress(ModelError):  # loading the engine explains it better
                if is_installed(name, self._settings.models_dir, weights):
                    return known
        return None

    def current_config(self) -> GalleryConfig:
        """Return the gallery's configuration, at most 5 seconds old, or the last one if PostgreSQL cannot be reached.

        Raises:
            ModelMismatchError: the gallery was bound to another model in the meantime.

        """
        if time.monotonic() - self._read_at > _MAX_CONFIG_AGE:
            with suppress(DatabaseError):
                now = read_config(self._database)
                if self.config.model_name is not None and _is_other_model(now, self.config):
                    raise ModelMismatchError(
                        f"This gallery was bound to {_describe(now.identity)} while it was open. Open it again."
                    )
                self.config = now
            self._read_at = time.monotonic()
        return self.config

    def adopt(self) -> None:
        """Use the model that the gallery is bound to now. Its engine is loaded at the next use.

        Raises:
            ModelMismatchError: the engine was passed to `__init__`, and it has another model.

        """
        now = read_config(self._database)
        if _is_other_model(now, self.config) and self._engine is not None and self.reload is None:
            _require_same_model(now, self._engine)
        self.config = now
        self._read_at = time.monotonic()

    def bind(self, model: str | None) -> None:
        """Bind a new gallery to a model, or check that a bound gallery has this model.

        Raises:
            ModelError: the model cannot be loaded.
            ModelMismatchError: the gallery is bound to another model.

        """
        if self.config.model_name is not None and model is None:
            self._add_missing_anchors()
            return
        wanted = model or self._settings.model
        load = self._loader(wanted)
        engine = self._engine or load()
        if self._engine is None:
            if self.config.model_name is not None:
                _require_same_model(self.config, engine)
            from pgface.faces.models.install import keep_pack

            keep_pack(wanted, self._settings.models_dir, engine)
        if self.config.model_name is None:
            with self._database.transaction() as connection:
                values = asdict(engine.identity) | asdict(model_defaults(engine.identity.name))
                connection.execute(queries()["bind_gallery"], values)
            # Read it again, because another program may have bound the gallery first.
            self.config = read_config(self._database)
        self._add_missing_anchors()
        _require_same_model(self.config, engine)
        if self._engine is None:
            self._engine, self.reload = engine, load

    def _add_missing_anchors(self) -> None:
        """Give the gallery the published confidence scale of its model. Calibration replaces it later."""
        if self.config.anchors:
            return
        with self._database.transaction() as connection:
            connection.execute(queries()["lock_gallery_row"])
            # Read it again, because a calibration may have come first.
            config = read_config(connection)
            if not config.anchors:
                store_anchors(connection, anchors_of(model_defaults(config.model_name or "").fmr_thresholds))
        self.config = read_config(self._database)

    def _loader(self, model: str) -> Callable[[], Engine]:
        return _loader(self._settings, model)


def _loader(settings: Settings, model: str) -> Callable[[], Engine]:
    return partial(
        load_engine,
        model,
        models_dir=settings.models_dir,
        detector_size=settings.detector_size,
        execution_provider=settings.execution_provider,
    )


def _require_same_model(config: GalleryConfig, engine: Engine) -> None:
    if engine.identity != config.identity:
        raise ModelMismatchError(
            f"This gallery is bound to {_describe(config.identity)}, and this is {_describe(engine.identity)}. "
            "Embeddings of two models cannot be compared. Use the gallery's model, change it with `pgface reembed`, or "
            "make another gallery for this one (PGFACE_SCHEMA)."
        )


def _is_other_model(now: GalleryConfig, before: GalleryConfig) -> bool:
    return (now.identity, now.model_changes) != (before.identity, before.model_changes)


def _describe(model: ModelIdentity) -> str:
    alignment = f", alignment {model.alignment_size}" if model.alignment_size else ""
    return f"{model.name} ({model.dimension}-D{alignment}, weights {model.weights_sha256[:12]})"
