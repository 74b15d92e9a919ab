"""Data folders on file systems without hard links, symbolic links, locks, modes and other operations."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from pgface.settings import Settings
from pgface.system.file_systems import write_once
from support.commands import Run, environment_of, process_runner, without_settings
from support.photos import Photos
from support.sentences import database as says
from support.sentences import doctor as says_of_files

pytestmark = pytest.mark.slow

NATIVE = Path(__file__).parents[1] / "support" / "native"

Lacking = Callable[..., dict[str, str]]
"""Returns the variables that make these calls fail in a process."""


@pytest.fixture(scope="session")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> Lacking:
    if sys.platform != "linux" or shutil.which("gcc") is None:
        pytest.skip("gcc is missing, which compiles the library that makes calls fail")
    library = tmp_path_factory.mktemp("native") / "lacking.so"
    command = ["gcc", "-shared", "-fPIC", "-o", str(library), str(NATIVE / "lacking.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return lambda *names: {"LD_PRELOAD": str(library), "LACKING": " ".join(names)}


EVERYTHING = ("hardlink", "symlink", "flock", "ENOLCK", "fsync", "chmod", "utime")

USE = """
import sys
from pathlib import Path
from pgface.operations.backup.atomic_file import atomic_file
from pgface.errors import PgfaceError
from pgface.evaluation.run import PhotoEmbedding, evaluate_folder, named_model
from pgface.gallery import Gallery
from pgface.settings import Settings
pack, photo, other, people, archive = sys.argv[1:]
try:
    with Gallery.create(Settings(), model=pack) as gallery:
        assert gallery.enroll(photo, "powell@example.org").added
        assert gallery.verify(other, "powell@example.org").match
        assert gallery.stray_photo_files() == []
    for _ in range(2):
        evaluate_folder(Path(people), PhotoEmbedding(Settings(), named_model(Settings(), pack)))
    for _ in range(2):
        with atomic_file(Path(archive), replace=True) as stream:
            stream.write(b"whole")
except PgfaceError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def use(settings: Settings, insightface_pack: Path, photos: Photos, tmp_path: Path) -> Callable[..., str]:
    """Make a gallery, enroll, evaluate and write an archive in another process. Return its last output."""
    people = tmp_path / "people"
    for person in ("Colin_Powell", "George_W_Bush"):
        (people / person).mkdir(parents=True)
        for number in (1, 2):
            shutil.copy(photos(person, number), people / person)
    pack = tmp_path / "elsewhere" / "own_pack"
    shutil.copytree(insightface_pack, pack)
    arguments = [pack, photos("Colin_Powell", 1), photos("Colin_Powell", 2), people, tmp_path / "an.archive"]

    def run(variables: dict[str, str]) -> str:
        environment = {**without_settings(), **environment_of(settings), **variables}
        command = [sys.executable, "-c", USE, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr.strip()

    return run


def files_below(folder: Path) -> list[str]:
    """List the files, without the random names of crops."""
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted("crop" if path.suffix == ".jpg" else path.name for path in found)


@pytest.mark.parametrize(
    "names",
    [(), ("hardlink",), ("flock",), EVERYTHING],
    ids=lambda names: "+".join(names) or "nothing",
)
def test_a_file_system_without(
    names: tuple[str, ...], lacking: Lacking, use: Callable[..., str], settings: Settings, tmp_path: Path
) -> None:
    assert use(lacking(*names)) == ""
    assert files_below(settings.photos_dir) == ["crop", "folder-id"]
    assert (tmp_path / "an.archive").read_bytes() == b"whole"
    assert list(tmp_path.glob("*.partial")) == []
    cached = settings.data_dir / "evaluated"
    assert len([path for path in cached.rglob("*") if path.is_file()]) == 4
    assert (settings.models_dir / "own_pack").is_dir()


def test_a_failure_leaves_no_file_behind(lacking: Lacking, use: Callable[..., str], settings: Settings) -> None:
    for _ in range(2):
        assert "Error: " in use(lacking("rename"))
        there = [path for folder in (settings.photos_dir, settings.models_dir) for path in folder.rglob("*")]
        assert [path for path in there if not path.is_dir()] == []


def test_the_embedded_server_says_that_it_needs_locks(lacking: Lacking, tmp_path: Path) -> None:
    run: Run = process_runner({"PGFACE_DATA_DIR": str(tmp_path / "data")})
    for error in ((), ("ENOLCK",)):
        refused = run("status", code=1, more=lacking("flock", *error))
        assert says.FILE_SYSTEM_HAS_NO_LOCKS.is_in(refused.stderr)


def test_the_text_of_the_first_of_several_processes_wins(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        for number in range(20):
            file = tmp_path / str(number) / "folder-id"
            file.parent.mkdir()
            texts = list(pool.map(lambda _, file=file: write_once(file, uuid4().hex), range(16)))
            assert len(set(texts)) == 1
            assert file.read_text(encoding="utf-8") == texts[0]
            assert os.listdir(file.parent) == ["folder-id"]


def test_the_work_of_a_killed_process_is_finished(tmp_path: Path) -> None:
    """It had renamed its folder to the common name, and not yet created the file."""
    file = tmp_path / "folder-id"
    (tmp_path / "folder-id-first").mkdir()
    (tmp_path / "folder-id-first" / "folder-id").write_text("text of the killed process", encoding="utf-8")
    assert write_once(file, "mine") == "text of the killed process"
    assert os.listdir(tmp_path) == ["folder-id"]


# A pack in a folder


def test_a_pack_is_copied_and_its_folder_can_be_deleted(
    run: Run, insightface_pack: Path, photos: Photos, settings: Settings, tmp_path: Path
) -> None:
    pack = tmp_path / "own_pack"
    shutil.copytree(insightface_pack, pack)
    run("init", "--model", pack)
    shutil.rmtree(pack)
    assert not (settings.models_dir / "own_pack").is_symlink()
    run("enroll", photos("Colin_Powell", 1), "--user", "powell@example.org")
    assert json.loads(run("identify", photos("Colin_Powell", 2), "--json").stdout)["photos"][0]["faces"][0][
        "identified"
    ]


def test_a_link_of_a_former_version_is_replaced(
    run: Run, insightface_pack: Path, settings: Settings, tmp_path: Path
) -> None:
    pack = tmp_path / "own_pack"
    shutil.copytree(insightface_pack, pack)
    settings.models_dir.mkdir(parents=True)
    link = settings.models_dir / "own_pack"
    for target in (pack, tmp_path / "gone"):
        link.symlink_to(target)
        run("init", "--model", pack)
        assert link.is_dir()
        assert not link.is_symlink()
        assert sorted(os.listdir(settings.models_dir)) == ["own_pack"]
        shutil.rmtree(link)
    link.symlink_to(pack)
    found = {row["check"]: row for row in json.loads(run("doctor", "--json", code=1).stdout)["findings"]}
    assert says_of_files.THE_MODEL_IS_A_LINK.is_in(found["model"]["found"], folder=pack)
    assert f"pgface models install own_pack --from {pack} --accept-license" in found["model"]["remedy"]


def test_another_pack_of_the_same_name_is_refused(
    run: Run, insightface_pack: Path, settings: Settings, tmp_path: Path
) -> None:
    pack = tmp_path / "own_pack"
    shutil.copytree(insightface_pack, pack)
    shutil.copytree(insightface_pack, settings.models_dir / "own_pack")
    (recognition,) = (settings.models_dir / "own_pack").glob("w600k*.onnx")
    with recognition.open("ab") as stream:
        stream.write(b"\x92\x01\x00")  # an empty field of the file's format
    assert "own_pack" in run("init", "--model", pack, code=1).stderr
    assert json.loads(run("doctor", "--json", code=1).stdout)  # the gallery exists, and is not bound to a model
