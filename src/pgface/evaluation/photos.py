"""The photos to evaluate, and their people: a folder of people, or a list of pairs."""

from __future__ import annotations

import csv
import io
import mimetypes
import os
from collections.abc import Iterator, Sequence
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
"""Maximum number of names in an error message."""


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo, and its person."""

    name: str
    """Its path below the folder."""
    file: Path
    person: str


@dataclass(frozen=True, slots=True, eq=False)
class PhotoPairs:
    """Photos, and the pairs of them that are compared."""

    photos: tuple[LabelledPhoto, ...]
    first: NDArray[np.int64]
    """Shape (n,), places in `photos`."""
    second: NDArray[np.int64]
    """Shape (n,), places in `photos`."""
    mated: NDArray[np.bool_]
    """Shape (n,): whether both photos are of one person."""
    folds: NDArray[np.int64] | None
    """Shape (n,), 0 to k - 1. None for a list without folds."""
    people_known: bool
    """Whether the list or the folders of its photos name the person of each photo, and not only the mated pairs."""


def folder_photos(folder: Path) -> list[LabelledPhoto]:
    """List the photos of `folder/<person>/<photo>`, in order, without hidden files and other kinds of files.

    Raises:
        EvaluationError: the folder cannot be read, or holds no photos of people.

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
            f"{folder}: there is no folder of photos in it. Give the folder that holds one for each person."
        )
    return photos


def _may_be_photo(file: Path) -> bool:
    """Whether a name can be that of a photo, and not of another kind of file or of a file of the operating system."""
    kind, _ = mimetypes.guess_type(file.name)
    return file.name.lower() not in _SYSTEM_FILES and (kind is None or kind.startswith("image/"))


def lfw_pairs(file: Path, folder: Path) -> PhotoPairs:
    """Read a list of pairs in LFW's form: a line with the folds and their size, then each fold's pairs, mated first.

    A photo is a name and a number, `folder/<name>/<name>_<four digits>.*`. Source: G. B. Huang, M. Ramesh, T. Berg,
    E. Learned-Miller, "Labeled Faces in the Wild", University of Massachusetts, Technical Report 07-49 (2007).

    Raises:
        EvaluationError: the list has another form, or names photos that do not exist.

    """
    lines = [
        (number, line.split("\t" if "\t" in line else None))
        for number, line in enumerate(_text(file).split("\n"), start=1)
        if line.strip()
    ]
    folds, size = _lfw_head(file, [fields for _, fields in lines])
    if len(lines) - 1 != 2 * folds * size:
        raise EvaluationError(
            f"{file}: its first line says {2 * folds * size:,} pairs (folds: {folds}, pairs of each kind in one: "
            f"{size}), and there are {len(lines) - 1:,}. Give the whole list."
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


def csv_pairs(file: Path, folder: Path) -> PhotoPairs:
    """Read a table of pairs with the columns `file_x`, `file_y` and `Decision` (yes or no, true or false, 1 or 0).

    A photo's person is its folder, if that agrees with every pair. Otherwise, mated pairs link the photos of a person.

    Args:
        file: the table.
        folder: the folder where relative paths start.

    Raises:
        EvaluationError: the table has another form, or names photos that do not exist.

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
    """Read a list of pairs of either form: a `.csv` file, or LFW's.

    Raises:
        EvaluationError: as for `csv_pairs` and `lfw_pairs`.

    """
    return csv_pairs(file, folder) if file.suffix.lower() == ".csv" else lfw_pairs(file, folder)


class _PhotoFinder:
    """The photos that a list names, each once, in the order of the list."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[Path, int] = {}
        self._names: list[tuple[str, str]] = []
        self._missing: list[str] = []
        self._of_person: dict[str, dict[str, Path]] = {}

    def lfw(self, name: str, number: str) -> int:
        """Return the place of a photo of LFW's form."""
        stem = f"{name}_{number.zfill(4)}"
        if name not in self._of_person:
            entries = _listed(self._folder / name) if os.path.isdir(self._folder / name) else []
            # Among several files with one stem, such as a photo and a file of its camera, a picture comes first.
            entries.sort(key=lambda entry: entry.suffix.lower() in _PICTURES)
            self._of_person[name] = {entry.stem: entry for entry in entries}
        file = self._of_person[name].get(stem)
        return self._place(file, f"{name}/{stem}", name)

    def path(self, text: str) -> int:
        """Return the place of a photo that is given by its path."""
        file = self._folder / text
        return self._place(file if text and os.path.isfile(file) else None, text, "")

    def _place(self, file: Path | None, name: str, person: str) -> int:
        if file is None:
            self._missing.append(name or "(nothing)")
            return -1
        if file not in self._places:
            self._places[file] = len(self._places)
            self._names.append((name if not file.suffix or name.endswith(file.suffix) else name + file.suffix, person))
        return self._places[file]

    def pairs(self, file: Path, pairs: Sequence[tuple[int, int, bool, int]], *, with_folds: bool) -> PhotoPairs:
        """Return all pairs, if no photo is missing and there are pairs of both kinds."""
        if self._missing:
            missing = list(dict.fromkeys(self._missing))
            more = f" and {len(missing) - _MAX_NAMED:,} more" if len(missing) > _MAX_NAMED else ""
            raise EvaluationError(
                f"{file}: it names photos that are not in {self._folder}: {', '.join(missing[:_MAX_NAMED])}{more}. "
                "Give the folder that holds them."
            )
        if not pairs:
            raise EvaluationError(f"{file}: there are no pairs in it. Give a list of pairs of photos.")
        first, second, mated, folds = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
        if mated.all() or not mated.any():
            kind = "non-mated" if mated.all() else "mated"
            raise EvaluationError(f"{file}: there is no {kind} pair in it. Both kinds are needed.")
        people = [person for _, person in self._names]
        known = any(people)
        if not known:
            people = [PurePath(name).parent.as_posix() for name, _ in self._names]
            owners = np.array(people)
            # The person is the folder, if the photos lie in a folder of people.
            known = "." not in people and bool(((mated == 1) == (owners[first] == owners[second])).all())
        if not known:
            people = [str(number) for number in _groups(len(people), first[mated == 1], second[mated == 1])]
        owners = np.array(people)
        for wrong, what in (
            (first == second, "are one photo and not a pair"),
            ((mated == 1) != (owners[first] == owners[second]), "are said to be one person's, and two people's"),
        ):
            if wrong.any():
                number = int(np.flatnonzero(wrong)[0])
                one, other = (self._names[int(places[number])][0] for places in (first, second))
                raise EvaluationError(f"{file}: {one} and {other}, pair {number + 1}, {what}. Correct the list.")
        photos = tuple(
            LabelledPhoto(name, path, person)
            for (name, _), path, person in zip(self._names, self._places, people, strict=True)
        )
        return PhotoPairs(photos, first, second, mated == 1, folds if with_folds else None, known)


def _groups(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> list[int]:
    """Return the least number that each number is linked to."""
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
        f"{file}: the first line should say how many folds there are and how many pairs of each kind in one, as "
        "`10 300`. Give a list as LFW's pairs.txt, or a table whose name ends in .csv."
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise EvaluationError(f"{file}: the list cannot be read ({reason}). Give a file that you may read.") from error


def _listed(folder: Path) -> list[Path]:
    return sorted(_entries(folder), key=lambda entry: entry.name)


def _entries(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            yield from (Path(entry.path) for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise EvaluationError(
            f"{folder}: the folder cannot be read ({error.strerror}). Give a folder that you may read."
        ) from error
