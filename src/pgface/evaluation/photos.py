"""Reads the photos to evaluate and their people: from a folder of people, or from a list of pairs."""

from __future__ import annotations

import csv
import io
import mimetypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from pgface.errors import EvaluationError

_YES = {"yes", "true", "1", "same"}
_NO = {"no", "false", "0", "different"}
_COLUMNS = {"file_x", "file_y", "Decision"}
_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".heic", ".heif"}
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo and its person."""

    name: str
    """Path below the folder."""
    file: Path
    person: str


@dataclass(frozen=True, slots=True, eq=False)
class PhotoPairs:
    """A list of pairs of photos."""

    photos: tuple[LabelledPhoto, ...]
    first: NDArray[np.int64]
    """Shape (n,), indices in `photos`."""
    second: NDArray[np.int64]
    """Shape (n,), indices in `photos`."""
    mated: NDArray[np.bool_]
    """Shape (n,): whether both photos are of one person."""
    folds: NDArray[np.int64] | None
    """Shape (n,), 0 to k - 1. None for a list without folds."""
    people_known: bool
    """Whether the list or the folders give the person of each photo. If not, mated pairs link a person's photos."""


def folder_photos(folder: Path) -> list[LabelledPhoto]:
    """List the photos `folder/<person>/<photo>` by name, without hidden files and without other kinds of files.

    Raises:
        EvaluationError: the folder cannot be read, or has no photos of people.

    """
    photos = [
        LabelledPhoto(f"{person.name}/{file.name}", file, person.name)
        for person in _listed(folder)
        if os.path.isdir(person)
        for file in _listed(person)
        if not os.path.isdir(file) and _may_be_photo(file)
    ]
    if not photos:
        raise EvaluationError(
            f"{folder}: it contains no photos of people. Give a folder with a subfolder for each person."
        )
    return photos


def _may_be_photo(file: Path) -> bool:
    """Whether a file may be a photo, by its name."""
    kind, _ = mimetypes.guess_type(file.name)
    return file.name.lower() not in _SYSTEM_FILES and (kind is None or kind.startswith("image/"))


def _lfw_pairs(file: Path, folder: Path) -> PhotoPairs:
    """Read a list of pairs in LFW's format.

    The first line has the number of folds and their size. The pairs of each fold follow, mated pairs first. A name and
    a number give a photo, `folder/<name>/<name>_<four digits>.*`. Source: G. B. Huang, M. Ramesh, T. Berg,
    E. Learned-Miller, "Labeled Faces in the Wild", University of Massachusetts, Technical Report 07-49 (2007).
    """
    lines = [
        (number, line.split("\t" if "\t" in line else None))
        for number, line in enumerate(_text(file).split("\n"), start=1)
        if line.strip()
    ]
    folds, size = _lfw_head(file, [fields for _, fields in lines])
    if len(lines) - 1 != 2 * folds * size:
        raise EvaluationError(
            f"{file}: its first line promises {2 * folds * size:,} pairs (folds: {folds}, pairs of each kind in one: "
            f"{size}), but there are {len(lines) - 1:,}. Give the whole list."
        )
    finder = _PhotoFinder(folder)
    pairs = []
    for count, (number, fields) in enumerate(lines[1:]):
        fold, place = divmod(count, 2 * size)
        match fields:
            case [name, one, other] if place < size:
                pair = finder.lfw(name, one), finder.lfw(name, other)
            case [name, one, other_name, other] if place >= size:
                pair = finder.lfw(name, one), finder.lfw(other_name, other)
            case _:
                kind = "mated pair (name, number, number)" if place < size else "non-mated pair (name, number, twice)"
                raise EvaluationError(f"{file}: line {number} should be a {kind}. Correct it.")
        pairs.append((*pair, place < size, fold))
    return finder.pairs(file, pairs, with_folds=True)


def _csv_pairs(file: Path, folder: Path) -> PhotoPairs:
    """Read a table of pairs with the columns `file_x`, `file_y` and `Decision` (yes or no, true or false, 1 or 0).

    A photo's person is its folder, if that agrees with every pair. Otherwise, mated pairs link the photos of a person.
    """
    reader = csv.DictReader(io.StringIO(_text(file), newline=""))
    finder = _PhotoFinder(folder)
    pairs = []
    try:
        missing = sorted(_COLUMNS - set(reader.fieldnames or ()))
        if missing:
            there = ", ".join(reader.fieldnames or ()) or "none"
            raise EvaluationError(
                f"{file}: there is no column {missing[0]}, only {there[:100]}. It needs file_x, file_y and Decision, "
                "with commas between them."
            )
        for row in reader:
            decision = (row["Decision"] or "").strip().lower()
            if decision not in _YES | _NO:
                raise EvaluationError(
                    f"{file}: the Decision of line {reader.line_num} is neither yes nor no. Correct it."
                )
            pair = finder.path(row["file_x"] or ""), finder.path(row["file_y"] or "")
            pairs.append((*pair, decision in _YES, 0))
    except csv.Error as error:
        raise EvaluationError(
            f"{file}: line {reader.line_num} is not a line of a CSV table ({error}). Correct it."
        ) from error
    return finder.pairs(file, pairs, with_folds=False)


def read_pairs(file: Path, folder: Path) -> PhotoPairs:
    """Read a list of pairs: a `.csv` table, or a list in LFW's format.

    Args:
        file: the list.
        folder: the base of its paths.

    Raises:
        EvaluationError: the list has another format, or names photos that do not exist.

    """
    return _csv_pairs(file, folder) if file.suffix.lower() == ".csv" else _lfw_pairs(file, folder)


class _PhotoFinder:
    """Finds the photos that a list names, and numbers them from 0 in the order of the list."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers: dict[Path, int] = {}
        self._names: list[tuple[str, str]] = []
        self._missing: list[str] = []
        self._of_person: dict[str, dict[str, Path]] = {}

    def lfw(self, name: str, number: str) -> int:
        """Return the number of a photo, by a person's name and LFW's number."""
        stem = f"{name}_{number.zfill(4)}"
        if name not in self._of_person:
            entries = _listed(self._folder / name) if os.path.isdir(self._folder / name) else []
            # Pictures come last, so that they replace other files with the same stem, such as those of a camera.
            entries.sort(key=lambda entry: entry.suffix.lower() in _PICTURES)
            self._of_person[name] = {entry.stem: entry for entry in entries}
        return self._number(self._of_person[name].get(stem), f"{name}/{stem}", name)

    def path(self, text: str) -> int:
        """Return the number of a photo, by its path."""
        file = self._folder / text
        return self._number(file if text and os.path.isfile(file) else None, text, "")

    def _number(self, file: Path | None, name: str, person: str) -> int:
        if file is None:
            self._missing.append(name or "(nothing)")
            return -1
        if file not in self._numbers:
            self._numbers[file] = len(self._numbers)
            self._names.append((name if not file.suffix or name.endswith(file.suffix) else name + file.suffix, person))
        return self._numbers[file]

    def pairs(self, file: Path, pairs: Sequence[tuple[int, int, bool, int]], *, with_folds: bool) -> PhotoPairs:
        """Check that no photo is missing and that there are pairs of both kinds, and return the pairs."""
        if self._missing:
            raise EvaluationError(
                f"{file}: it names photos that are not in {self._folder}: "
                f"{some_of(list(dict.fromkeys(self._missing)))}. Give the folder that contains them."
            )
        if not pairs:
            raise EvaluationError(f"{file}: it contains no pairs. Give a list of pairs of photos.")
        first, second, mated, folds = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
        if mated.all() or not mated.any():
            kind = "non-mated" if mated.all() else "mated"
            raise EvaluationError(f"{file}: it contains no {kind} pair. Give a list with pairs of both kinds.")
        people = [person for _, person in self._names]
        known = any(people)
        if not known:
            people = [PurePath(name).parent.as_posix() for name, _ in self._names]
            owners = np.array(people)
            # The folder is the person, if it agrees with every pair.
            known = "." not in people and bool(((mated == 1) == (owners[first] == owners[second])).all())
        if not known:
            people = [str(number) for number in _groups(len(people), first[mated == 1], second[mated == 1])]
        owners = np.array(people)
        for wrong, what in (
            (first == second, "is one photo twice"),
            ((mated == 1) != (owners[first] == owners[second]), "is non-mated, but both photos show one person"),
        ):
            if wrong.any():
                number = int(np.flatnonzero(wrong)[0])
                one, other = (self._names[int(photos[number])][0] for photos in (first, second))
                raise EvaluationError(f"{file}: pair {number + 1}, {one} and {other}, {what}. Correct the list.")
        photos = tuple(
            LabelledPhoto(name, path, person)
            for (name, _), path, person in zip(self._names, self._numbers, people, strict=True)
        )
        return PhotoPairs(photos, first, second, mated == 1, folds if with_folds else None, known)


def _groups(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> list[int]:
    """Return the lowest number that each number is linked to, directly or through others."""
    roots = list(range(count))

    def root(number: int) -> int:
        while roots[number] != number:
            roots[number] = roots[roots[number]]
            number = roots[number]
        return number

    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        low, high = sorted((root(one), root(other)))
        roots[high] = low
    return [root(number) for number in range(count)]


def _lfw_head(file: Path, lines: list[list[str]]) -> tuple[int, int]:
    match lines[:1]:
        case [[size]] if size.isdecimal() and int(size):  # one fold, as in LFW's development sets
            return 1, int(size)
        case [[folds, size]] if folds.isdecimal() and size.isdecimal() and int(folds) and int(size):
            return int(folds), int(size)
    raise EvaluationError(
        f"{file}: the first line should be the number of folds and of pairs of each kind in one, such as `10 300`. "
        "Give a list in the format of LFW's pairs.txt, or a table whose name ends in .csv."
    )


def some_of(names: Sequence[str]) -> str:
    """Return the first three names, and the number of the others."""
    more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    return f"{', '.join(names[:_MAX_NAMED])}{more}"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise EvaluationError(
            f"{file}: the list cannot be read ({reason}). Give a text file that you may read."
        ) from error


def _listed(folder: Path) -> list[Path]:
    """List the entries of a folder by name, without hidden ones."""
    try:
        return sorted(
            (entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda entry: entry.name
        )
    except OSError as error:
        raise EvaluationError(
            f"{folder}: the folder cannot be read ({error.strerror}). Give a folder that you may read."
        ) from error
