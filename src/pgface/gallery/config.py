"""The configuration of a gallery: its model, its thresholds and its confidence scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import kwargs_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.faces.models.registry import ModelIdentity
from pgface.thresholds import Anchor, confidence


@dataclass(frozen=True, slots=True)
class GalleryConfig:
    """The configuration as it was read from PostgreSQL."""

    id: UUID
    model_name: str | None
    dimension: int
    alignment_size: int | None
    weights_sha256: str | None
    verify_threshold: float
    identify_threshold: float
    model_changes: int = 0
    """How many times the gallery has got another model."""
    anchors: tuple[Anchor, ...] = ()
    """The confidence scale, in ascending order of similarity. Empty until the gallery is bound to a model."""
    photo_store: str = "folder"
    """Where new crops go: `folder`, `postgres`, or the URL of an S3-compatible store."""
    former_photo_stores: tuple[str, ...] = ()
    """The URLs of other S3-compatible stores that may have crops of this gallery."""

    @property
    def identity(self) -> ModelIdentity:
        """The model that the gallery is bound to."""
        return ModelIdentity(self.model_name or "", self.dimension, self.alignment_size or 0, self.weights_sha256 or "")

    def confidence(self, similarity: float) -> float | None:
        """Return the confidence of a similarity, 0 to 100. None for NaN and for a gallery without a model."""
        return confidence(similarity, self.anchors) if self.anchors and not math.isnan(similarity) else None


def read_config(source: Database | psycopg.Connection) -> GalleryConfig:
    """Read the gallery's configuration."""
    if isinstance(source, Database):
        (config,) = source.read("select_gallery", row_factory=kwargs_row(_config))
        return config
    with source.cursor(row_factory=kwargs_row(_config)) as cursor:
        return cursor.execute(queries()["select_gallery"]).fetchall()[0]


def _config(*, anchors: list[dict[str, Any]], former_photo_stores: list[str], **columns: Any) -> GalleryConfig:
    scale, former = tuple(Anchor(**anchor) for anchor in anchors), tuple(former_photo_stores)
    return GalleryConfig(**columns, anchors=scale, former_photo_stores=former)


def store_anchors(connection: psycopg.Connection, anchors: Sequence[Anchor]) -> None:
    """Replace the confidence scale."""
    connection.execute(queries()["delete_confidence_anchors"])
    values = {
        "similarities": [anchor.similarity for anchor in anchors],
        "confidences": [anchor.confidence for anchor in anchors],
        "fmrs": [anchor.fmr for anchor in anchors],
        "extrapolated": [anchor.extrapolated for anchor in anchors],
    }
    connection.execute(queries()["insert_confidence_anchors"], values)
