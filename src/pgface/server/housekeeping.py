"""What the service removes now and then, so that no table grows by what strangers ask for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from pgface.accounts import prune_audit, prune_logins
from pgface.accounts.attempts import prune_attempts
from pgface.accounts.challenges import prune_challenges
from pgface.accounts.devices import prune_devices
from pgface.database.pool import Database
from pgface.errors import PgfaceError
from pgface.server.idempotency import forget_old_requests
from pgface.server.service import Service

_PAUSE: Final = 3600.0
"""Seconds between two rounds; what comes within an hour is bounded where it is written."""
_FEWEST_AUDIT_DAYS: Final = 30
"""As PostgreSQL has it for the service's role."""
_log = logging.getLogger(__name__)


async def run_housekeeping(service: Service) -> None:
    """Remove what has ended, at once and then every hour."""
    while True:
        await service.run_db(clean_up, service)
        await asyncio.sleep(_PAUSE)


def clean_up(service: Service) -> None:
    """Remove what has ended: logins, attempts, devices, kept answers, and old rows of the audit log."""
    database = service.gallery.database
    removals: list[Callable[[Database], object]] = [
        prune_logins,
        prune_attempts,
        prune_devices,
        prune_challenges,
        forget_old_requests,
    ]
    if days := service.settings.audit_days:
        removals.append(lambda database: prune_audit(database, max(days, _FEWEST_AUDIT_DAYS)))
    for remove in removals:
        try:
            remove(database)
        except PgfaceError as error:  # in an hour, then
            _log.warning("What has ended could not be removed. %s", error)
