"""Deleting a folder that another thread or process may still use."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Final

_ATTEMPTS: Final = 20


def delete_folder(folder: Path) -> None:
    """Delete a folder, also if files are added or deleted in it meanwhile. The folder need not exist.

    Raises:
        OSError: a file cannot be deleted.

    """
    for _ in range(_ATTEMPTS):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:  # the folder, or a file that was deleted meanwhile
            if not folder.exists():
                return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
    shutil.rmtree(folder)
