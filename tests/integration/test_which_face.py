"""The choice of a face, in photos with larger faces at the edge or smaller ones in the background."""

from __future__ import annotations

import csv
import json
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pgface.errors import SeveralFacesError
from pgface.gallery import Gallery
from support.commands import Run
from support.photos import Photos
from support.sentences import evaluation as says
from support.sentences import photos as says_of_photos
from support.web_service import V1, Served, file

pytestmark = pytest.mark.slow

_SIDE = 250


def with_a_larger_face(person: Path, bystander: Path, to: Path) -> Path:
    """Make a photo with a person in the middle and half of a larger face at the left edge."""
    picture = Image.new("RGB", (560, 420), (90, 100, 110))
    near = Image.open(bystander).resize((340, 340))
    picture.paste(near.crop((70, 40, 270, 300)), (0, 160))
    picture.paste(Image.open(person).crop((20, 20, 230, 230)), (175, 105))
    picture.save(to, quality=95)
    return to


def with_a_smaller_face(person: Path, passer_by: Path, to: Path, *, size: int) -> Path:
    """Make a photo with a person in the middle and a smaller face at the right, from a photo scaled to this size."""
    picture = Image.new("RGB", (_SIDE + 130, _SIDE), (90, 100, 110))
    picture.paste(Image.open(person), (0, 0))
    picture.paste(Image.open(passer_by).resize((size, size)), (_SIDE + 5, 5))
    picture.save(to, quality=95)
    return to


@pytest.fixture
def at_the_edge(photos: Photos, tmp_path: Path) -> Path:
    """Colin Powell in the middle, and a larger George W. Bush at the edge."""
    return with_a_larger_face(photos("Colin_Powell", 2), photos("George_W_Bush", 2), tmp_path / "edge.jpg")


@pytest.fixture
def in_front(photos: Photos, tmp_path: Path) -> Path:
    """Colin Powell in front of a small George W. Bush."""
    return with_a_smaller_face(photos("Colin_Powell", 2), photos("George_W_Bush", 2), tmp_path / "front.jpg", size=110)


def test_the_central_face_by_the_library(gallery: Gallery, at_the_edge: Path, photos: Photos) -> None:
    gallery.enroll(photos("Colin_Powell", 1), "powell@example.org")
    gallery.enroll(photos("George_W_Bush", 1), "bush@example.org")
    for which, name in (("central", "powell"), ("largest", "bush")):
        assert gallery.verify(at_the_edge, f"{name}@example.org", face=which).match  # type: ignore[arg-type]
    assert gallery.compare(at_the_edge, photos("Colin_Powell", 3), face="central").match
    assert not gallery.compare(at_the_edge, photos("Colin_Powell", 3), face="largest").match
    enrolled = gallery.enroll(at_the_edge, "powell@example.org", face="central")
    assert enrolled.added
    assert enrolled.left_aside == ()
    with pytest.raises(SeveralFacesError):
        gallery.enroll(at_the_edge, "powell@example.org")


def test_the_central_face_by_commands(
    run: Run, insightface_pack: Path, at_the_edge: Path, photos: Photos, tmp_path: Path
) -> None:
    run("init", "--model", insightface_pack)
    run("enroll", photos("Colin_Powell", 1), "--user", "powell@example.org")
    answer = json.loads(
        run("verify", at_the_edge, "--user", "powell@example.org", "--faces", "central", "--json").stdout
    )
    assert answer["match"]
    answer = json.loads(run("compare", at_the_edge, photos("Colin_Powell", 3), "--faces", "central", "--json").stdout)
    assert answer["match"]
    assert json.loads(
        run("enroll", at_the_edge, "--user", "powell@example.org", "--faces", "central", "--json").stdout
    )["enrolled"][0]["added"]
    (tmp_path / "people" / "Colin_Powell").mkdir(parents=True)
    at_the_edge.rename(tmp_path / "people" / "Colin_Powell" / "edge.jpg")
    # The folder's name means a new user. The refusal names Powell, so the central face was used.
    found = json.loads(run("enroll", "--folder", tmp_path / "people", "--faces", "central", "--json").stdout)
    assert "powell@example.org" in found["refused"][0]["reason"]


def test_the_central_face_and_the_background_by_the_service(
    api: Served, at_the_edge: Path, in_front: Path, photos: Photos
) -> None:
    program = api.key("enroll", "verify")

    def post(path: str, pictures: dict[str, Path], **fields: str) -> dict[str, Any]:
        files = {name: file(path.read_bytes(), path.name) for name, path in pictures.items()}
        answer: dict[str, Any] = api.client.post(V1 + path, files=files, data=fields, headers=program).json()
        return answer

    email = "powell@example.org"
    enrolled = post("/photos", {"photo": in_front}, email=email)
    (small,) = enrolled["left_aside"]
    assert small["width"] < enrolled["face"]["box"]["width"] / 2
    assert post("/photos", {"photo": at_the_edge}, email=email)["code"] == "several-faces"
    assert post("/photos", {"photo": at_the_edge}, email=email, face="central")["added"] is True
    for which, match in (("central", True), ("largest", False)):
        assert post("/verify", {"photo": at_the_edge}, email=email, face=which)["match"] is match
        pair = {"photo": at_the_edge, "other": photos("Colin_Powell", 3)}
        assert post("/compare", pair, face=which)["match"] is match


def lfw_list(to: Path, *, numbers: range) -> None:
    """Write a list of all pairs of these photos of two people, in two folds."""
    one, other = "Colin_Powell", "George_W_Bush"
    mated = [[f"{name}\t{a}\t{b}" for a, b in combinations(numbers, 2)] for name in (one, other)]
    crossed = [f"{one}\t{a}\t{other}\t{b}" for a, b in product(numbers, numbers)]
    size = min(*map(len, mated), len(crossed) // 2)
    lines = [f"2\t{size}", *mated[0][:size], *crossed[:size], *mated[1][:size], *crossed[size : 2 * size]]
    to.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def with_bystanders(photos: Photos, tmp_path: Path) -> Path:
    """Five photos of each of two people, named as in LFW. Two of each have a larger face at the edge."""
    folder = tmp_path / "lfw"
    for person, bystander in (("Colin_Powell", "Jacques_Chirac"), ("George_W_Bush", "Gerhard_Schroeder")):
        (folder / person).mkdir(parents=True)
        for number in range(1, 6):
            place = folder / person / f"{person}_{number:04}.jpg"
            if number < 3:
                with_a_larger_face(photos(person, number), photos(bystander, number), place)
            else:
                place.write_bytes(photos(person, number).read_bytes())
    return folder


_LIMIT = {"PGFACE_MIN_BRIGHTNESS": "0.25"}


def figures(run: Run, *arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("evaluate", *arguments, "--json", more=_LIMIT).stdout)
    return found


def test_a_list_of_pairs_means_the_central_face(
    run: Run, insightface_pack: Path, with_bystanders: Path, tmp_path: Path
) -> None:
    lfw_list(tmp_path / "pairs.txt", numbers=range(1, 6))
    given = (with_bystanders, "--pairs", tmp_path / "pairs.txt", "--model", insightface_pack)
    central = figures(run, *given)
    assert figures(run, *given, "--faces", "central") == central
    largest = figures(run, *given, "--faces", "largest")
    assert central["verification"]["in_use"]["fnmr"] == 0
    assert central["folds"]["mean"] == 1
    # Of ten mated pairs of each person, six have one of the two photos with a larger face and one has both.
    assert largest["verification"]["in_use"]["fnmr"] == pytest.approx(12 / 20)
    assert largest["folds"]["mean"] < 0.9
    # A folder of people follows the rules of enrollment, which refuse such photos.
    assert figures(run, with_bystanders, "--model", insightface_pack)["failure_to_enroll"]["photos"] == 4


def test_every_pair_of_a_list_counts(run: Run, insightface_pack: Path, photos: Photos, tmp_path: Path) -> None:
    folder = tmp_path / "lfw"
    for person in ("Colin_Powell", "George_W_Bush"):
        (folder / person).mkdir(parents=True)
        for number in range(1, 6):
            place = folder / person / f"{person}_{number:04}.jpg"
            place.write_bytes(photos(person, number).read_bytes())
    # This photo is too dark for the limit, but its pairs are still decided correctly.
    dark = np.asarray(Image.open(folder / "Colin_Powell" / "Colin_Powell_0001.jpg")) // 3
    Image.fromarray(dark).save(folder / "Colin_Powell" / "Colin_Powell_0001.jpg", quality=97)
    Image.new("RGB", (250, 250), "grey").save(folder / "George_W_Bush" / "George_W_Bush_0001.jpg")
    lfw_list(tmp_path / "pairs.txt", numbers=range(1, 6))
    given = (folder, "--pairs", tmp_path / "pairs.txt", "--model", insightface_pack)

    # A photo without a face is an error in each of its mated pairs, and in no non-mated one.
    found = figures(run, *given)
    assert (found["verification"]["mated_pairs"], found["verification"]["non_mated_pairs"]) == (20, 20)
    assert found["refused_mated_pairs"] == {
        "pairs": 4,
        "reasons": {"NoFaceError": 4},
        "counted_in_fnmr": True,
        "fnmr_in_use_with_them": pytest.approx(4 / 20),
    }
    assert found["verification"]["in_use"]["fnmr"] == pytest.approx(4 / 20)
    assert found["folds"]["mean"] == pytest.approx(1 - 4 / 40)

    # With an option, photos are refused for their quality, and the report shows the effect.
    refusing = figures(run, *given, "--quality")
    assert refusing["refused_mated_pairs"]["reasons"] == {"LowQualityError": 4, "NoFaceError": 4}
    assert refusing["verification"]["in_use"]["fnmr"] == pytest.approx(8 / 20)
    printed = run("evaluate", *given, "--quality", more=_LIMIT).stdout
    assert says.FNMR_COUNTS_REFUSED_PAIRS.is_in(printed, pairs=8)
    assert says.OF_TOO_LOW_QUALITY.is_in(printed, pairs=4, share="20 %")
    assert says.ANY_QUALITY_IS_AN_OPTION in printed

    # For a folder, FNMR leaves out refused pairs, and the report says so.
    of_folder = figures(run, folder, "--model", insightface_pack)
    assert of_folder["refused_mated_pairs"]["reasons"] == {"LowQualityError": 4, "NoFaceError": 4}
    assert of_folder["verification"]["in_use"]["fnmr"] == 0
    assert of_folder["refused_mated_pairs"]["fnmr_in_use_with_them"] == pytest.approx(8 / 20)
    printed = run("evaluate", folder, "--model", insightface_pack, more=_LIMIT).stdout
    assert says.FNMR_LEAVES_OUT_REFUSED_PAIRS.is_in(printed, pairs=8)
    without = figures(run, folder, "--model", insightface_pack, "--no-quality")
    assert without["refused_mated_pairs"]["reasons"] == {"NoFaceError": 4}


def test_options_of_photos_need_a_folder(run: Run) -> None:
    for option in (("--faces", "central"), ("--quality",), ("--no-quality",)):
        refused = run("evaluate", *option, code=2)
        assert says.OPTION_NEEDS_A_FOLDER_OF_PHOTOS.is_in(refused.stderr, option=option[0])


def test_a_small_face_in_the_background_by_the_library(gallery: Gallery, in_front: Path, photos: Photos) -> None:
    enrolled = gallery.enroll(in_front, "powell@example.org")
    assert enrolled.added
    assert enrolled.face is not None
    (small,) = enrolled.left_aside
    assert small.width < enrolled.face.box.width / 2
    assert small.x > _SIDE
    assert enrolled.to_json()["left_aside"] == [pytest.approx(small, abs=0.1)]
    assert gallery.verify(photos("Colin_Powell", 3), "powell@example.org").match
    assert gallery.enroll(photos("Colin_Powell", 4), "powell@example.org").left_aside == ()
    # Verification (1:1) does not leave it aside.
    with pytest.raises(SeveralFacesError):
        gallery.verify(in_front, "powell@example.org")


def test_faces_of_similar_size_are_refused_as_before(gallery: Gallery, photos: Photos, tmp_path: Path) -> None:
    pair = with_a_smaller_face(photos("Colin_Powell", 2), photos("George_W_Bush", 2), tmp_path / "two.jpg", size=200)
    with pytest.raises(SeveralFacesError, match=says_of_photos.SEVERAL_FACES.pattern(count=2)):
        gallery.enroll(pair, "powell@example.org")


def test_a_small_face_in_the_background_by_commands(
    run: Run, insightface_pack: Path, in_front: Path, tmp_path: Path
) -> None:
    run("init", "--model", insightface_pack)
    done = run("enroll", in_front, "--user", "powell@example.org")
    assert says_of_photos.LEFT_ASIDE_IN_THE_BACKGROUND.is_in(done.stdout)
    again = json.loads(run("enroll", in_front, "--user", "powell@example.org", "--json").stdout)
    assert again["enrolled"][0]["added"] is False
    folder = tmp_path / "people"
    (folder / "Powell").mkdir(parents=True)
    in_front.rename(folder / "Powell" / "front.jpg")
    run("enroll", "--folder", folder, "--allow-other-user", "--report", tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["outcome"], row["error"]) == ("enrolled", "")
    assert says_of_photos.LEFT_ASIDE_IN_THE_BACKGROUND.is_in(row["reason"])
