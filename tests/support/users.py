"""Another user of the machine, whose files this process may not use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def as_user(user: int, given: Path, owner: int) -> Iterator[None]:
    """Be a user, by its number, after a file or folder was given to another one. Only root can; others skip the test.

    Import what is needed before: the new user may not read this environment.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can be another user")
    os.chown(given, owner, owner)
    # Folders of tests are their user's alone.
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
