"""Runs code as another user of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def as_user(user: int, given: Path, owner: int) -> Iterator[None]:
    """Become the user with this number, after giving a file or folder to another owner. Only root can do this.

    Import modules before, because the new user may not be able to read them.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can be another user")
    os.chown(given, owner, owner)
    # The folders of tests are private.
    above = [folder for folder in given.parents if not folder.stat().st_mode & 0o001]
    for folder in above:
        folder.chmod(folder.stat().st_mode | 0o011)
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        for folder in above:
            folder.chmod(folder.stat().st_mode & ~0o011)
