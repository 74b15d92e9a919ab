"""`pgface evaluate` with real photos and a real gallery."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from itertools import combinations, islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgface.evaluation.histogram import index_of
from pgface.evaluation.run import PhotoEmbedding, evaluate_folder, named_model
from pgface.gallery import Gallery
from pgface.gallery.workers import PhotoWorkers
from pgface.settings import Settings
from support.commands import Run
from support.photos import Photos
from support.sentences import evaluation as says

pytestmark = pytest.mark.slow


@pytest.fixture
def people(faces_dir: Path, group_photo: Path, tmp_path: Path) -> Path:
    """Four people with four photos each, and a photo of several faces."""
    folder = tmp_path / "people"
    for person in ("Donald_Rumsfeld", "Colin_Powell", "George_W_Bush", "Jacques_Chirac"):
        (folder / person).mkdir(parents=True)
        for number in range(1, 5):
            shutil.copy(faces_dir / person / f"{person}_{number:04}.jpg", folder / person)
    shutil.copy(group_photo, folder / "Jacques_Chirac" / "group.jpg")
    return folder


def figures(run: Run, *arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("evaluate", *arguments, "--json").stdout)
    return found


def test_a_folder_of_people(run: Run, people: Path, insightface_pack: Path) -> None:
    found = figures(run, people, "--model", insightface_pack)
    assert (found["photos"], found["people"]) == (17, 4)
    assert found["failure_to_enroll"]["photos"] == 1
    assert found["failure_to_enroll"]["each"][0]["photo"] == "Jacques_Chirac/group.jpg"
    assert found["verification"]["mated_pairs"] == 4 * 6
    assert found["verification"]["non_mated_pairs"] == 6 * 16
    assert found["verification"]["area_under_curve"] > 0.99
    assert found["identification"]["mated_searches"] == 17
    assert found["identification"]["cumulative_match"][0] == pytest.approx(16 / 17)  # the failure is a miss
    assert [target["more_pairs_needed"] for target in found["verification"]["targets"]] == [
        round(30 / 10**-power) - 96 for power in (2, 3, 4, 5, 6)
    ]
    assert len(found["curves"]["fmr"]) == len(found["curves"]["fpir"]) == 401


def test_the_largest_face_can_be_taken(run: Run, people: Path, insightface_pack: Path) -> None:
    assert figures(run, people, "--model", insightface_pack, "--faces", "largest")["failure_to_enroll"]["photos"] == 0


def test_embeddings_are_cached_until_they_are_deleted(
    run: Run, people: Path, insightface_pack: Path, settings: Settings
) -> None:
    first = figures(run, people, "--model", insightface_pack)
    cached = [file for file in (settings.data_dir / "evaluated").rglob("*") if file.is_file()]
    assert len(cached) == 17
    assert figures(run, people, "--model", insightface_pack) == first
    assert says.CACHED_EMBEDDINGS_WERE_DELETED in run("evaluate", "--forget").stdout
    assert not (settings.data_dir / "evaluated").exists()
    figures(run, people, "--model", insightface_pack, "--no-cache")
    assert not (settings.data_dir / "evaluated").exists()


def test_a_page_with_the_worst_errors(run: Run, people: Path, insightface_pack: Path, tmp_path: Path) -> None:
    shutil.move(
        people / "Jacques_Chirac" / "Jacques_Chirac_0001.jpg", people / "Colin_Powell" / "Chirac.jpg"
    )  # a wrong label
    (people / "Colin_Powell").rename(people / "<b>Colin & Powell")
    done = run("evaluate", people, "--model", insightface_pack, "--html", tmp_path / "page.html")
    assert says.THE_PAGE_SHOWS_FACES_AND_NAMES in done.stdout
    page = (tmp_path / "page.html").read_text(encoding="utf-8").replace("<wbr>", "")
    assert (tmp_path / "page.html").stat().st_mode & 0o077 == 0
    assert not re.search(r"(src|href)=\"(?!data:image/jpeg;base64,|#)", page)
    assert "<b>" not in page
    assert page.count("<svg") == 4
    shown_photos = r"</h2>.*?class=\"similarity\""
    nearest = re.search(says.MOST_SIMILAR_PHOTOS_OF_TWO_PEOPLE.pattern() + shown_photos, page, re.DOTALL)
    assert nearest is not None
    assert "&lt;b&gt;Colin &amp; Powell/Chirac.jpg" in nearest[0]  # it shows Jacques Chirac
    run(
        "evaluate", people, "--model", insightface_pack, "--html", tmp_path / "page.html"
    )  # it replaces an earlier page
    photo = people / "<b>Colin & Powell" / "Chirac.jpg"
    before = photo.read_bytes()
    refused = run("evaluate", people, "--model", insightface_pack, "--html", photo, code=1).stderr
    assert says.THE_FILE_IS_NOT_A_PAGE_OF_PGFACE.is_in(refused)
    assert photo.read_bytes() == before
    furthest = re.search(says.LEAST_SIMILAR_PHOTOS_OF_ONE_PERSON.pattern() + shown_photos, page, re.DOTALL)
    assert furthest is not None
    assert "&lt;b&gt;Colin &amp; Powell/Chirac.jpg" in furthest[0]
    assert "Jacques_Chirac/group.jpg" in page


def test_pairs_of_a_list(run: Run, faces_dir: Path, insightface_pack: Path, tmp_path: Path) -> None:
    numbers = {
        folder.name: sorted(int(photo.stem[-4:]) for photo in folder.iterdir())
        for folder in sorted(faces_dir.iterdir())
    }
    lines = ["5\t20"]
    for one, other in zip(*[iter(numbers)] * 2, strict=True):
        lines += [f"{one}\t{a}\t{b}" for a, b in islice(combinations(numbers[one], 2), 20)]
        lines += [f"{one}\t{a}\t{other}\t{b}" for a, b in islice(product(numbers[one], numbers[other]), 20)]
    file = tmp_path / "pairs.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = figures(run, faces_dir, "--pairs", file, "--model", insightface_pack, "--faces", "largest")
    assert len(found["folds"]["accuracies"]) == 5
    assert found["folds"]["mean"] > 0.95
    assert found["identification"] is None
    assert (found["verification"]["mated_pairs"], found["verification"]["non_mated_pairs"]) == (100, 100)
    mean, standard_error = (f"{100 * found['folds'][name]:.2f}" for name in ("mean", "standard_error"))
    printed = run("evaluate", faces_dir, "--pairs", file, "--model", insightface_pack, "--faces", "largest").stdout
    assert says.ACCURACY_OVER_FOLDS.is_in(printed, mean=mean, standard_error=standard_error)


def test_groups_of_people(run: Run, people: Path, insightface_pack: Path, tmp_path: Path) -> None:
    table = tmp_path / "attributes.csv"
    table.write_text(
        "person,seat\nJacques_Chirac,Paris\nDonald_Rumsfeld,Arlington\nColin_Powell,Washington\nGeorge_W_Bush,Washington\n",
        encoding="utf-8",
    )
    found = figures(run, people, "--model", insightface_pack, "--attributes", table)
    assert [(group["group"], group["people"], group["photos"]) for group in found["groups"]] == [
        ("Arlington", 1, 4),
        ("Paris", 1, 4),
        ("Washington", 2, 8),
    ]
    assert found["groups"][0]["verification"] is None
    assert found["groups"][1]["failure_to_enroll_rate"] == 0.2
    assert "Washington" in run("evaluate", people, "--model", insightface_pack, "--attributes", table).stdout


def test_names_of_groups_are_drawn_unchanged(run: Run, people: Path, insightface_pack: Path, tmp_path: Path) -> None:
    table = tmp_path / "attributes.csv"
    table.write_text(
        "person,<b>income\nJacques_Chirac,<$10\nDonald_Rumsfeld,$10^\nColin_Powell,<$10\nGeorge_W_Bush,$10^\n",
        encoding="utf-8",
    )
    run("evaluate", people, "--model", insightface_pack, "--attributes", table, "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4  # no threshold has both errors, so there is no trade-off
    assert "<b>" not in page
    drawn = page[page.index(says.GROUPS_AT_THE_THRESHOLDS_IN_USE.format(attribute="&lt;b&gt;income")) :]
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert {"FNMR", "FPIR"} <= set(texts)
    for group in ("&lt;$10", "$10^"):
        assert says.GROUP_AND_ITS_PEOPLE.format(group=group, people=2) in " ".join(texts)  # the name has two lines


@pytest.fixture
def enrolled(gallery: Gallery, photos: Photos) -> Gallery:
    """Three people with two photos each and one with one. One photo shows another person."""
    for person, numbers in {"Ariel_Sharon": (1, 2), "Colin_Powell": (1, 2), "Tony_Blair": (1, 2)}.items():
        for number in numbers:
            gallery.enroll(photos(person, number), f"{person}@example.org", face="largest")
    gallery.enroll(photos("Hugo_Chavez", 1), "Hugo_Chavez@example.org", face="largest")
    gallery.enroll(photos("Tony_Blair", 3), "Colin_Powell@example.org", face="largest", allow_other_user=True)
    return gallery


def test_the_gallery_itself(run: Run, enrolled: Gallery, tmp_path: Path) -> None:
    found = figures(run)
    assert (found["photos"], found["people"]) == (8, 4)
    assert found["verify_threshold"] == enrolled.config.verify_threshold
    assert found["verification"]["mated_pairs"] == 1 + 3 + 1
    assert found["verification"]["non_mated_pairs"] == 8 * 7 // 2 - 5
    (tmp_path / "page.html").touch(0o644)  # writing the page makes the file private
    run("evaluate", "--html", tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_mode & 0o077 == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/jpeg') > 4
    assert "Tony_Blair_0003.jpg" in page


def test_an_empty_gallery(run: Run, gallery: Gallery) -> None:
    assert gallery.users() == []
    assert says.NO_PERSON_IS_ENROLLED_YET in run("evaluate", code=1).stderr


def test_photos_and_options_that_cannot_be_evaluated(
    run: Run, people: Path, insightface_pack: Path, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    shutil.copytree(people / "Donald_Rumsfeld", tmp_path / "one" / "Donald_Rumsfeld")
    model = ("--model", insightface_pack)
    assert says.THERE_IS_ONLY_ONE_PERSON in run("evaluate", tmp_path / "one", *model, code=1).stderr
    for person in people.iterdir():
        for photo in sorted(person.iterdir())[1:]:
            photo.unlink()
    assert says.EVERY_PERSON_HAS_ONLY_ONE_PHOTO in run("evaluate", people, *model, code=1).stderr
    for person in people.iterdir():
        for photo in person.iterdir():
            photo.write_bytes(b"no photo")
    assert says.NO_PHOTO_HAS_A_USABLE_FACE.format(photos=4) in run("evaluate", people, *model, code=1).stderr
    without_folder = run("evaluate", *model, code=2).stderr
    assert says.OPTION_NEEDS_A_FOLDER_OF_PHOTOS.is_in(without_folder, option="--model")
    without = run("evaluate", people, code=1, more={"PGFACE_SCHEMA": "nowhere"}).stderr
    assert says.CREATE_A_GALLERY_OR_NAME_A_MODEL in without
    both = ("--pairs", "a", "--attributes", "b")
    refused = run("evaluate", people, *both, code=2).stderr
    assert says.OPTION_CANNOT_BE_USED_WITH_PAIRS.is_in(refused, option="--attributes")
    nowhere = tmp_path / "no" / "a.html"
    assert says.THE_PAGE_CANNOT_BE_WRITTEN in run("evaluate", people, *model, "--html", nowhere, code=1).stderr


def test_rates_equal_those_of_scikit_learn(settings: Settings, faces_dir: Path, insightface_pack: Path) -> None:
    from sklearn.metrics import roc_auc_score, roc_curve  # here, because it takes a second

    how = PhotoEmbedding(settings, named_model(settings, str(insightface_pack)), "largest")
    found = evaluate_folder(faces_dir, how)
    embedded, rates = found.embedded, found.verification
    similarities = (embedded.embeddings @ embedded.embeddings.T)[np.triu_indices(len(embedded.photos), 1)]
    owners = np.array([photo.person for photo in embedded.photos])
    mated = (owners[:, np.newaxis] == owners)[np.triu_indices(len(owners), 1)]
    assert (rates.mated_pairs, rates.non_mated_pairs) == (mated.sum(), (~mated).sum())
    assert rates.area_under_curve == pytest.approx(roc_auc_score(mated, similarities), abs=1e-6)
    fmr, tmr, thresholds = roc_curve(mated, similarities, drop_intermediate=False)
    for place in range(1, len(thresholds), 97):
        at = index_of(float(thresholds[place]))  # rounding up may leave out pairs within 0.0001
        assert rates.fmr[at] == pytest.approx(fmr[place], abs=2e-3)
        assert rates.fnmr[at] == pytest.approx(1 - tmr[place], abs=3e-3)


def test_a_model_that_needs_processes(settings: Settings, people: Path) -> None:
    for person in ("Donald_Rumsfeld", "Jacques_Chirac"):
        shutil.rmtree(people / person)
    for person in ("Colin_Powell", "George_W_Bush"):
        for photo in sorted((people / person).iterdir())[2:]:
            photo.unlink()
    found = evaluate_folder(people, PhotoEmbedding(settings, named_model(settings, "dlib"), "largest"))
    assert (found.used.model, found.used.verify_threshold) == ("dlib", 0.70)
    assert (found.verification.mated_pairs, found.verification.non_mated_pairs) == (2, 4)
    assert found.verification.area_under_curve == 1


def test_a_second_run_embeds_nothing(
    settings: Settings, people: Path, insightface_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []
    embed = PhotoWorkers.embed

    def counted(workers: PhotoWorkers, tasks: list[Any]) -> Iterator[Any]:
        embedded.extend(task.file.name for task in tasks)
        return embed(workers, tasks)

    monkeypatch.setattr(PhotoWorkers, "embed", counted)
    model = named_model(settings, str(insightface_pack))
    evaluate_folder(people, PhotoEmbedding(settings, model))
    assert len(embedded) == 17
    embedded.clear()
    again = evaluate_folder(people, PhotoEmbedding(settings, model))
    assert embedded == []
    assert len(again.embedded.refusals) == 1
    evaluate_folder(
        people, PhotoEmbedding(settings, model, "largest")
    )  # another choice of the face has other embeddings
    assert len(embedded) == 17
