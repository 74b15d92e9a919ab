"""The manifest of an archive, which describes its contents and where they come from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from pgface.errors import ArchiveError
from pgface.faces.models.registry import ModelIdentity
from pgface.operations.backup.tables import NOT_KEPT

Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GalleryFacts(_Strict):
    """The archived gallery and the model of its embeddings."""

    id: UUID
    model_name: str | None
    dimension: int
    alignment_size: int | None = Field(validation_alias=AliasChoices("alignment_size", "detector_size"))
    """Archives from before the close look call it `detector_size`."""
    weights_sha256: str | None

    @property
    def identity(self) -> ModelIdentity:
        """The model of the embeddings."""
        return ModelIdentity(self.model_name or "", self.dimension, self.alignment_size or 0, self.weights_sha256 or "")


def _kept(tables: dict[str, int]) -> dict[str, int]:
    """Leave out the tables that this version no longer has."""
    return {table: rows for table, rows in tables.items() if table not in NOT_KEPT}


class PhotoFacts(_Strict):
    """The numbers of photo files."""

    files: Count
    """The files in the archive. The checksums name each."""
    size: Count
    """The total size of the files, in bytes."""
    missing: Count
    """The files that were not in the photos folder. `missing-photos.txt` names each."""
    elsewhere: Count
    """The rows whose path pgface did not write. Their files are not in the archive."""


class VectorIndex(_Strict):
    """The definition of `idx_embeddings_vector`, if it is not the one that pgface creates."""

    method: Literal["hnsw", "ivfflat"]
    operators: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,63}$")]
    options: dict[Annotated[str, Field(pattern=r"^[a-z_]{1,63}$")], Annotated[int, Field(ge=0, lt=2**31)]]


class Manifest(_Strict):
    """The manifest of one archive."""

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
    """The number of rows in the dump, for each of pgface's tables."""
    sequences: dict[str, Count]
    """The last number of each sequence, by `table.column`."""
    other_tables: tuple[str, ...]
    """Tables of the schema that are not pgface's. They are in the dump, but `pgface restore` skips them."""
    vector_index: VectorIndex | None
    photos: PhotoFacts | None
    """None for an archive of embeddings only."""


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ArchiveError: the manifest is damaged, or this pgface does not know its format.

    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]  # in the order of the fields, so `format` and `version` come first
        where, given = ".".join(map(str, first["loc"])), first["input"]
        if where == "version" and isinstance(given, int):
            raise ArchiveError(f"This archive has format {given}, but this pgface knows 1. Upgrade pgface.") from error
        if where in ("", "format", "version"):
            raise ArchiveError(
                "This archive's manifest cannot be read. It is damaged, or not one of pgface."
            ) from error
        raise ArchiveError(f"This archive's manifest cannot be used: {where[:80]} is not valid.") from error
