"""A request of one operation, and what the operations need to answer it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Final, ParamSpec, TypeVar

import psycopg

from pgface.accounts.audit_log import Event, record
from pgface.accounts.client import Client
from pgface.galleries import Within
from pgface.gallery import Gallery
from pgface.gallery.indexed_faces import OnChange
from pgface.server.compat.rekognition.request_tokens import answer_once
from pgface.server.service import Service
from pgface.thresholds import similarity_at

P = ParamSpec("P")
R = TypeVar("R")
Answer = dict[str, Any]

ACCOUNT: Final = "000000000000"
"""The account in ARNs. pgface has none."""
NEW_MODEL_VERSION: Final = "7.0"
"""The version of a new gallery's model, which was never changed."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose signature and members are valid."""

    service: Service
    client: Client
    region: str
    operation: str
    fields: dict[str, Any] = field(repr=False)

    async def with_model(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work that needs the model, in the work queue."""
        return await self.service.inference.run(work, *args, **kwargs)

    async def with_database(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work that only queries PostgreSQL."""
        return await self.service.run_db(work, *args, **kwargs)

    def recording(self, event: Event) -> OnChange:
        """Return a function that adds a row to the audit log of a collection, in the transaction of the event."""
        # There the key is one of another gallery.
        client = replace(self.client, actor=f"operator {self.client.actor}")

        def record_event(connection: psycopg.Connection, user_id: int) -> None:
            record(connection, event, client, user_id=user_id)

        return record_event

    def recording_gallery(self, event: Event) -> Within:
        """Return a function that adds a row to the audit log of the default gallery."""

        def record_event(connection: psycopg.Connection) -> None:
            record(connection, event, self.client)

        return record_event

    def once(
        self,
        transaction: Callable[[], AbstractContextManager[psycopg.Connection]],
        work: Callable[[psycopg.Connection], Answer],
    ) -> Answer:
        """Do work in a transaction, or return the answer to an earlier request with the same ClientRequestToken.

        The transaction also stores the answer. So a client that repeats a request after a crash gets the answer of the
        first one, or the request is done now.
        """
        with transaction() as connection:
            token = self.fields.get("ClientRequestToken")
            if token is None:
                return work(connection)
            content = repr(sorted((name, value) for name, value in self.fields.items() if name != "ClientRequestToken"))
            return answer_once(
                connection,
                work,
                caller=f"operator {self.client.actor}",  # as in the log. The key is one of another gallery
                token=f"{self.operation} {token}",
                content=f"{self.operation} {content}",
            )

    def arn(self, collection: str, prefix: str = "arn:aws") -> str:
        """Return the ARN of a collection."""
        return f"{prefix}:rekognition:{self.region}:{ACCOUNT}:collection/{collection}"


def model_version(gallery: Gallery) -> str:
    """Return the version of the gallery's model, in the form of AWS. It changes when the gallery gets another model."""
    return f"7.{gallery.config.model_changes}"


def percent(gallery: Gallery, similarity: float) -> float:
    """Return the confidence of a similarity, 0 to 100."""
    found = gallery.confidence(similarity)
    return 0.0 if found is None else round(found, 4)


def threshold(gallery: Gallery, wanted: float) -> float:
    """Return the lowest similarity with a confidence."""
    return similarity_at(wanted, gallery.config.anchors)
