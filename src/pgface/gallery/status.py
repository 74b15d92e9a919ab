"""The state of a gallery and of its server."""

from __future__ import annotations

from psycopg.rows import dict_row

from pgface.database.pool import Database
from pgface.errors import ModelError, ModelMismatchError
from pgface.gallery.model import GalleryModel
from pgface.results import Status
from pgface.search.state import read_search_state
from pgface.settings import Settings
from pgface.thresholds import advise, history


def read_status(database: Database, settings: Settings, model: GalleryModel) -> Status:
    """Read the state of a gallery. If its model cannot be used on this machine, `model_problem` says why."""
    (counts,) = database.read("status", row_factory=dict_row)
    index = database.read("vector_index", row_factory=dict_row)
    search = read_search_state(database)
    config = model.current_config()
    people = counts.pop("people_enrolled")
    advice = advise(config.identity, config.identify_threshold, history(database), people)
    provider = problem = None
    try:
        provider = model.execution_provider
    except (ModelError, ModelMismatchError) as error:
        problem = str(error)
    return Status(
        model=config.model_name,
        detector_size=config.detector_size or None,  # dlib's detector has no size
        weights_sha256=config.weights_sha256,
        verify_threshold=config.verify_threshold,
        identify_threshold=config.identify_threshold,
        advised_identify_threshold=advice.threshold,
        calibration_due=advice.due,
        execution_provider=provider,
        model_problem=problem,
        embedded=settings.database_url is None,
        schema=settings.schema_name,
        search=search.method,
        search_agreement=search.agreement,
        search_stale_users=search.stale_users if search.method != "exact" else 0,
        search_fitting=search.fitting,
        search_due=search.due,
        index=index[0]["method"] if index and index[0]["valid"] else None,
        data_dir=str(settings.data_dir),
        **counts | database.read("server_versions", row_factory=dict_row)[0],
    )
