"""Each extra in an environment that has it and pgface alone: all that it needs comes with it, and it does its job."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pgface.database.embedded.server import binaries
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.commands import environment_of
from support.environments import (
    ROOT,
    build,
    link_extras,
    new_environment,
    packages_of,
    pip_install,
    run,
)
from support.galleries import link_pack
from support.photos import Photos
from support.serve import serving_by

pytestmark = pytest.mark.slow

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
NOT_A_FEATURE = {"all"}
HEIC = """
from PIL import Image
from pillow_heif import register_heif_opener

from pgface.faces.photo import PhotoLimits, open_photo

register_heif_opener()
Image.new("RGB", (64, 48), (200, 120, 80)).save("photo.heic")
with open_photo("photo.heic", PhotoLimits(10**6, 10**6, 10**8)) as photo:
    print(*photo.pixels.shape)
"""
SCRIPTS = """
from pgface.faces.fonts import font_for

for name in ("محمد بن سلمان", "สมชาย ใจดี", "山田 太郎"):
    print(font_for(name, 20).path)
"""

Command = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build(folder, "--wheel")
    (wheel,) = folder.iterdir()
    return wheel


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of an environment with pgface and no extra, which each other environment sees."""
    folder = tmp_path_factory.mktemp("plain")
    python = new_environment(folder / "venv", sees=[])
    pip_install(python, "--no-deps", wheel)
    packages = packages_of(python)
    link_extras(python, [], plain=packages)
    return packages


@pytest.fixture
def python(request: pytest.FixtureRequest, plain: Path, tmp_path: Path) -> Path:
    """The Python of an environment with the extras that a test asks for."""
    python = new_environment(tmp_path / "venv", sees=[plain])
    link_extras(python, request.param.split(","), plain=plain)
    return python


@pytest.fixture
def pgface(python: Path, settings: Settings, tmp_path: Path) -> Command:
    """Runs a command of that environment on the test's gallery."""

    def command(*arguments: object, **more: str) -> str:
        return run(python, "-m", "pgface", *arguments, cwd=tmp_path, more=environment_of(settings) | more)

    return command


@pytest.fixture
def _enrolled(settings: Settings, photos: Photos) -> None:
    """A gallery of two people with two photos each."""
    with Gallery.create(settings, model="sface") as gallery:
        for person in ("Colin_Powell", "Gerhard_Schroeder"):
            for number in (1, 2):
                gallery.enroll(photos(person, number), f"{person.lower()}@example.org", name=person, face="largest")


_tested: set[str] = set()


def with_extras(*extras: str) -> pytest.MarkDecorator:
    """Run a test in an environment with these extras."""
    _tested.update(extras)
    return pytest.mark.parametrize("python", [",".join(extras)], indirect=True)


def test_each_extra_has_a_test() -> None:
    assert set(EXTRAS) - NOT_A_FEATURE == _tested


@with_extras("embedded")
def test_embedded_runs_a_postgresql(python: Path, tmp_path: Path) -> None:
    data = {"PGFACE_DATA_DIR": str(tmp_path / "data")}
    run(python, "-m", "pgface", "postgres", "start", cwd=tmp_path, more=data)
    try:
        assert (
            run(python, "-m", "pgface", "postgres", "psql", "-Atc", "SELECT 6 * 7", cwd=tmp_path, more=data) == "42\n"
        )
    finally:
        run(python, "-m", "pgface", "postgres", "stop", cwd=tmp_path, more=data)


@with_extras("dlib")
def test_dlib_enrolls_and_identifies(pgface: Command, photos: Photos) -> None:
    enrolls_and_identifies(pgface, photos, PGFACE_MODEL="dlib")


@with_extras("sface")
def test_sface_enrolls_and_identifies(pgface: Command, photos: Photos) -> None:
    enrolls_and_identifies(pgface, photos)


@with_extras("openvino", "sface")
def test_openvino_embeds_faces(pgface: Command, photos: Photos) -> None:
    pgface("init", PGFACE_MODEL="sface")
    pgface("enroll", "--user", "colin@example.org", photos("Colin_Powell", 1))
    assert "embedding: OpenVINO (CPU)" in pgface("models", "list")


@with_extras("insightface")
def test_insightface_enrolls_and_identifies(
    pgface: Command, photos: Photos, settings: Settings, insightface_pack: Path
) -> None:
    link_pack(insightface_pack, settings.models_dir)
    enrolls_and_identifies(pgface, photos, PGFACE_MODEL=insightface_pack.name)


def enrolls_and_identifies(pgface: Command, photos: Photos, **more: str) -> None:
    """The job of the demo: enroll a person, and find the person again on another photo."""
    pgface("init", **more)
    pgface("enroll", "--user", "colin@example.org", "--name", "Colin Powell", photos("Colin_Powell", 1), **more)
    assert "Colin Powell" in pgface("identify", photos("Colin_Powell", 2), **more)


@with_extras("heif")
def test_heif_reads_a_heic_photo(python: Path, tmp_path: Path) -> None:
    assert run(python, "-c", HEIC, cwd=tmp_path) == "48 64 3\n"


@with_extras("fonts")
def test_fonts_bring_letters_of_other_scripts(python: Path, tmp_path: Path) -> None:
    files = run(python, "-c", SCRIPTS, cwd=tmp_path).splitlines()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(packages_of(python)) for file in files)


@with_extras("server", "client", "sface")
def test_server_serves_the_client(python: Path, pgface: Command, settings: Settings, tmp_path: Path) -> None:
    pgface("init")
    command = [str(python), "-m", "pgface", "serve", "--port", "0"]
    with serving_by(command, environment_of(settings), tmp_path) as service:
        program = f"from pgface.client import Client; print(Client({service.url!r}).readyz().ready)"
        assert run(python, "-c", program, cwd=tmp_path, more={"NO_PROXY": "127.0.0.1"}) == "True\n"
        assert service.end() == 0


@with_extras("s3", "server")
def test_s3_opens_a_store(python: Path, tmp_path: Path) -> None:
    program = (
        "from pgface.server.compat.rekognition.images import _client; print(_client('http://x').meta.endpoint_url)"
    )
    assert run(python, "-c", program, cwd=tmp_path) == "http://x\n"


@with_extras("parquet")
@pytest.mark.usefixtures("_enrolled")
def test_parquet_is_exported(pgface: Command, tmp_path: Path) -> None:
    assert "4 embeddings" in pgface("export", "gallery.parquet")
    assert (tmp_path / "gallery.parquet").read_bytes()[:4] == b"PAR1"


@with_extras("plots")
@pytest.mark.usefixtures("_enrolled")
def test_plots_are_drawn_into_a_page(pgface: Command, tmp_path: Path) -> None:
    pgface("evaluate", "--html", "page.html")
    assert "<svg" in (tmp_path / "page.html").read_text("utf-8")


@pytest.fixture
def _programs_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump of the server's version, which an operator installs beside pgface."""
    monkeypatch.setenv("PATH", str(binaries(18)), prepend=":")


@with_extras("backup")
@pytest.mark.usefixtures("_enrolled", "_programs_on_path")
def test_backup_is_encrypted(pgface: Command, tmp_path: Path) -> None:
    pgface("backup", "gallery.age", PGFACE_BACKUP_PASSPHRASE="a long enough phrase")
    assert (tmp_path / "gallery.age").read_bytes().startswith(b"key.age\0")


@with_extras("bench")
def test_bench_compares_with_faiss(pgface: Command) -> None:
    assert "FAISS" in pgface("bench", "--people", "20", "--probes", "50", "--clients", "0")
