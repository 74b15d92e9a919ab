"""The how-to pages can be followed from top to bottom, and what they show and quote is what pgface says."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from galleries import create_database, drop_database
from pages import HOW_TO, Reader, blocks

from pgface.gallery import Gallery
from pgface.postgres.embedded import EmbeddedPostgres
from pgface.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pgface"
PAGES = ("quick-start", "init", "thresholds", "performance", "troubleshooting", "accounts")
EXAMPLE_URL = "postgresql://faceuser@localhost:5432/facedb"


@pytest.fixture
def server_url(postgres: str) -> Iterator[str]:
    """A database on the server that the page calls the reader's own."""
    url = create_database(postgres)
    yield url
    drop_database(postgres, url)


@pytest.fixture
def reader(tmp_path: Path, faces_dir: Path, server_url: str) -> Iterator[Reader]:
    """Somebody in a folder with photos, who has no server yet."""
    data_dir = tmp_path / "data"
    reader = Reader(
        tmp_path / "reader",
        {"PGFACE_DATA_DIR": str(data_dir), "PGFACE_WORKERS": "1"},
        instead={EXAMPLE_URL: shlex.quote(server_url)},
    )
    for number, name in enumerate(("alice1", "alice2", "alice3"), 1):
        shutil.copy(faces_dir / "Tony_Blair" / f"Tony_Blair_{number:04}.jpg", reader.folder / f"{name}.jpg")
    yield reader
    EmbeddedPostgres(data_dir / "postgres").stop(force=True)


@pytest.fixture
def at_work(reader: Reader, faces_dir: Path, server_url: str, tmp_path: Path) -> Reader:
    """Somebody who has a gallery already, with two photos of each of two people, on a server that runs."""
    reader.environment["PGFACE_DATABASE_URL"] = server_url
    settings = Settings.model_validate({"database_url": server_url, "data_dir": tmp_path / "data"})
    with Gallery.create(settings, model="dlib") as gallery:
        for person in ("Colin_Powell", "Tony_Blair"):
            for photo in sorted((faces_dir / person).iterdir())[:2]:
                gallery.enroll(photo, f"{person}@example.org", face="largest")
    return reader


def put_people(reader: Reader, faces_dir: Path, *, people: int, photos: int) -> None:
    for person in sorted(faces_dir.iterdir())[:people]:
        (reader.folder / "people" / person.name).mkdir(parents=True)
        for photo in sorted(person.iterdir())[:photos]:
            shutil.copy(photo, reader.folder / "people" / person.name)


def test_quick_start(reader: Reader, faces_dir: Path) -> None:
    put_people(reader, faces_dir, people=2, photos=1)
    reader.run("pgface postgres start")  # which the page leaves to each command; starting is tested elsewhere
    said = reader.follow("quick-start.md")
    assert (reader.folder / "answer.png").is_file()
    assert "ariel" in said.lower()
    assert "[('Alice', 0." in said
    # In either server: the tables and the functions that the page counts.
    assert said.count("(20 rows)") == said.count("(4 rows)") == 2
    assert len(re.findall(r"the embedded PostgreSQL .* is ready", said)) == 1
    assert len(re.findall(r"of PostgreSQL .* is ready", said)) == 1


def test_init(reader: Reader) -> None:
    shutil.copytree(ROOT / "deploy", reader.folder / "deploy")
    said = reader.follow("init.md")
    assert (
        len(re.findall(r"is ready: model dlib", said)) == 4
    )  # of public twice, of visitors, and of staff, which psql made
    for name in ("idx_embeddings_vector", "auth_tokens", "verify_face", "before-upgrade.tar"):
        assert name in said
    assert re.search(r"^ +1 \| tables ", said, re.MULTILINE)
    made = re.findall(r"^\| tables \| (.+) \| (.+) \|$", (HOW_TO / "init.md").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(made[0]))
    listed = reader.run(
        'psql "$PGFACE_DATABASE_URL" -At -c "SELECT tablename FROM pg_tables WHERE schemaname = \'public\'"'
    )
    assert sorted(named) == sorted(listed.split())


def test_thresholds(at_work: Reader, faces_dir: Path) -> None:
    put_people(at_work, faces_dir, people=8, photos=2)
    shutil.copy(faces_dir / "Colin_Powell" / "Colin_Powell_0009.jpg", at_work.folder / "probe.jpg")
    said = at_work.follow("thresholds.md")
    assert (at_work.folder / "errors.html").is_file()
    assert "published with dlib" in said
    assert "The thresholds are set; `pgface thresholds --history`" in said
    assert re.search(r"probe\.jpg .* colin_powell", said)
    confidences = re.findall(r"^ *(\d+\.\d+)$", said, re.MULTILINE)
    assert len(confidences) == 2
    assert float(confidences[0]) == pytest.approx(float(confidences[1]))


def test_performance(at_work: Reader, faces_dir: Path) -> None:
    put_people(at_work, faces_dir, people=2, photos=2)
    said = at_work.follow("performance.md")
    assert "500 loaded" in said
    assert "Imported 508 embeddings and 5 people" in said
    assert "Identification compares with everybody" in said
    assert "100 people × 5 photos" in said
    assert "VACUUM" in said


def test_troubleshooting(at_work: Reader) -> None:
    shutil.copy(at_work.folder / "alice3.jpg", at_work.folder / "probe.jpg")
    said = at_work.follow("troubleshooting.md")
    assert "0 problems" in said
    assert "Scan" in said
    assert re.search(r"probe\.jpg .* tony_blair", said)
    assert re.search(r"dlib_lift\.npy +whole", said)
    assert "The embedded PostgreSQL is stopped." in said


def test_accounts(at_work: Reader) -> None:
    try:
        said = at_work.follow("accounts.md")
    finally:
        at_work.run(
            'psql "$PGFACE_DATABASE_URL" -c "DROP OWNED BY face_service, face_reader" '
            '-c "DROP ROLE face_service, face_reader"'
        )
    assert "login by password" in said
    assert "There are 0 frames and not 10 to 100." in said
    assert "Key 1 opens nothing any more." in said


def test_what_is_not_run_says_why() -> None:
    reasons = {(page, block.not_run) for page in PAGES for block in blocks(f"{page}.md") if block.not_run}
    assert reasons == {
        ("quick-start", "it installs packages"),
        ("quick-start", "it needs an administrator of a server"),
        ("quick-start", "it needs a container engine"),
        ("init", "there is no such database"),
        ("troubleshooting", "it needs a container engine"),
    }


@cache
def sentences() -> str:
    """What pgface can say: its texts, with … where something is put in, in one line each."""
    found = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(" ".join(node.value.split()))
    for file in (SOURCE / "schema").rglob("*.sql"):
        found += [
            text.replace("%", "…")
            for text in re.findall(r"RAISE EXCEPTION '(.+?)'[^']*?USING", joined(file), re.DOTALL)
        ]
    return re.sub("…+", "…", "\n".join(found))


def joined(file: Path) -> str:
    """SQL's adjacent string literals as one."""
    return re.sub(r"'\s*\n\s*'", "", file.read_text("utf-8"))


QUOTED = re.findall(r"^> (.+)$", (HOW_TO / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("quoted", QUOTED)
def test_quoted_sentences_are_those_of_the_program(quoted: str) -> None:
    assert quoted in sentences()


def test_sentences_are_quoted() -> None:
    assert len(QUOTED) > 20
