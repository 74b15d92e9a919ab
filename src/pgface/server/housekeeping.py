"""Regular deletion of expired rows, so that requests without an account cannot make tables grow without limit.

It also deletes crops of deleted photos that could not be deleted before, and returns freed memory to the system.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

from pgface.accounts import prune_audit, prune_logins
from pgface.accounts.attempts import prune_attempts
from pgface.accounts.challenges import prune_challenges
from pgface.accounts.devices import prune_devices
from pgface.accounts.idempotency import delete_old_requests
from pgface.accounts.liveness_sessions import prune_liveness_sessions
from pgface.database.pool import Database
from pgface.errors import PgfaceError
from pgface.gallery import Gallery
from pgface.gallery.events import prune_events
from pgface.jobs.jobs import prune_jobs
from pgface.server.service import Service
from pgface.system.resources import return_freed_memory

_PAUSE: Final = 3600.0
"""Seconds between two deletions. The code that adds rows limits how many it adds within an hour."""
_MIN_AUDIT_DAYS: Final = 30
"""The policy of the service's role in PostgreSQL has the same limit."""
_log = logging.getLogger(__name__)


async def run_housekeeping(service: Service) -> None:
    """Delete expired rows and return freed memory now, and then every hour."""
    while True:
        await service.run_long_db(clean_up, service)
        await service.run_long_db(return_freed_memory)
        await asyncio.sleep(_PAUSE)


def clean_up(service: Service) -> None:
    """Delete expired rows in every gallery."""
    for gallery in _galleries(service):
        if _only_reads(gallery.database):
            continue
        for delete in _deletions(service):
            try:
                delete(gallery.database)
            except PgfaceError as error:  # the next run tries again
                _log.warning("Expired rows could not be deleted. %s", error)
        try:
            gallery.clean_photo_store()
        except PgfaceError as error:
            _log.warning("Crops of deleted photos could not be deleted. %s", error)


def _only_reads(database: Database) -> bool:
    try:
        return database.is_replica()
    except PgfaceError:  # each deletion says why
        return False


def _galleries(service: Service) -> Iterator[Gallery]:
    """Open the default gallery and the named ones, one after another."""
    yield service.gallery
    try:
        names = [info.name for info in service.galleries.list_without_sizes()]
    except PgfaceError as error:
        _log.warning("The galleries could not be listed. %s", error)
        return
    for name in names:
        try:
            gallery = service.galleries[name]
        except PgfaceError as error:  # it was deleted in the meantime, or its server cannot be reached
            _log.warning("Expired rows of a gallery could not be deleted. %s", error)
            continue
        yield gallery


def _deletions(service: Service) -> Iterator[Callable[[Database], object]]:
    """Return what deletes expired logins, attempts, devices, challenges and responses, and old rows of the logs."""
    yield from (prune_logins, prune_attempts, prune_devices, prune_challenges, prune_liveness_sessions)
    yield delete_old_requests
    yield lambda database: prune_jobs(database, service.settings.job_days)
    if audit_days := service.settings.audit_days:
        yield lambda database: prune_audit(database, max(audit_days, _MIN_AUDIT_DAYS))
    if event_days := service.settings.event_days:
        yield lambda database: prune_events(database, event_days)
