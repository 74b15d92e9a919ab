"""The state of a gallery and of its server."""

from __future__ import annotations

from psycopg.rows import dict_row, scalar_row, tuple_row

from pgface.database.pool import Database
from pgface.database.replica_lag import any_lag
from pgface.errors import DatabaseError, ModelError, ModelMismatchError
from pgface.gallery.config import read_config
from pgface.gallery.model import GalleryModel
from pgface.results import Status
from pgface.search.state import read_search_state
from pgface.search.vector_index.advice import INDEX_MISSING, SEARCH_DUE
from pgface.settings import Settings
from pgface.thresholds import NOT_CALIBRATED, advise, history, was_calibrated


def read_status(database: Database, settings: Settings, model: GalleryModel) -> Status:
    """Read the state of a gallery, also on a replica that is far behind.

    If the model cannot be used on this machine, `model_problem` says why.
    """
    with any_lag():
        return _read_status(database, settings, model)


def _read_status(database: Database, settings: Settings, model: GalleryModel) -> Status:
    lag = database.replica_lag()
    (counts,) = database.read("status", row_factory=dict_row)
    index = database.read("vector_index", row_factory=dict_row)
    search = read_search_state(database)
    config = model.current_config()
    people = counts.pop("people_enrolled")
    advice = advise(config.identity, config.identify_threshold, history(database), people)
    provider = runtimes = problem = None
    try:
        provider, runtimes = model.execution_provider, model.runtimes
    except (ModelError, ModelMismatchError) as error:
        problem = str(error)
    return Status(
        model=config.model_name,
        alignment_size=config.alignment_size or None,  # dlib has none
        weights_sha256=config.weights_sha256,
        verify_threshold=config.verify_threshold,
        identify_threshold=config.identify_threshold,
        advised_identify_threshold=advice.threshold,
        calibration_due=advice.due,
        execution_provider=provider,
        runtimes=runtimes,
        model_problem=problem,
        embedded=settings.database_url is None,
        schema=settings.schema_name,
        search=search.method,
        search_agreement=search.agreement,
        search_stale_users=search.stale_users if search.method != "exact" else 0,
        search_fitting=search.fitting,
        search_due=search.due,
        is_replica=lag is not None,
        replica_lag_bytes=None if lag is None else lag.bytes,
        replica_lag_seconds=None if lag is None else lag.seconds,
        index=index[0]["method"] if index and index[0]["valid"] else None,
        photo_store=read_config(database).photo_store,
        photos_to_delete=_photos_to_delete(database),
        data_dir=str(settings.data_dir),
        **counts | database.read("server_versions", row_factory=dict_row)[0],
    )


def _photos_to_delete(database: Database) -> int | None:
    try:
        ((number, _),) = database.read("count_deleted_photo_files", row_factory=tuple_row)
    except DatabaseError:  # the reader's role
        return None
    return int(number)


def read_advice(database: Database, status: Status) -> list[tuple[str, str]]:
    """Return advice for a gallery in this status: sentences and commands, as `pgface doctor` gives them.

    It covers the checks that take no time. For a model that cannot be used and for a threshold that is too low, see
    `Status.model_problem` and `Status.calibration_due`.
    """
    advice = []
    if not status.calibration_due and not was_calibrated(history(database), status.model, status.weights_sha256):
        advice.append(NOT_CALIBRATED)
    if status.search_fitting or status.is_replica:
        return advice
    if status.search_due:
        advice.append((SEARCH_DUE.sentence, SEARCH_DUE.command))
    (index_wanted,) = database.read("vector_index_wanted", row_factory=scalar_row)
    # With its own index, the search does not need this one, so pgface drops it.
    if index_wanted and status.search == "exact" and status.index is None:
        advice.append((INDEX_MISSING.sentence, INDEX_MISSING.command))
    return advice
