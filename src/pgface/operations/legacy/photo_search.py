"""Which file below a folder is which old photo's; a photo that could have another person's file gets none."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from pgface.operations.legacy.installation import OldPhoto


@dataclass(frozen=True, slots=True)
class FoundPhotos:
    """What was found below a folder."""

    files: dict[int, Path]
    """By the photos' old ids."""
    missing: dict[int, str]
    """What is to be said of the others, by their old ids."""


@dataclass(frozen=True, slots=True)
class _Match:
    """A file that ends as an old path does."""

    file: Path
    shared: str
    """How the two end alike; empty where the file is at the whole of the old path."""
    inode: tuple[int, int]
    several: bool
    """Whether another file ends like this, too."""


def find_photos(folder: Path, photos: Iterable[OldPhoto]) -> FoundPhotos:
    """Find the files of photos below a folder; never outside, wherever a path or link may lead.

    A photo's file is the one at its old path or, because the folder may be another by now, the one that ends as the
    path does, as far as possible. Of two paths that end like this neither has the file, and no file is given to two.

    Args:
        folder: what holds the old files.
        photos: all of the old installation's, because one's file may be another's.

    """
    by_path: dict[str, list[OldPhoto]] = defaultdict(list)
    search = _Search(folder)
    for photo in photos:
        by_path[search.old_path(photo)].append(photo)
    matches = {path: match for path in by_path if (match := search.match(path)) is not None}
    refused = _refused(by_path, matches)
    found = FoundPhotos({}, {})
    for path, same in by_path.items():
        for photo in same:
            if path in matches and path not in refused:
                found.files[photo.id] = matches[path].file
            else:
                why = f" ({refused[path]})" if path in refused else ""
                found.missing[photo.id] = f"photos {photo.id}: {photo.filepath}{why}"
    return found


class _Search:
    def __init__(self, folder: Path) -> None:
        self._root = folder.resolve()
        self._names = {folder.absolute().name, self._root.name} - {"", os.pardir}

    def old_path(self, photo: OldPhoto) -> str:
        """A photo's path, with `/` between its names; where the old one is that of a folder, with the file's name."""
        text = photo.filepath + (photo.filename if photo.filepath.endswith(("/", "\\")) else "")
        # The old application may have run on Windows; elsewhere a file may have such a name.
        windows = "\\" in text and self._there(text) is None
        return PurePosixPath(PureWindowsPath(text).as_posix() if windows else text).as_posix()

    def match(self, path: str) -> _Match | None:
        """The file at a path or, failing that, the one that ends like it as far as possible."""
        if (whole := self._there(path)) is not None:
            return _match([whole], "")
        return next((_match(files, shared) for shared in _ends(path) if (files := self._ending(shared))), None)

    def _ending(self, shared: str) -> list[Path]:
        # The folder's own name counts: below `uploads`, `a.jpg` is the file of `/srv/uploads/a.jpg`.
        first, _, rest = shared.partition("/")
        tries = (shared, rest) if first in self._names and rest else (shared,)
        return [file for names in tries if (file := self._there(names)) is not None]

    def _there(self, path: str) -> Path | None:
        """The file at a path, which may be absolute, if it is below the folder."""
        try:
            if not (named := self._root / path).is_file():  # most ends are nothing, and to resolve them takes long
                return None
            file = named.resolve()
            return file if file.is_relative_to(self._root) else None
        except (OSError, ValueError):  # too long, or closed to us
            return None


def _match(files: list[Path], shared: str) -> _Match:
    found = files[0].stat()
    return _Match(files[0], shared, (found.st_dev, found.st_ino), len(files) > 1)


def _ends(path: str) -> Iterator[str]:
    """The ends of a path, the longest first; `..` and what is before it is in none."""
    names = path.strip("/").split("/")
    if os.pardir in names:
        names = names[len(names) - names[::-1].index(os.pardir) :]
    return ("/".join(names[start:]) for start in range(len(names)))


def _refused(paths: Iterable[str], matches: dict[str, _Match]) -> dict[str, str]:
    """Why some paths do not have the file that ends like them."""
    wanted = {match.shared for match in matches.values() if match.shared}
    alike = Counter(end for path in paths for end in _ends(path) if end in wanted)
    refused: dict[str, str] = {}
    for path, match in matches.items():
        if match.shared and alike[match.shared] > 1:
            refused[path] = f"a file {match.shared} is there, and {alike[match.shared]:,} old paths end so"
        elif match.several:
            refused[path] = f"two files end with {match.shared}"
    left = {path: match for path, match in matches.items() if path not in refused}
    takers = Counter(match.inode for match in left.values())
    for path, match in left.items():
        if match.shared and takers[match.inode] > 1:  # by a link, or where capitals make no difference
            refused[path] = f"the file {match.file.name} is also that of another old path"
    return refused
