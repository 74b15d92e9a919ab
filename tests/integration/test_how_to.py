"""The how-to pages work from top to bottom, and their output and quotations are those of pgface."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil
import pytest
from prometheus_client import Counter, Gauge, Histogram

from pgface.cli.output import with_options
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.gallery import Gallery
from pgface.server import metrics
from pgface.settings import Settings
from support.databases import create_database, drop_database
from support.documentation import HOW_TO, Reader, blocks
from support.old_installation import write_sqlite
from support.sentences import Sentence, accounts, benchmark, commands, evaluation, reembed, search
from support.sentences import how_to as says
from support.serve import serving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pgface"
SERVICE_PAGES = ("service", "api-client", "python-client", "operations", "behind-a-proxy", "security")
PAGES = (
    *("quick-start", "quick-start.id", "init", "thresholds", "performance", "troubleshooting", "accounts", "flask"),
    *("reembed", "people"),
    *SERVICE_PAGES,
)
ALICE = "Donald_Rumsfeld"
"""The person in the reader's photos. Each of the first three shows one face."""
SERVICE_URL = "http://127.0.0.1:8000"
EXAMPLE_URL = "postgresql://faceuser@localhost:5432/facedb"


@pytest.fixture
def server_url(postgres: str) -> Iterator[str]:
    """Create a database on a server that stands for the reader's own."""
    url = create_database(postgres)
    yield url
    drop_database(postgres, url)


@pytest.fixture
def reader(tmp_path: Path, faces_dir: Path, server_url: str) -> Iterator[Reader]:
    """Return a reader in a folder with photos, without a server."""
    data_dir = tmp_path / "data"
    reader = Reader(
        tmp_path / "reader",
        {"PGFACE_DATA_DIR": str(data_dir), "PGFACE_WORKERS": "1"},
        instead={EXAMPLE_URL: shlex.quote(server_url)},
    )
    for number, name in enumerate(("alice1", "alice2", "alice3"), 1):
        shutil.copy(faces_dir / ALICE / f"{ALICE}_{number:04}.jpg", reader.folder / f"{name}.jpg")
    yield reader
    EmbeddedPostgres(data_dir / "postgres").stop(force=True)


@pytest.fixture
def reader_with_gallery(reader: Reader, faces_dir: Path, server_url: str, tmp_path: Path) -> Reader:
    """Return a reader with a gallery on a running server, with two photos of each of two people."""
    reader.environment["PGFACE_DATABASE_URL"] = server_url
    settings = Settings.model_validate({"database_url": server_url, "data_dir": tmp_path / "data"})
    with Gallery.create(settings, model="sface") as gallery:
        for person in ("Colin_Powell", ALICE):
            for photo in sorted((faces_dir / person).iterdir())[:2]:
                gallery.enroll(photo, f"{person}@example.org", face="largest")
    return reader


def copy_people(reader: Reader, faces_dir: Path, *, people: int, photos: int) -> None:
    for person in sorted(faces_dir.iterdir())[:people]:
        (reader.folder / "people" / person.name).mkdir(parents=True)
        for photo in sorted(person.iterdir())[:photos]:
            shutil.copy(photo, reader.folder / "people" / person.name)


def lines_with(sentence: Sentence, said: str) -> int:
    return sum(sentence.is_in(line) for line in said.splitlines())


def test_the_quick_start_has_the_same_commands_in_both_languages() -> None:
    assert blocks("quick-start.id.md") == blocks("quick-start.md")


def test_quick_start(reader: Reader, faces_dir: Path) -> None:
    copy_people(reader, faces_dir, people=2, photos=1)
    reader.run("pgface postgres start")  # otherwise each command starts and stops the server
    said = reader.follow("quick-start.md")
    assert (reader.folder / "answer.png").is_file()
    assert "ariel" in said.lower()
    assert "[('Alice', 0." in said
    # The numbers of tables and functions on the page, for each of the two servers.
    assert said.count("(40 rows)") == said.count("(8 rows)") == 2
    assert lines_with(says.GALLERY_OF_THE_EMBEDDED_SERVER_IS_READY, said) == 1
    assert lines_with(says.GALLERY_OF_ANOTHER_SERVER_IS_READY, said) == 1


def test_init(reader: Reader) -> None:
    shutil.copytree(ROOT / "deploy", reader.folder / "deploy")
    said = reader.follow("init.md")
    # Twice for public, once for visitors, and once for staff, which psql created.
    assert said.count(commands.GALLERY_IS_READY.format(model="sface")) == 4
    for name in ("idx_embeddings_vector", "auth_tokens", "verify_face", "before-upgrade.tar"):
        assert name in said
    assert re.search(r"^ +1 \| schema ", said, re.MULTILINE)
    made = re.findall(r"^\| tables \| (.+) \| (.+) \|$", (HOW_TO / "init.md").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(made[0]))
    listed = reader.run(
        'psql "$PGFACE_DATABASE_URL" -At -c "SELECT tablename FROM pg_tables WHERE schemaname = \'public\'"'
    )
    assert sorted(named) == sorted(listed.split())


def test_thresholds(reader_with_gallery: Reader, faces_dir: Path) -> None:
    copy_people(reader_with_gallery, faces_dir, people=8, photos=2)
    shutil.copy(faces_dir / "Colin_Powell" / "Colin_Powell_0009.jpg", reader_with_gallery.folder / "probe.jpg")
    said = reader_with_gallery.follow("thresholds.md")
    assert (reader_with_gallery.folder / "errors.html").is_file()
    assert evaluation.PUBLISHED_WITH_A_MODEL.format(model="sface") in said
    assert evaluation.THE_THRESHOLDS_ARE_SET in said
    assert re.search(r"probe\.jpg .* colin_powell", said)
    confidences = re.findall(r"^ *(\d+\.\d+)$", said, re.MULTILINE)
    assert len(confidences) == 2
    assert float(confidences[0]) == pytest.approx(float(confidences[1]))


def test_people(reader: Reader, server_url: str) -> None:
    reader.environment["PGFACE_DATABASE_URL"] = server_url
    reader.run("pgface init")
    assert "night shift, staff" in reader.follow("people.md")


def test_reembed(reader: Reader, faces_dir: Path, server_url: str, tmp_path: Path) -> None:
    reader.environment["PGFACE_DATABASE_URL"] = server_url
    settings = Settings.model_validate({"database_url": server_url, "data_dir": tmp_path / "data"})
    with Gallery.create(settings, model="dlib") as gallery:
        for number in (1, 2):
            gallery.enroll(reader.folder / f"alice{number}.jpg", "alice@example.org", face="largest")
        gallery.enroll(faces_dir / "Colin_Powell" / "Colin_Powell_0001.jpg", "colin@example.org", face="largest")
    (reader.folder / "originals").mkdir()
    shutil.copy(reader.folder / "alice2.jpg", reader.folder / "originals" / "renamed.jpg")
    said = reader.follow("reembed.md")
    assert (reader.folder / "before.tar").is_file()
    assert reembed.DRY_RUN in said
    assert reembed.GALLERY_HAS_THE_MODEL_NOW.format(model="sface") in said
    assert "(1 from original photos, 2 from crops)" in said
    assert reembed.GALLERY_HAS_THE_MODEL_NOW.format(model="dlib") in said


def test_performance(reader_with_gallery: Reader, faces_dir: Path) -> None:
    copy_people(reader_with_gallery, faces_dir, people=2, photos=2)
    said = reader_with_gallery.follow("performance.md")
    assert "500 loaded" in said
    assert says.IMPORTED.format(embeddings=508, people=5) in said
    assert search.COMPARES_WITH_EVERY_EMBEDDING in said
    assert benchmark.GALLERY.format(people=100, kind="clustered") in said
    assert "VACUUM" in said


def test_troubleshooting(reader_with_gallery: Reader) -> None:
    shutil.copy(reader_with_gallery.folder / "alice3.jpg", reader_with_gallery.folder / "probe.jpg")
    said = reader_with_gallery.follow("troubleshooting.md")
    assert "0 problems" in said
    assert "Scan" in said
    assert re.search(r"probe\.jpg .* donald_rumsfeld", said)
    assert re.search(r"dlib_lift\.npy +whole", said)
    assert says.EMBEDDED_SERVER_IS_STOPPED in said


@contextmanager
def no_roles_left(reader: Reader) -> Iterator[None]:
    """Drop the roles that the page creates, because they belong to the server and not to the database."""
    try:
        yield
    finally:
        drop = "format('DROP OWNED BY %1$I', rolname), format('DROP ROLE %1$I', rolname)"
        roles = f"SELECT {drop} FROM pg_roles WHERE rolname IN ('face_service', 'face_reader')"
        reader.run(f"psql \"$PGFACE_DATABASE_URL\" -v ON_ERROR_STOP=1 <<'END'\n{roles} \\gexec\nEND")


def test_accounts(reader_with_gallery: Reader) -> None:
    with no_roles_left(reader_with_gallery):
        said = reader_with_gallery.follow("accounts.md")
    assert "login by password" in said
    assert accounts.LOGIN_BY_FACE_REFUSED in said
    assert says.KEY_IS_REVOKED.format(key=1) in said


@pytest.fixture
def with_service(reader_with_gallery: Reader, tmp_path: Path) -> Iterator[Reader]:
    """Return a reader with a running service, in which the person of the page's photos is not enrolled."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not on this machine")
    reader_with_gallery.run("pgface users delete donald_rumsfeld@example.org --yes")
    settings = ("PGFACE_DATABASE_URL", "PGFACE_DATA_DIR", "PGFACE_WORKERS")
    environment = {name: reader_with_gallery.environment[name] for name in settings}
    with serving(environment, tmp_path, "--compreface") as service:
        reader_with_gallery.instead[SERVICE_URL] = service.url
        reader_with_gallery.environment["NO_PROXY"] = "127.0.0.1"
        yield reader_with_gallery
        assert service.end() == 0


def test_service(with_service: Reader) -> None:
    said = with_service.follow("service.md")
    assert re.findall(r'"administrator": (\w+)', said) == ["false", "true"]
    said = with_service.follow("compreface.md")
    assert float(re.findall(r'"similarity" : (.+)', said)[0]) > 0.9
    assert (with_service.folder / "recognition.header").stat().st_mode & 0o777 == 0o600


def test_api_client(with_service: Reader) -> None:
    said = with_service.follow("api-client.md")
    assert '{"active":false}' in said
    assert (with_service.folder / "door.header").stat().st_mode & 0o777 == 0o600


def test_python_client(with_service: Reader) -> None:
    said = with_service.follow("python-client.md")
    assert (with_service.folder / "door.key").stat().st_mode & 0o777 == 0o600
    key = (with_service.folder / "door.key").read_text().strip()
    assert key.startswith("pgface_")
    assert key not in said


def test_operations(with_service: Reader) -> None:
    said = with_service.follow("operations.md")
    assert '"ready":true' in said
    assert (with_service.folder / "operations.header").stat().st_mode & 0o777 == 0o600


def test_security(reader_with_gallery: Reader) -> None:
    with no_roles_left(reader_with_gallery):
        said = reader_with_gallery.follow("security.md")
    assert "face_reader may search" in said


def test_flask(with_service: Reader) -> None:
    # An old installation moves into an empty gallery.
    with_service.run("pgface users delete colin_powell@example.org --yes")
    shutil.copytree(ROOT / "examples" / "flask_introspection", with_service.folder / "examples" / "flask_introspection")
    write_sqlite(with_service.folder / "old.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with_service.instead |= {"http://127.0.0.1:5000": f"http://127.0.0.1:{port}", "--port 5000": f"--port {port}"}
    try:
        said = with_service.follow("flask.md")
    finally:
        if (process := with_service.folder / "flask.pid").exists():
            end(int(process.read_text()))
    assert "siti@example.org" in with_service.run("pgface users list")
    assert "[['Alice']]" in said


def end(process: int) -> None:
    """End the process of a page's background command if it still runs after a failure."""
    with suppress(psutil.NoSuchProcess):
        left = psutil.Process(process)
        if "flask" in left.cmdline():
            left.terminate()


def test_the_pages_of_the_service_name_existing_options_and_metrics() -> None:
    page = "\n".join((HOW_TO / f"{name}.md").read_text("utf-8") for name in SERVICE_PAGES)
    reference = (HOW_TO.parent / "reference" / "command-line.md").read_text("utf-8")
    (options,) = re.findall(r"^##+ `pgface serve`$(.+?)^##", reference, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"--[\w-]+", " ".join(re.findall(r"pgface serve(.*)", page))))
    assert named == {"--host", "--port", "--certificate", "--key"}
    assert named <= set(re.findall(r"--[\w-]+", options))
    kept = {
        f"{value._name}_total" if isinstance(value, Counter) else value._name
        for value in vars(metrics).values()
        if isinstance(value, Counter | Gauge | Histogram)
    }
    assert set(re.findall(r"`(pgface_\w+)`", page)) == kept


def test_commands_that_are_not_run_have_a_reason() -> None:
    reasons = {(page, block.not_run) for page in PAGES for block in blocks(f"{page}.md") if block.not_run}
    assert reasons == {
        ("init", "there is no such database"),
        ("troubleshooting", "it needs a container engine"),
        *(
            (page, why)
            for page in ("quick-start", "quick-start.id")
            for why in ("it installs packages", "it needs an administrator of a server", "it needs a container engine")
        ),
        *((page, "it serves until it is ended") for page in ("service", "behind-a-proxy", "security")),
        ("flask", "it serves until it is ended"),
        ("python-client", "it installs packages"),
    }


@cache
def sentences() -> str:
    """Return the texts of pgface as its commands print them, one a line. `…` stands for a value."""
    found = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(" ".join(node.value.split()))
    for file in (SOURCE / "database" / "sql").rglob("*.sql"):
        found += [
            text.replace("%", "…")
            for text in re.findall(r"RAISE EXCEPTION '(.+?)'[^']*?USING", with_joined_literals(file), re.DOTALL)
        ]
    return with_options(re.sub("…+", "…", "\n".join(found)))


def with_joined_literals(file: Path) -> str:
    """Join adjacent string literals of SQL."""
    return re.sub(r"'\s*\n\s*'", "", file.read_text("utf-8"))


QUOTED = re.findall(r"^> (.+)$", (HOW_TO / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("quoted", QUOTED)
def test_quoted_sentences_are_in_the_program(quoted: str) -> None:
    assert quoted in sentences()


def test_sentences_are_quoted() -> None:
    assert len(QUOTED) > 20
