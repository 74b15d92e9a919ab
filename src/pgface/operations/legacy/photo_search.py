"""Finds the file of each old photo below a folder. A photo gets no file that could belong to another photo."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from pgface.operations.legacy.installation import OldPhoto


@dataclass(frozen=True, slots=True)
class FoundPhotos:
    """The files of old photos."""

    files: dict[int, Path]
    """The files by the old ids of their photos."""
    missing: dict[int, str]
    """An explanation for each photo without a file, by its old id."""


@dataclass(frozen=True, slots=True)
class _Match:
    """A file that has the same path as an old photo, or the same end of the path."""

    file: Path
    shared: str
    """The common end of both paths. Empty if the file has the whole old path."""
    inode: tuple[int, int]
    several: bool
    """Whether the path of another file has the same end."""


def find_photos(folder: Path, photos: Iterable[OldPhoto]) -> FoundPhotos:
    """Find the files of photos below a folder, and never outside of it, even if a path or link leads there.

    A photo's file is the file at its old path. The folder may have moved, so it can also be the file with the longest
    common end of both paths. If two old paths have that end, neither gets the file.

    Args:
        folder: the folder of the old files.
        photos: all photos of the old installation, because their paths can compete for a file.

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
    """Finds files below a folder by old paths."""

    def __init__(self, folder: Path) -> None:
        self._root = folder.resolve()
        self._names = {folder.absolute().name, self._root.name} - {"", os.pardir}

    def old_path(self, photo: OldPhoto) -> str:
        """Return a photo's path with `/` between names. If the old path is a folder, append the file's name."""
        text = photo.filepath + (photo.filename if photo.filepath.endswith(("/", "\\")) else "")
        # The old application may have run on Windows. On other systems, a backslash may be part of a name.
        windows = "\\" in text and self._file_at(text) is None
        return PurePosixPath(PureWindowsPath(text).as_posix() if windows else text).as_posix()

    def match(self, path: str) -> _Match | None:
        """Find the file at a path, or else the file with the longest common end."""
        if (whole := self._file_at(path)) is not None:
            return _match([whole], "")
        return next((_match(files, shared) for shared in _ends(path) if (files := self._files_with_end(shared))), None)

    def _files_with_end(self, shared: str) -> list[Path]:
        # The folder's own name counts too: below `uploads`, `a.jpg` is the file of `/srv/uploads/a.jpg`.
        first, _, rest = shared.partition("/")
        tries = (shared, rest) if first in self._names and rest else (shared,)
        return [file for names in tries if (file := self._file_at(names)) is not None]

    def _file_at(self, path: str) -> Path | None:
        """Return the file at a relative or absolute path. None if it is not below the folder."""
        try:
            if not (self._root / path).is_file():  # checked first, because resolving paths is slow
                return None
            file = (self._root / path).resolve()
            return file if file.is_relative_to(self._root) else None
        except (OSError, ValueError):  # the path is too long, or not accessible
            return None


def _match(files: list[Path], shared: str) -> _Match:
    found = files[0].stat()
    return _Match(files[0], shared, (found.st_dev, found.st_ino), len(files) > 1)


def _ends(path: str) -> Iterator[str]:
    """Yield the ends of a path, the longest first, without `..` and the names before it."""
    names = path.strip("/").split("/")
    if os.pardir in names:
        names = names[len(names) - names[::-1].index(os.pardir) :]
    return ("/".join(names[start:]) for start in range(len(names)))


def _refused(paths: Iterable[str], matches: dict[str, _Match]) -> dict[str, str]:
    """Return an explanation for each path that does not get the file with the same end."""
    wanted = {match.shared for match in matches.values() if match.shared}
    alike = Counter(end for path in paths for end in _ends(path) if end in wanted)
    refused: dict[str, str] = {}
    for path, match in matches.items():
        if match.shared and alike[match.shared] > 1:
            refused[path] = f"there is a file {match.shared}, but {alike[match.shared]:,} old paths end like it"
        elif match.several:
            refused[path] = f"two files end with {match.shared}"
    others = {path: match for path, match in matches.items() if path not in refused}
    paths_of_file = Counter(match.inode for match in others.values())
    for path, match in others.items():
        if match.shared and paths_of_file[match.inode] > 1:  # through a link, or if names ignore case
            refused[path] = f"the file {match.file.name} also matches another old path"
    return refused
