"""From a folder, a list of pairs or the gallery to an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from psycopg.rows import tuple_row

from pgface.database.pool import Database
from pgface.evaluation.audit import Audit, audit
from pgface.evaluation.cache import EmbeddingCache
from pgface.evaluation.calibrate import Calibration, apply, check_targets, follow, propose
from pgface.evaluation.embeddings import EmbeddedPhotos, OnProgress, embed_photos
from pgface.evaluation.evaluate import Evaluation, InUse, evaluate_pairs, evaluate_photos
from pgface.evaluation.groups import check_attributes, read_attributes
from pgface.evaluation.photos import LabelledPhoto, folder_photos, read_pairs
from pgface.evaluation.stored_embeddings import stored_embeddings
from pgface.faces import load_engine, model_defaults
from pgface.faces.choice import EnrollmentChoice, WhichFace
from pgface.faces.engine import Engine
from pgface.gallery.config import read_config
from pgface.gallery.model import GalleryModel
from pgface.gallery.workers import PhotoWorkers
from pgface.settings import Settings
from pgface.thresholds import history


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A model that is ready, and the thresholds that are used with it."""

    engine: Engine
    reload: Callable[[], Engine] | None
    """Loads it again in another process."""
    used: InUse


def gallery_model(settings: Settings) -> EvaluatedModel:
    """The gallery's model, with the gallery's thresholds.

    Raises:
        SchemaMissingError: there is no gallery.
        ModelError, ModelMismatchError: its model cannot be used here.

    """
    with Database.open(settings) as database:
        config = read_config(database)
        model = GalleryModel(settings, database)
        engine = model.engine
    used = InUse(engine.identity.name, config.verify_threshold, config.identify_threshold)
    return EvaluatedModel(engine, model.reload, used)


def named_model(settings: Settings, name: str) -> EvaluatedModel:
    """A model by its name or folder, with its published thresholds; no gallery is needed.

    Raises:
        ModelError: it cannot be used here.

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
    used = InUse(engine.identity.name, defaults.verify_threshold, defaults.identify_threshold)
    return EvaluatedModel(engine, load, used)


@dataclass(frozen=True, slots=True)
class PhotoEmbedding:
    """How photos are embedded: by which model, which of their faces, and whether that is remembered."""

    settings: Settings
    model: EvaluatedModel
    face: WhichFace = "only"
    any_quality: bool = False
    """Whether photos are embedded that enrollment refuses for their quality."""
    remember: bool = True
    """In `embeddings_folder`, for 30 days."""

    @property
    def choice(self) -> EnrollmentChoice:
        """Which face of a photo is embedded."""
        return EnrollmentChoice.from_settings(self.settings, self.face, any_quality=self.any_quality)

    def embed(self, photos: list[LabelledPhoto], on_progress: OnProgress | None) -> EmbeddedPhotos:
        """Embed photos; as `embed_photos`."""
        cache = None
        if self.remember:
            made_by = (
                version("pgface"),
                self.model.engine.identity,
                self.choice,
            )
            cache = EmbeddingCache(embeddings_folder(self.settings), made_by)
        with self.workers() as workers:
            return embed_photos(
                photos, workers, max_bytes=self.settings.max_photo_bytes, cache=cache, on_progress=on_progress
            )

    def workers(self) -> PhotoWorkers:
        """Workers that embed photos in this way."""
        return PhotoWorkers(self.settings, self.model.engine, self.model.reload, self.choice)


def embeddings_folder(settings: Settings) -> Path:
    """Where embeddings of evaluated photos are remembered."""
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
        folder: `folder/<person>/<photo>`; of a list of pairs, where its paths begin.
        how: how photos are embedded.
        pairs: compare only these; see `read_pairs`.
        attributes: groups of people or photos; see `read_attributes`. Not with a list of pairs.
        on_progress: see `OnProgress`.

    Raises:
        EvaluationError: folder, list or table cannot be used.
        StorageError: what is remembered cannot be written.

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
    """Evaluate what is enrolled: every embedding beside every other, and each searched among the others.

    Raises:
        EvaluationError: fewer than two people are enrolled, or nobody has two embeddings.
        DatabaseError: PostgreSQL could not be reached, or refused.

    """
    with Database.open(settings) as database:
        config = read_config(database)
        embedded = stored_embeddings(database, settings.photos_dir, config.id)
    used = InUse(config.model_name or "", config.verify_threshold, config.identify_threshold)
    return evaluate_photos(f"the gallery {settings.schema_name}", embedded, used)


def audit_gallery(settings: Settings) -> Audit:
    """Look through the gallery, by its own thresholds.

    Raises:
        EvaluationError: nobody is enrolled.
        DatabaseError: PostgreSQL could not be reached, or refused.

    """
    with Database.open(settings) as database:
        config = read_config(database)
        stored = stored_embeddings(database, settings.photos_dir, config.id)
    return audit(stored, verify_threshold=config.verify_threshold, identify_threshold=config.identify_threshold)


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
    """Find thresholds for target rates; nothing is changed.

    Args:
        settings: where the gallery is.
        folder: `folder/<person>/<photo>`; None for what is enrolled in the gallery.
        fmr: target of verification; None leaves its threshold as it is.
        fpir: target of identification; None leaves its threshold as it is.
        people: whom a search is among; as many as are enrolled if not given, or as the photos show if those are more.
        face: which face of a photo with several is meant.
        remember: as of `PhotoEmbedding`.
        on_progress: see `OnProgress`.

    Raises:
        EvaluationError: folder or gallery do not tell of these targets.
        DatabaseError: PostgreSQL could not be reached, or refused.

    """
    check_targets(fmr, fpir)  # before photos are embedded for minutes
    with Database.open(settings) as database:
        config = read_config(database)
        enrolled = enrolled_people(database)
        embedded: EmbeddedPhotos
        if folder is None:
            embedded = stored_embeddings(database, settings.photos_dir, config.id)
    if folder is not None:
        how = PhotoEmbedding(settings, gallery_model(settings), face, remember=remember)
        embedded = how.embed(folder_photos(folder), on_progress)
    if people is None:  # of a gallery that is still to be filled, as many as the photos show are expected
        people = max(enrolled, len(embedded.people))
    source = "the gallery" if folder is None else _printable(folder.resolve().name)
    return propose(source, embedded, config, fmr=fmr, fpir=fpir, people_enrolled=people)


def _printable(name: str) -> str:
    """A file's name as PostgreSQL takes it, which knows neither zero bytes nor what is no text."""
    return name.encode("utf-8", "replace").decode().replace("\0", "")


def propose_to_follow(settings: Settings) -> Calibration | None:
    """Let the threshold of identification follow the number of people; nothing is changed.

    None where the threshold in use fits.

    Raises:
        DatabaseError: PostgreSQL could not be reached, or refused.

    """
    with Database.open(settings) as database:
        return follow(read_config(database), history(database), enrolled_people(database))


def apply_calibration(settings: Settings, calibration: Calibration) -> None:
    """Set the thresholds; as `calibration.apply`."""
    with Database.open(settings) as database:
        apply(database, calibration)


def enrolled_people(database: Database) -> int:
    """How many users have an embedding."""
    ((count,),) = database.read("count_enrolled_people", row_factory=tuple_row)
    return int(count)
