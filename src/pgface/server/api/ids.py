"""Ids in paths."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

_MOST = 2**31 - 1

UserId = Annotated[int, Path(ge=1, le=_MOST, description="Id of the user.")]
PhotoId = Annotated[int, Path(ge=1, le=_MOST, description="Id of the photo.")]
LoginId = Annotated[int, Path(ge=1, le=_MOST, description="Id of the login.")]
KeyId = Annotated[int, Path(ge=1, le=_MOST, description="Id of the key.")]
