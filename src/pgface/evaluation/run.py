"""Evaluates, audits and calibrates: from a folder, a list of pairs or the gallery to the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from psycopg.rows import tuple_row

from pgface.database.pool import Database
from pgface.errors import EvaluationError
from pgface.evaluation.audit_gallery import Audit, audit
from pgface.evaluation.cache import EmbeddingCache
from pgface.evaluation.calibrate import Calibration, apply, follow, propose
from pgface.evaluation.embeddings import EmbeddedPhotos, OnProgress, embed_photos
from pgface.evaluation.evaluate import Evaluation, ThresholdsInUse, evaluate_pairs, evaluate_photos
from pgface.evaluation.groups import check_attributes, read_attributes
from pgface.evaluation.photos import LabelledPhoto, folder_photos, read_pairs
from pgface.evaluation.stored_embeddings import stored_embeddings
from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Engine
from pgface.faces.face_choice import EnrollmentChoice, WhichFace
from pgface.faces.models.registry import model_defaults
from pgface.gallery.config import read_config
from pgface.gallery.model import GalleryModel
from pgface.gallery.workers import PhotoWorkers
from pgface.settings import Settings
from pgface.thresholds import history


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A loaded model, and the thresholds in use."""

    engine: Engine
    reload: Callable[[], Engine] | None
    """Loads the model in another process."""
    used: ThresholdsInUse


def gallery_model(settings: Settings) -> EvaluatedModel:
    """Load the gallery's model, with the gallery's thresholds.

    Raises:
        SchemaMissingError: there is no gallery.
        ModelError, ModelMismatchError: its model cannot be used on this machine.

    """
    with Database.open(settings) as database:
        config = read_config(database)
        model = GalleryModel(settings, database)
        engine = model.engine
    used = ThresholdsInUse(engine.identity.name, config.verify_threshold, config.identify_threshold)
    return EvaluatedModel(engine, model.reload, used)


def named_model(settings: Settings, name: str) -> EvaluatedModel:
    """Load a model by its name or folder, with its published thresholds. No gallery is needed.

    Raises:
        ModelError: the model cannot be used on this machine.

    """
    load = partial(
        load_engine,
        name,
        models_dir=settings.models_dir,
        detector_size=settings.detector_size,
        execution_provider=settings.execution_provider,
    )
    engine = load()
    defaults = model_defaults(engine.identity.name)
    used = ThresholdsInUse(engine.identity.name, defaults.verify_threshold, defaults.identify_threshold)
    return EvaluatedModel(engine, load, used)


@dataclass(frozen=True, slots=True)
class PhotoEmbedding:
    """The model and the options that photos are embedded with."""

    settings: Settings
    model: EvaluatedModel
    face: WhichFace = "only"
    any_quality: bool = False
    """Whether to embed photos that enrollment refuses because of their quality."""
    remember: bool = True
    """Whether to cache embeddings in `embeddings_folder` for 30 days."""

    @property
    def choice(self) -> EnrollmentChoice:
        """The rule that chooses the face of a photo."""
        return EnrollmentChoice.from_settings(self.settings, self.face, any_quality=self.any_quality)

    def embed(self, photos: list[LabelledPhoto], on_progress: OnProgress | None) -> EmbeddedPhotos:
        """Embed photos. See `embed_photos`."""
        cache = None
        if self.remember:
            made_by = (version("pgface"), self.model.engine.identity, self.choice)
            cache = EmbeddingCache(embeddings_folder(self.settings), made_by)
        with self.workers() as workers:
            return embed_photos(
                photos, workers, max_bytes=self.settings.max_photo_bytes, cache=cache, on_progress=on_progress
            )

    def workers(self) -> PhotoWorkers:
        """Return workers that embed photos with this model and these options."""
        return PhotoWorkers(self.settings, self.model.engine, self.model.reload, self.choice)


def embeddings_folder(settings: Settings) -> Path:
    """Return the folder of the cache of evaluated photos."""
    return settings.data_dir / "evaluated"


def evaluate_folder(
    folder: Path,
    how: PhotoEmbedding,
    *,
    pairs: Path | None = None,
    attributes: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Evaluate a folder of people, or the pairs of a list.

    Args:
        folder: `folder/<person>/<photo>`. For a list of pairs, the base of its paths.
        how: the model and the options that photos are embedded with.
        pairs: a list of the only pairs to compare, see `read_pairs`.
        attributes: a table of groups, see `read_attributes`. Ignored for a list of pairs.
        on_progress: see `OnProgress`.

    Raises:
        EvaluationError: the folder, list or table cannot be used.
        StorageError: the cache is not writable.

    """
    if pairs is not None:
        listed = read_pairs(pairs, folder)
        return evaluate_pairs(str(pairs), listed, how.embed(list(listed.photos), on_progress), how.model.used)
    photos = folder_photos(folder)
    groups = None
    if attributes is not None:
        groups = read_attributes(attributes)
        check_attributes(attributes, groups, photos)
    return evaluate_photos(str(folder), how.embed(photos, on_progress), how.model.used, attributes=groups)


def evaluate_gallery(settings: Settings) -> Evaluation:
    """Evaluate the enrolled embeddings: compare each with every other, and search each among the others.

    Raises:
        EvaluationError: fewer than two people are enrolled, or no person has two embeddings.
        DatabaseError: PostgreSQL cannot be reached, or refuses access.

    """
    with Database.open(settings) as database:
        config = read_config(database)
        embedded = stored_embeddings(database, settings.photos_dir, config.id)
    used = ThresholdsInUse(config.model_name or "", config.verify_threshold, config.identify_threshold)
    return evaluate_photos(f"the gallery {settings.schema_name}", embedded, used)


def audit_gallery(settings: Settings) -> Audit:
    """Find the problems of the gallery, by its own thresholds.

    Raises:
        EvaluationError: no person is enrolled.
        DatabaseError: PostgreSQL cannot be reached, or refuses access.

    """
    with Database.open(settings) as database:
        config = read_config(database)
        stored = stored_embeddings(database, settings.photos_dir, config.id)
    return audit(
        stored,
        verify_threshold=config.verify_threshold,
        identify_threshold=config.identify_threshold,
        schema=settings.schema_name,
    )


def propose_calibration(
    settings: Settings,
    folder: Path | None,
    *,
    fmr: float | None,
    fpir: float | None,
    people: int | None = None,
    face: WhichFace = "only",
    remember: bool = True,
    on_progress: OnProgress | None = None,
) -> Calibration:
    """Find thresholds for target rates, without a change to the gallery.

    Args:
        settings: the settings of the gallery.
        folder: `folder/<person>/<photo>`. None for the people in the gallery.
        fmr: target of verification. None keeps its threshold.
        fpir: target of identification. None keeps its threshold.
        people: the number of people in a search. The default is the number of people who are enrolled or in the
            photos, whichever is larger.
        face: which face to use of a photo with several faces.
        remember: as in `PhotoEmbedding`.
        on_progress: see `OnProgress`.

    Raises:
        EvaluationError: a target is not between 0 and 1, or the folder or gallery is too small for it.
        DatabaseError: PostgreSQL cannot be reached, or refuses access.

    """
    for target in (fmr, fpir):
        if target is not None and not 0 < target < 1:
            raise EvaluationError(f"A target must be between 0 and 1, got {target:g}. Write 0.01 for one in a hundred.")
    with Database.open(settings) as database:
        config = read_config(database)
        enrolled = enrolled_people(database)
        embedded: EmbeddedPhotos
        if folder is None:
            embedded = stored_embeddings(database, settings.photos_dir, config.id)
    if folder is not None:
        how = PhotoEmbedding(settings, gallery_model(settings), face, remember=remember)
        embedded = how.embed(folder_photos(folder), on_progress)
    if people is None:  # a new gallery will probably have as many people as the photos show
        people = max(enrolled, len(embedded.people))
    source = "the gallery" if folder is None else _printable(folder.resolve().name)
    return propose(source, embedded, config, fmr=fmr, fpir=fpir, people_enrolled=people)


def _printable(name: str) -> str:
    """Remove what PostgreSQL does not accept from the name of a file: zero bytes, and bytes that are not text."""
    return name.encode("utf-8", "replace").decode().replace("\0", "")


def propose_to_follow(settings: Settings) -> Calibration | None:
    """Adapt the threshold of identification to the number of people, without a change to the gallery.

    Returns:
        The change, or None if the threshold in use fits.

    Raises:
        DatabaseError: PostgreSQL cannot be reached, or refuses access.

    """
    with Database.open(settings) as database:
        return follow(read_config(database), history(database), enrolled_people(database))


def apply_calibration(settings: Settings, calibration: Calibration) -> None:
    """Set the thresholds. See `pgface.evaluation.calibrate.apply`."""
    with Database.open(settings) as database:
        apply(database, calibration)


def enrolled_people(database: Database) -> int:
    """Count the users with an embedding."""
    ((count,),) = database.read("count_enrolled_people", row_factory=tuple_row)
    return int(count)
