"""What an archive says of itself."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pgface.errors import ArchiveError
from pgface.faces.models.registry import ModelIdentity
from pgface.operations.backup.tables import NOT_KEPT

FORMAT: Final = "pgface-backup"
FORMAT_VERSION: Final = 1

Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GalleryFacts(_Strict):
    """Which gallery it was, and what its embeddings were made with."""

    id: UUID
    model_name: str | None
    dimension: int
    detector_size: int | None
    weights_sha256: str | None

    @property
    def identity(self) -> ModelIdentity:
        """The model of the embeddings."""
        return ModelIdentity(self.model_name or "", self.dimension, self.detector_size or 0, self.weights_sha256 or "")


def _kept(tables: dict[str, int]) -> dict[str, int]:
    """Without those that this version has no more."""
    return {table: rows for table, rows in tables.items() if table not in NOT_KEPT}


class PhotoFacts(_Strict):
    """The files of the photos' rows."""

    files: Count
    """In the archive; the checksums name each."""
    size: Count
    """Of all of them, in bytes."""
    missing: Count
    """Files that were not in the photos folder: on another machine, or lost. `missing-photos.txt` names each."""
    elsewhere: Count
    """Rows whose path is not one that pgface wrote; what it leads to is not in the archive."""


class VectorIndex(_Strict):
    """The index of the specification's name, where it is not the gallery's own."""

    method: Literal["hnsw", "ivfflat"]
    operators: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,63}$")]
    options: dict[Annotated[str, Field(pattern=r"^[a-z_]{1,63}$")], Annotated[int, Field(ge=0, lt=2**31)]]


class Manifest(_Strict):
    """The whole of it."""

    format: Literal["pgface-backup"]
    version: Literal[1]
    kind: Literal["gallery", "embeddings"]
    made_at: datetime
    pgface: str
    schema_version: Annotated[int, Field(ge=1)]
    postgresql: str
    pg_dump: str
    pgvector: str
    schema_name: str
    gallery: GalleryFacts
    tables: Annotated[dict[str, Count], AfterValidator(_kept)]
    """Rows of each of pgface's tables in the dump."""
    sequences: dict[str, Count]
    """The last number that was given, by `table.column`."""
    other_tables: tuple[str, ...]
    """Tables of the schema that are not pgface's; they are in the dump and `pgface restore` leaves them out."""
    vector_index: VectorIndex | None
    photos: PhotoFacts | None
    """None for embeddings alone."""


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ArchiveError: it is not one that this pgface knows.

    """
    try:
        found = _Versioned.model_validate_json(data)
    except ValidationError as error:
        raise ArchiveError("This archive's manifest cannot be read; it is damaged, or not one of pgface.") from error
    if found.version != FORMAT_VERSION:
        raise ArchiveError(
            f"This archive has format {found.version}, and this pgface knows {FORMAT_VERSION}; upgrade pgface."
        )
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False, include_url=False)[0]["loc"])
        raise ArchiveError(f"This archive's manifest cannot be used: {where[:80]} is not as it should be.") from error


class _Versioned(BaseModel):
    """The part that every version has."""

    format: Literal["pgface-backup"]
    version: int
