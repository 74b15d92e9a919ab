"""`pgface bench` as a command, and its measurements on a real server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from PIL import Image
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgface.cli import bench as bench_command
from pgface.database.pool import initialise
from pgface.errors import DatabaseError
from pgface.gallery import Gallery
from pgface.operations.bench.loading import PREFIX, loaded_gallery, scratch_gallery
from pgface.operations.bench.measure import Plan, make_probes, measure, rank_1
from pgface.operations.bench.run import step_seconds
from pgface.operations.bench.synthetic import Kind, SyntheticPeople
from pgface.settings import Settings
from support.commands import Run, process_runner, runner, without_settings
from support.galleries import close_database, everything
from support.sentences import benchmark as says

pytestmark = pytest.mark.slow

QUICK = ("--people", 40, "--probes", 50, "--clients", 2, "--seconds", 1)


@pytest.fixture
def schema_name() -> str:
    """The schema of the gallery in the settings, which the benchmark must not change."""
    return "public"


@pytest.fixture
def pgface(environment: dict[str, str], tmp_path: Path) -> Run:
    return runner(environment, tmp_path)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each measurement without clients take less time than the command's default."""
    monkeypatch.setattr(bench_command, "Plan", partial(Plan, patience=0.3, agreement_patience=0.3))


def scratch_schemas(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, %s)", (PREFIX,)
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.usefixtures("_impatient")
def test_it_measures_reports_and_leaves_nothing(
    pgface: Run, settings: Settings, database_url: str, tmp_path: Path
) -> None:
    initialise(settings)
    with Gallery.open(settings) as gallery:
        user = gallery.add_user("colin@example.org")
        gallery.enroll_embedding(np.ones(512), user.id)
    before = everything(database_url)
    done = pgface("bench", *QUICK, "--json", "figures.json", "--plot", "plot.png")
    assert says.GALLERY.format(people=40, kind="clustered") in done.stdout
    assert says.AGREEMENT_OF_MATED_PROBES in done.stdout
    assert says.EXACT_SCAN_IS_QUICK_ENOUGH.is_in(done.stdout, people=40, faces=200)
    assert says.HOW_LONG_IT_TAKES in done.stderr
    shares = [int(share) for share in re.findall(r"^ *(\d+)%  40 people, clustered: ", done.stderr, re.MULTILINE)]
    assert len(shares) == len(step_seconds(40, Plan(clients=2)))
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] < 100

    figures = json.loads((tmp_path / "figures.json").read_text())
    (found,) = figures["results"]
    assert (found["kind"], found["people"], found["faces"], found["method"]) == ("clustered", 40, 200, "exact")
    assert found["mated_agreement"]["successes"] == found["mated_agreement"]["trials"] == 50
    assert found["non_mated_agreement"]["value"] == 1
    assert found["recall"]["value"] == 1
    assert found["mated"]["p95"] >= found["mated"]["p50"] > 0
    assert "NumPy, exact" in [compared["name"] for compared in found["comparisons"]]
    assert {"face_embeddings", "user_templates"} <= {relation["table"] for relation in found["relations"]}
    assert [crowd["searches_per_second_each"] for crowd in found["crowds"]] == [None, 20, 40]
    for crowd in found["crowds"]:
        assert crowd["found_at_once"] == crowd["enrolled"] > 0
        assert crowd["alone"]["calls"] > 0
        assert crowd["clients"] == 2
    assert figures["server"]["shared_buffers"] > 0
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG"

    assert everything(database_url) == before
    with Gallery.open(settings) as gallery:
        assert gallery.user("colin@example.org").embeddings == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "plot.png"]


@pytest.mark.usefixtures("_impatient")
def test_options_limit_the_measurements(pgface: Run, tmp_path: Path) -> None:
    few = ("--people", "20,30", "--probes", 50, "--clients", 0, "--no-peers", "--seed", 3)
    pgface("bench", *few, "--kind", "both", "--json", "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [(found["people"], found["kind"]) for found in figures["results"]] == [
        (20, "isotropic"),
        (20, "clustered"),
        (30, "isotropic"),
        (30, "clustered"),
    ]
    assert all(found["peer_curves"] == [] for found in figures["results"])
    assert all(found["comparisons"] == [] for found in figures["results"])
    assert all(found["crowds"] == [] for found in figures["results"])
    assert figures["seed"] == 3


@pytest.mark.usefixtures("_impatient")
def test_on_the_embedded_server(tmp_path: Path) -> None:
    environment = {"PGFACE_DATA_DIR": str(tmp_path / "data")}
    done = runner(environment, tmp_path)(
        "bench", "--people", 20, "--probes", 50, "--clients", 1, "--seconds", 1, "--no-peers"
    )
    assert says.GALLERY.format(people=20, kind="clustered") in done.stdout
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["postgres"]
    # In a separate process, because `psql` replaces the process of the command.
    run = process_runner(environment, tmp_path)
    listed = run("postgres", "psql", "-tAc", f"SELECT count(*) FROM pg_namespace WHERE nspname LIKE '{PREFIX}%'")
    assert listed.stdout.strip() == "0"


@pytest.mark.parametrize("method", ["hnsw", "hnsw_binary", "ivfflat"])
def test_an_index_is_measured_with_increasing_effort(settings: Settings, method: Any) -> None:
    people = SyntheticPeople(Kind.CLUSTERED)
    with loaded_gallery(settings, people, 300, method=method) as loaded:
        assert len(loaded.persons) == 300
        found = measure(loaded, Plan(probes=60, peers=False, clients=0, patience=0.3))
    assert found.method == method
    assert found.mated_agreement.value >= 0.98
    assert found.curve is not None
    efforts = [point.effort for point in found.curve.points]
    assert found.first_effort in efforts
    assert efforts == sorted(set(efforts), key=efforts.index)
    assert found.curve.points[-1].agreement.value >= 0.98
    assert [compared.name for compared in found.comparisons] == [says.EXACT_SCAN_IN_POSTGRESQL]
    assert 0 < found.search_index_bytes < found.total_bytes


def test_a_wrong_answer_counts_as_missed(settings: Settings) -> None:
    with loaded_gallery(settings, SyntheticPeople(Kind.ISOTROPIC), 60) as loaded:
        plan = Plan(probes=60)
        probes = make_probes(loaded, plan.probes)
        assert rank_1(loaded, probes.mated, probes.mated_answers, plan).misses == 0
        # Ten people's embeddings are lost.
        with loaded.database.transaction() as connection:
            connection.execute("DELETE FROM face_embeddings WHERE user_id <= %s", (int(loaded.user_ids[9]),))
        assert rank_1(loaded, probes.mated, probes.mated_answers, plan).misses == 10


def test_the_schema_is_dropped_after_an_error(settings: Settings, database_url: str) -> None:
    def fail() -> None:
        with scratch_gallery(settings) as own:
            assert own.schema_name.startswith(PREFIX)
            assert scratch_schemas(database_url) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert scratch_schemas(database_url) == 0


def test_a_schema_that_cannot_be_dropped_is_named(settings: Settings, database_url: str) -> None:
    with pytest.raises(DatabaseError) as caught, scratch_gallery(settings) as own:
        close_database(database_url)
    assert own.schema_name.startswith(PREFIX)
    assert says.DROP_THE_SCHEMA_YOURSELF.format(schema=own.schema_name) in str(caught.value)


@contextmanager
def started(environment: dict[str, str], tmp_path: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start a benchmark, and wait for its schema."""
    command = [sys.executable, "-m", "pgface", "bench", *map(str, arguments)]
    with subprocess.Popen(
        command,
        env=without_settings() | environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        end = time.monotonic() + 60
        while scratch_schemas(environment["PGFACE_DATABASE_URL"]) == 0 and time.monotonic() < end:
            time.sleep(0.05)
        yield process


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda value: str(value),
)
@pytest.mark.parametrize("moment", [0.0, 3.0], ids=["loading", "later"])
def test_an_interrupted_benchmark_leaves_nothing(
    environment: dict[str, str], database_url: str, tmp_path: Path, number: signal.Signals, code: int, moment: float
) -> None:
    arguments = ("--people", 40, "--probes", 50, "--clients", 1, "--seconds", 60, "--no-peers")
    with started(environment, tmp_path, *arguments) as process:
        time.sleep(moment)
        os.killpg(process.pid, number)  # to the clients, too, as a terminal does
        printed, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr + printed
    assert scratch_schemas(database_url) == 0


def test_a_lost_server_is_reported(environment: dict[str, str], database_url: str, tmp_path: Path) -> None:
    environment |= {"PGFACE_CONNECT_TIMEOUT": "2"}
    with started(environment, tmp_path, "--people", 200, "--clients", 2, "--seconds", 60) as process:
        time.sleep(1)
        close_database(database_url)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in stderr
    assert says.DROP_THE_SCHEMA_YOURSELF.is_in(stderr, schema=f"{PREFIX}...")


def test_too_few_connections_for_the_clients(environment: dict[str, str], database_url: str, tmp_path: Path) -> None:
    role = f"few_connections_{os.getpid()}"
    database = sql.Identifier(str(conninfo_to_dict(database_url)["dbname"]))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 3").format(sql.Identifier(role)))
        connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, sql.Identifier(role)))
        try:
            run = runner(environment | {"PGFACE_DATABASE_URL": make_conninfo(database_url, user=role)}, tmp_path)
            few = ("--people", 20, "--probes", 50, "--seconds", 1, "--no-peers")
            refused = run("bench", *few, "--clients", 3, code=1)
            assert "too many connections" in refused.stderr
            assert scratch_schemas(database_url) == 0
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


def test_a_file_that_cannot_be_written_is_refused_before_the_run(pgface: Run, database_url: str) -> None:
    for option, file in (("--json", "no/figures.json"), ("--plot", "no/plot.png")):
        refused = pgface("bench", *QUICK, option, file, code=1)
        assert says.FILE_CANNOT_BE_WRITTEN in refused.stderr
        assert refused.stdout == ""
    assert everything(database_url) == []


def test_more_people_than_memory_holds_are_refused_before_the_run(pgface: Run, database_url: str) -> None:
    refused = pgface("bench", "--people", 10_000_000, "--kind", "clustered", code=1)
    assert says.TOO_LITTLE_MEMORY in refused.stderr
    assert "--no-peers" in refused.stderr
    assert everything(database_url) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--people", "5"],
        ["--people", "many"],
        ["--people", ""],
        ["--people", "200,,300"],
        ["--kind", "real"],
        ["--probes", "1"],
        ["--clients", "-1"],
        ["--seconds", "0"],
        ["--seconds", "nan"],
        ["--plot", "plot.gif"],
        ["--seed", "-1"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], tmp_path: Path) -> None:
    runner({"PGFACE_DATA_DIR": str(tmp_path)}, tmp_path)("bench", *arguments, code=2)
    assert list(tmp_path.iterdir()) == []
