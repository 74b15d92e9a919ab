"""The program of `make bench-search`, on a gallery so small that its figures have no meaning."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench_search import main
from load_part import _build_again
from pgface.operations.bench.loading import loaded_gallery
from pgface.operations.bench.synthetic import Kind, SyntheticPeople
from pgface.settings import Settings
from support.commands import without_settings
from support.galleries import everything
from support.sentences import benchmark as says

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "bench_search.py"
VARIANTS = PROGRAM.with_name("bench_search_variants.py")
QUICK = ("--people", 200, "--probes", 60, "--seconds", 0.2, "--patience", 0.1)


@pytest.fixture
def schema_name() -> str:
    """The schema of the gallery in the settings, which does not exist."""
    return "public"


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """The environment, with a latency target that no scan can meet."""
    assert settings.database_url is not None
    return {
        "PGFACE_DATABASE_URL": settings.database_url.get_secret_value(),
        "PGFACE_SEARCH_LATENCY_TARGET": "0.000001",
    }


def bench_search(environment: dict[str, str], cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, *map(str, arguments)],
        env=without_settings() | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def some_photos(folder: Path, pack: Path, faces_dir: Path) -> Path:
    """Make a folder with the pack and seven photos of each person. The program enrolls five, and identifies two."""
    (folder / "data" / "models").mkdir(parents=True)
    (folder / "data" / "models" / pack.name).symlink_to(pack)
    for person in faces_dir.iterdir():
        (folder / "data" / "faces" / person.name).mkdir(parents=True)
        for photo in sorted(person.iterdir())[:7]:
            (folder / "data" / "faces" / person.name / photo.name).symlink_to(photo)
    return folder


def rows_of(figures: dict[str, Any], title: str) -> list[dict[str, Any]]:
    (rows,) = (found["rows"] for found in figures["tables"] if title in found["title"])
    assert isinstance(rows, list)
    return rows


def test_it_runs_to_the_end_and_leaves_nothing(
    environment: dict[str, str],
    insightface_pack: Path,
    faces_dir: Path,
    database_url: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    environment["PGFACE_TEST_SHARED"] = str(some_photos(tmp_path_factory.mktemp("shared"), insightface_pack, faces_dir))
    written = ("--json", "figures.json", "--plot", "plot.png")
    done = bench_search(environment, tmp_path, *QUICK, "--kind", "clustered", "--clients", 2, *written)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert says.EXACT_ANSWERS_OF_A_GALLERY.format(people=200, kind="clustered") in done.stdout
    assert "Targets: " in done.stdout
    assert (tmp_path / "plot.png").stat().st_size > 10_000

    figures = json.loads((tmp_path / "figures.json").read_text(), parse_constant=pytest.fail)
    assert figures["machine"]["cores"]
    assert figures["server"]["shared_buffers"] > 0
    (result,) = figures["results"]
    assert (result["people"], result["mated_agreement"]["trials"], len(result["crowds"])) == (200, 60, 3)
    assert {"NumPy, exact"} <= {curve["name"] for curve in result["peer_curves"]}

    agreement, *times = rows_of(figures, says.BESIDE_THE_SPECIFICATIONS_SCRIPT)
    assert agreement["met"] is True
    assert says.AGREEMENT_OF_THE_SPECIFICATIONS_SCRIPT.format(share="0.") in agreement["other"]
    assert len(times) == 2
    assert all(row["ratio"] > 0 for row in times)

    *indexes, smallest = rows_of(figures, says.EVERY_KIND_OF_INDEX)
    assert [row["what"].split(",")[0] for row in indexes] == ["hnsw", "hnsw_binary", "ivfflat"]
    assert smallest["target"] == "≤ 1.50 kB"
    assert smallest["met"] is not None

    right, one_face, group = rows_of(figures, says.FROM_A_PHOTO_TO_NAMES)
    hits, probes = map(int, right["ours"].split(" of "))
    assert probes > 15
    assert hits > 0.9 * probes
    assert one_face["target"] == "≤ 1.15 ×"
    assert one_face["met"] is not None
    assert "6 strangers" in group["what"]

    own_index, all_embeddings, _ = rows_of(figures, says.FROM_A_FILE_OF_EMBEDDINGS)
    assert own_index["what"].startswith(says.LOADING_FACES.format(faces="1,000"))
    assert own_index["ratio"] >= all_embeddings["ratio"] > 0
    assert "binary COPY" in own_index["other"]

    assert everything(database_url) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "plot.png"]


def test_parts_can_be_chosen(environment: dict[str, str], database_url: str, tmp_path: Path) -> None:
    done = bench_search(environment, tmp_path, "--people", "60,80", "--parts", "loading", "--json", "figures.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [found["rows"][0]["what"].split(",")[0] for found in figures["tables"]] == [
        says.LOADING_FACES.format(faces=400)
    ]
    assert everything(database_url) == []


def test_an_index_of_the_templates_is_built_again(settings: Settings, tmp_path: Path, database_url: str) -> None:
    with loaded_gallery(settings, SyntheticPeople(Kind.CLUSTERED), 100, method="hnsw") as loaded:
        assert _build_again(loaded.database) > 0
        loaded.gallery.fit_search("exact")
        assert _build_again(loaded.database) == 0
    assert everything(database_url) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--people", "5"],
        ["--people", "many"],
        ["--parts", "all"],
        ["--kind", "real"],
        ["--plot", "plot.gif"],
        ["--json", "no/figures.json"],
    ],
)
def test_wrong_usage_ends_with_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_server_is_reported_in_one_line(tmp_path: Path) -> None:
    nowhere = {"PGFACE_DATABASE_URL": "postgresql://127.0.0.1:1/nowhere"}
    done = bench_search(nowhere, tmp_path, *QUICK, "--parts", "loading")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_variants_run_to_the_end(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, VARIANTS, "--people", "200", "--seconds", "0.05"],
        env=without_settings(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r": p50 [0-9.]+ ms", done.stdout)) == 2 * 10
