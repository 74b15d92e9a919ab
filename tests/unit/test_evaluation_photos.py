"""Reading the photos to evaluate from folders and lists of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pgface.errors import EvaluationError
from pgface.evaluation.photos import folder_photos, read_pairs
from support.sentences import evaluation as says

NO_SUCH_FILE = "No such file or directory"
"""The error of the operating system."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three people with two empty files each, with names as in LFW."""
    for person in ("Ann", "Bea", "Cleo_de_Bo"):
        (tmp_path / "people" / person).mkdir(parents=True)
        for number in (1, 2):
            (tmp_path / "people" / person / f"{person}_{number:04}.jpg").touch()
    return tmp_path / "people"


def listed(tmp_path: Path, text: str, name: str = "pairs.txt") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_folder_of_people(folder: Path) -> None:
    (folder / "readme.txt").touch()
    (folder / ".hidden").mkdir()
    (folder / "Ann" / ".DS_Store").touch()
    photos = folder_photos(folder)
    assert [photo.name for photo in photos[:3]] == ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bea/Bea_0001.jpg"]
    assert [photo.person for photo in photos] == ["Ann"] * 2 + ["Bea"] * 2 + ["Cleo_de_Bo"] * 2


def test_other_kinds_of_files_are_not_photos(folder: Path) -> None:
    for name in ("Thumbs.db", "notes.txt", "clip.mp4", "archive.zip"):
        (folder / "Ann" / name).touch()
    before = len(folder_photos(folder))
    for name in ("broken.jpg", "without-suffix", "odd.suffix"):  # they may be photos
        (folder / "Ann" / name).touch()
    assert before == 6
    assert len(folder_photos(folder)) == 9


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=says.THE_FOLDER_HAS_NO_PHOTOS_OF_PEOPLE.pattern()):
        folder_photos(tmp_path)
    with pytest.raises(EvaluationError, match=says.THE_FOLDER_CANNOT_BE_READ.pattern(reason=NO_SUCH_FILE)):
        folder_photos(tmp_path / "nowhere")


@pytest.mark.parametrize("separator", ["\t", " "])
def test_a_list_of_lfw(folder: Path, tmp_path: Path, separator: str) -> None:
    lines = ["2 1", "Ann 1 2", "Ann 1 Bea 2", "Bea 2 1", "Cleo_de_Bo 1 Ann 2"]
    pairs = read_pairs(listed(tmp_path, "\n".join(line.replace(" ", separator) for line in lines) + "\n"), folder)
    assert [photo.name for photo in pairs.photos] == [
        "Ann/Ann_0001.jpg",
        "Ann/Ann_0002.jpg",
        "Bea/Bea_0002.jpg",
        "Bea/Bea_0001.jpg",
        "Cleo_de_Bo/Cleo_de_Bo_0001.jpg",
    ]
    assert pairs.mated.tolist() == [True, False, True, False]
    assert pairs.folds is not None
    assert pairs.folds.tolist() == [0, 0, 1, 1]
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(0, 1), (0, 2), (2, 3), (4, 1)]
    assert pairs.photos[4].person == "Cleo_de_Bo"


def test_a_list_of_lfw_with_one_fold(folder: Path, tmp_path: Path) -> None:
    pairs = read_pairs(listed(tmp_path, "1\nAnn\t1\t2\nAnn\t1\tBea\t2\n"), folder)
    assert pairs.folds is not None
    assert pairs.folds.tolist() == [0, 0]


def test_a_table_of_pairs_with_relative_and_absolute_paths(folder: Path, tmp_path: Path) -> None:
    text = (
        "file_x,file_y,Decision\n"
        "Ann/Ann_0001.jpg,Ann/Ann_0002.jpg,Yes\n"
        "Ann/Ann_0002.jpg,Bea/Bea_0001.jpg, no\n"
        f"{folder}/Bea/Bea_0001.jpg,Bea/Bea_0002.jpg,TRUE\n"
        "Cleo_de_Bo/Cleo_de_Bo_0001.jpg,Ann/Ann_0001.jpg,0\n"
    )
    pairs = read_pairs(listed(tmp_path, text, "pairs.csv"), folder)
    assert pairs.mated.tolist() == [True, False, True, False]
    assert pairs.folds is None
    people = [photo.person for photo in pairs.photos]
    assert people[0] == people[1]
    assert people[2] == people[3]
    assert len(set(people)) == 3
    assert np.array_equal(pairs.first, [0, 1, 2, 4])
    assert pairs.people_known


def test_a_table_of_pairs_takes_people_from_folders_unless_they_contradict_it(folder: Path, tmp_path: Path) -> None:
    text = (
        "file_x,file_y,Decision\n"
        "Ann/Ann_0001.jpg,Bea/Bea_0001.jpg,no\n"
        "Ann/Ann_0002.jpg,Cleo_de_Bo/Cleo_de_Bo_0001.jpg,no\n"  # the photo of Ann is in no mated pair
        "Bea/Bea_0001.jpg,Bea/Bea_0002.jpg,yes\n"
    )
    pairs = read_pairs(listed(tmp_path, text, "pairs.csv"), folder)
    assert pairs.people_known
    assert [photo.person for photo in pairs.photos] == ["Ann", "Bea", "Ann", "Cleo_de_Bo", "Bea"]
    # These folders contradict the list.
    pairs = read_pairs(listed(tmp_path, text + "Ann/Ann_0001.jpg,Ann/Ann_0002.jpg,no\n", "pairs.csv"), folder)
    assert not pairs.people_known
    assert len({photo.person for photo in pairs.photos}) == 4


@pytest.mark.parametrize(
    ("name", "text", "pattern"),
    [
        (
            "pairs.txt",
            "10 300\nAnn 1 2\n",
            says.THE_LIST_PROMISES_ANOTHER_NUMBER_OF_PAIRS.pattern(promised="6,000", folds=10, size=300, found=1),
        ),
        ("pairs.txt", "Ann 1 2\n", says.THE_FIRST_LINE_SHOULD_BE_THE_NUMBER_OF_FOLDS.pattern()),
        ("pairs.txt", "", says.THE_FIRST_LINE_SHOULD_BE_THE_NUMBER_OF_FOLDS.pattern()),
        ("pairs.txt", "1\nAnn 1 Bea 2\nAnn 1 2\n", says.THE_LINE_SHOULD_BE_A_MATED_PAIR.pattern(line=2)),
        ("pairs.txt", "1\nAnn 1 2\nAnn 1 2\n", says.THE_LINE_SHOULD_BE_A_NON_MATED_PAIR.pattern(line=3)),
        (
            "pairs.txt",
            "1\nAnn 1 3\nDora 1 Bea 2\n",
            says.THE_LIST_NAMES_MISSING_PHOTOS.pattern(photos="Ann/Ann_0003, Dora/Dora_0001"),
        ),
        (
            "pairs.csv",
            "file_x,file_y\na,b\n",
            says.THE_TABLE_HAS_NO_SUCH_COLUMN.pattern(column="Decision", columns="file_x, file_y"),
        ),
        ("pairs.csv", "", says.THE_TABLE_HAS_NO_SUCH_COLUMN.pattern(column="Decision", columns="none")),
        (
            "pairs.csv",
            "file_x;file_y;Decision\n",
            says.THE_TABLE_HAS_NO_SUCH_COLUMN.pattern(column="Decision", columns="file_x;file_y;Decision"),
        ),
        ("pairs.csv", "file_x,file_y,Decision\n", says.THERE_ARE_NO_PAIRS.pattern()),
        ("pairs.csv", 'file_x,file_y,Decision\n"' + "a" * 140_000, says.THE_LINE_IS_NOT_CSV.pattern()),
        (
            "pairs.csv",
            f"file_x,file_y,Decision\n{'a' * 300},b,no\n",
            says.THE_LIST_NAMES_MISSING_PHOTOS.pattern(photos=f"{'a' * 300}, b"),
        ),
        ("pairs.txt", "10 0\n", says.THE_FIRST_LINE_SHOULD_BE_THE_NUMBER_OF_FOLDS.pattern()),
        ("pairs.txt", "0\n", says.THE_FIRST_LINE_SHOULD_BE_THE_NUMBER_OF_FOLDS.pattern()),
        ("pairs.txt", "1\n\nAnn 1 1\nAnn 1 Bea 2\n", says.THE_PAIR_IS_ONE_PHOTO.pattern(pair=1)),
        ("pairs.txt", "1\n\n\nAnn 1 2 3 4\nAnn 1 Bea 2\n", says.THE_LINE_SHOULD_BE_A_MATED_PAIR.pattern(line=4)),
        (
            "pairs.csv",
            "file_x,file_y,Decision\nAnn/Ann_0001.jpg,Ann/Ann_0002.jpg,yes\nAnn/Ann_0002.jpg,Bea/Bea_0001.jpg,yes\n"
            "Ann/Ann_0001.jpg,Bea/Bea_0001.jpg,no\n",
            says.THE_NON_MATED_PAIR_IS_OF_ONE_PERSON.pattern(pair=3),
        ),
        ("pairs.csv", "file_x,file_y,Decision\na,b,maybe\n", says.THE_DECISION_IS_NEITHER_YES_NOR_NO.pattern(line=2)),
        (
            "pairs.csv",
            "file_x,file_y,Decision\na,,no\n",
            says.THE_LIST_NAMES_MISSING_PHOTOS.pattern(photos="a, (nothing)"),
        ),
        (
            "pairs.csv",
            "file_x,file_y,Decision\nAnn/Ann_0001.jpg,Ann/Ann_0002.jpg,yes\n",
            says.THERE_IS_NO_NON_MATED_PAIR.pattern(),
        ),
    ],
)
def test_lists_that_cannot_be_used(folder: Path, tmp_path: Path, name: str, text: str, pattern: str) -> None:
    with pytest.raises(EvaluationError, match=pattern):
        read_pairs(listed(tmp_path, text, name), folder)


def test_a_picture_is_preferred_to_other_files_of_a_camera(folder: Path, tmp_path: Path) -> None:
    (folder / "Ann" / "Ann_0001.xml").touch()
    (folder / "Ann" / "Ann_0002.aae").touch()
    pairs = read_pairs(listed(tmp_path, "1\nAnn 1 2\nAnn 1 Bea 2\n"), folder)
    assert [photo.file.suffix for photo in pairs.photos] == [".jpg"] * 3


def test_a_list_that_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=says.THE_LIST_CANNOT_BE_READ.pattern(reason=NO_SUCH_FILE)):
        read_pairs(tmp_path / "nowhere.csv", folder)
    (tmp_path / "pairs.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvaluationError, match=says.THE_LIST_CANNOT_BE_READ.pattern(reason=says.IT_IS_NOT_UTF8)):
        read_pairs(tmp_path / "pairs.txt", folder)
