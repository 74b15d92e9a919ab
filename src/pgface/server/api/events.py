"""The operation that reads events, also with a long poll."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request

from pgface.gallery.events import EventKind, EventPage, last_event_cursor, read_events
from pgface.server.auth import Caller, require_scope
from pgface.server.bodies import BodyRoute
from pgface.server.openapi import problems
from pgface.server.schemas.events import EventPageResponse
from pgface.server.service import ServiceDep, requester_of

_MAX_WAIT = 30
"""Seconds. A service that stops finishes waiting requests first."""

router = APIRouter(route_class=BodyRoute, tags=["events"])


@router.get("/events", summary="Read the events", responses=problems(400, 410))
async def list_events(
    request: Request,
    service: ServiceDep,
    caller: Annotated[Caller, require_scope("events")],
    after: Annotated[
        str | None,
        Query(
            max_length=100,
            description="The `next_cursor` of the previous response. By default, the oldest events. `end` returns no "
            "event, and the cursor of the newest one.",
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="The maximum of events.")] = 100,
    kind: Annotated[
        list[EventKind] | None, Query(description="Only events of this kind. You can send several.")
    ] = None,
    wait: Annotated[float, Query(ge=0, le=_MAX_WAIT, description="Seconds to wait for an event if none follows.")] = 0,
) -> EventPageResponse:
    """Returns events in order. A reader that keeps `next_cursor` gets every event exactly once."""
    database = service.gallery.database

    async def read(after: str | None) -> EventPage:
        return await service.run_db(partial(read_events, database, after=after, limit=limit, kinds=kind or None))

    async def newest() -> str:
        return await service.run_db(last_event_cursor, database)

    if wait:
        page = await service.event_watcher.wait(
            read,
            newest,
            gallery=database,
            after=after,
            seconds=wait,
            caller=caller.name,
            disconnected=requester_of(request).disconnected(),
        )
    else:
        page = await read(after)
    return EventPageResponse.of(page, service)
