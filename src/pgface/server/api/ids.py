"""The types of ids in paths."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

MAX_ID = 2**31 - 1
"""The largest `integer` of PostgreSQL."""

UserId = Annotated[int, Path(ge=1, le=MAX_ID, description="The user's id.")]
PhotoId = Annotated[int, Path(ge=1, le=MAX_ID, description="The photo's id.")]
LoginId = Annotated[int, Path(ge=1, le=MAX_ID, description="The login's id.")]
KeyId = Annotated[int, Path(ge=1, le=MAX_ID, description="The API key's id.")]
