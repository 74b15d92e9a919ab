"""The deployment of compose.replicas.yaml without containers: its scripts, its settings and the commands of the page.

Each server has its own folder and its own address of this machine. Its script runs as in its container. Only the entry
point of PostgreSQL's image is another one, with the same steps.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from psycopg.conninfo import conninfo_to_dict
from ruamel.yaml import YAML

from pgface.database.embedded.cluster import ENVIRONMENT, binaries
from pgface.operations.deployment import Owner, make_secrets
from support.commands import Run, runner
from support.documentation import HOW_TO
from support.embedded_server import eventually
from support.page_shell import own_all
from support.pgbouncer import user_for
from support.photos import Photos

ROOT = Path(__file__).parents[2]
FILE = "compose.replicas.yaml"
STANDBYS = "SELECT application_name, sync_state FROM pg_stat_replication"
COMMANDS = re.compile(r"<!-- tested: (\w+) -->\n```sh\n(.+?)```", re.DOTALL)
ENTRY_POINT = """\
#!/bin/bash
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --no-sync $POSTGRES_INITDB_ARGS
    # The image trusts the loopback interface, which no other container uses. Here all use it.
    sed -i '/^host .* trust$/d' "$PGDATA/pg_hba.conf"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl -w -o "-c listen_addresses='' -c unix_socket_directories=$PGHOST" start
    psql --no-psqlrc -U "$POSTGRES_USER" -d postgres -c "CREATE DATABASE $POSTGRES_DB"
    for script in "$PGHOST"/initdb.d/*; do "$script"; done
    pg_ctl -w -m fast stop
fi
exec "$@" --listen_addresses="$ADDRESS" --unix_socket_directories="$PGHOST" --shared_buffers=32MB --fsync=off
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on the loopback interface"),
]


@dataclass
class Server:
    """One server of the file, in place of its container."""

    service: Any
    folder: Path
    addresses: dict[str, str]
    user: tuple[int, int] | None
    process: subprocess.Popen[bytes] | None = None
    begun: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "initdb.d").mkdir(parents=True)
        for volume in self.service["volumes"]:
            source, target, *_ = volume.split(":")
            if source.startswith("./"):
                place = self.folder / ("initdb.d" if "/docker-entrypoint-initdb.d/" in target else "")
                shutil.copy(ROOT / source, place / Path(target).name)
        (self.folder / "docker-entrypoint.sh").write_text(ENTRY_POINT)
        (self.folder / "docker-entrypoint.sh").chmod(0o755)
        own_all(self.folder)

    @property
    def name(self) -> str:
        return str(self.service["environment"]["SERVER"])

    @property
    def address(self) -> str:
        return self.addresses[self.name]

    @property
    def environment(self) -> dict[str, str]:
        given = dict(self.service["environment"])
        for name in ("SERVER", "SOURCE", "SYNCHRONOUS"):
            if name in given:
                given[name] = self.addresses[given[name]]
        secrets, places = self.folder.parent / "secrets", {"PGDATA": "data/server", "PGPASSFILE": "pgpass"}
        given |= {name: str(self.folder / place) for name, place in places.items()}
        given["POSTGRES_PASSWORD_FILE"] = str(secrets / Path(given["POSTGRES_PASSWORD_FILE"]).name)
        path = f"{self.folder}:{binaries(16)}:{os.environ['PATH']}"
        return ENVIRONMENT | given | {"PATH": path, "PGHOST": str(self.folder), "ADDRESS": self.address}

    def begin(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start the container's process with a command."""
        program, script = self.service["entrypoint"]
        uid, gid = self.user or (None, None)
        groups: list[int] | None = None if self.user is None else []
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [program, self.folder / Path(script).name, *command],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=uid,
                group=gid,
                extra_groups=groups,
                start_new_session=True,
            )
        self.begun.append(process)
        return process

    def start(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.process = self.begin(self.service["command"])

    def is_healthy(self) -> bool:
        """Run the health check of the file."""
        assert self.process is not None
        assert self.process.poll() is None, self.log
        check = self.service["healthcheck"]["test"][1].replace("localhost", self.address)
        return self.run(*check.split()).returncode == 0

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        uid, gid = self.user or (None, None)
        return subprocess.run(
            [program, *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            user=uid,
            group=gid,
            extra_groups=None if self.user is None else [],
        )

    def ask(self, statement: str) -> str:
        done = self.run("psql", "--no-psqlrc", "-U", "faceuser", "-d", "facedb", "-Atc", statement)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def kill(self) -> None:
        """End all processes at once."""
        if self.process is not None:
            with suppress(psutil.NoSuchProcess):
                children = psutil.Process(self.process.pid).children(recursive=True)
                for process in [psutil.Process(self.process.pid), *children]:
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGKILL)
            self.process.wait(30)
        for lock in self.folder.glob(".s.PGSQL.*.lock"):
            lock.unlink()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


@dataclass
class Deployment:
    """Follows the commands of the page."""

    folder: Path
    servers: dict[str, Server]
    pgface: Run
    page: dict[str, str]

    def follow(self, name: str) -> None:
        for line in self.page[name].splitlines():
            match shlex.split(line):
                case ["pgface", "secrets"]:
                    pass  # the fixture has done it
                case ["echo", setting, ">>.env"]:
                    assert setting == f"COMPOSE_FILE={FILE}"
                case ["docker", "compose", "up", "-d", "--wait", *names]:
                    self._start(names or list(self.servers))
                case ["docker", "compose", "stop", "--timeout", "0", name]:
                    self.servers[name].kill()
                case ["docker", "compose", "exec", name, "psql", *arguments]:
                    arguments = [self._with_addresses(argument) for argument in arguments]
                    done = self.servers[name].run("psql", "--no-psqlrc", *arguments)
                    assert done.returncode == 0, done.stderr
                case ["docker", "compose", "run", "--rm", "pgface", *arguments]:
                    self.pgface(*arguments)
                case ["docker", "compose", "run", "--rm", name, *command]:
                    server = self.servers[name]
                    assert server.begin(command).wait(60) == 0, server.log
                case _:
                    pytest.fail(f"The page has a new command: {line}")

    def _with_addresses(self, argument: str) -> str:
        return re.sub(r"'(db\d)'", lambda found: f"""'"{self.servers[found[1]].address}"'""", argument)

    def _start(self, names: list[str]) -> None:
        for name in names:
            self.servers[name].start()
        for name in names:
            assert eventually(self.servers[name].is_healthy, 60), self.servers[name].log


@pytest.fixture(scope="module")
def compose() -> Any:
    return YAML(typ="safe").load((ROOT / FILE).read_text(encoding="utf-8"))


@pytest.fixture
def deployment(postgres16: str, compose: Any, tmp_path: Path) -> Iterator[Deployment]:
    """Prepare folders, secrets and the environment of pgface. No server runs yet."""
    user = user_for(str(conninfo_to_dict(postgres16)["host"]))
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a new folder in it
    folder = Path(tempfile.mkdtemp(prefix="pgface-replicas-", dir=place))
    folder.chmod(0o711)
    number = os.getpid()
    start = f"127.{64 + number % 128}.{number // 128 % 256}"
    names = [name for name, service in compose["services"].items() if "SERVER" in service.get("environment", {})]
    addresses = {name: f"{start}.{20 + place}" for place, name in enumerate(names)}
    make_secrets(folder / "secrets", Owner(*(user or (os.geteuid(), os.getegid()))))
    if user is not None:
        os.chown(folder / "secrets", *user)
    servers = {name: Server(compose["services"][name], folder / name, addresses, user) for name in names}
    try:
        environment = pgface_environment(compose["services"]["pgface"], addresses, folder, tmp_path)
        page = dict(COMMANDS.findall((HOW_TO / "failover.md").read_text(encoding="utf-8")))
        yield Deployment(folder, servers, runner(environment, tmp_path), page)
    finally:
        for server in servers.values():
            server.kill()
            for process in server.begun:
                process.kill()
                process.wait(30)
        shutil.rmtree(folder)


def pgface_environment(service: Any, addresses: dict[str, str], folder: Path, tmp_path: Path) -> dict[str, str]:
    environment = dict(service["environment"])
    for name in ("PGFACE_DATABASE_URL", "PGFACE_READ_URL"):  # in place of the names in the containers' network
        hosts = re.findall(r"db\d", environment[name])
        mark = "&" if "?" in environment[name] else "?"
        environment[name] += f"{mark}hostaddr={','.join(addresses[host] for host in hosts)}"
    environment["PGPASSFILE"] = str(folder / "secrets" / Path(environment["PGPASSFILE"]).name)
    return environment | {"PGFACE_DATA_DIR": str(tmp_path / "data"), "PGFACE_WORKER_PRIORITY": "normal"}


def test_the_page_is_followed_through_a_failover(deployment: Deployment, compose: Any, photos: Photos) -> None:
    db1, db2, db3 = deployment.servers.values()
    run = deployment.pgface
    deployment.follow("containers")
    status = json.loads(run("status", "--json").stdout)
    assert (status["photo_store"], status["users"]) == ("postgres", 0)
    assert db1.ask(STANDBYS) == f"{db2.address}|sync"
    assert db2.ask(STANDBYS) == f"{db3.address}|async"

    probe = photos("Colin_Powell", 2)
    run("enroll", photos("Colin_Powell", 1), "--user", "colin@example.org")
    assert db2.ask("SELECT count(*) FROM photo_crops") == "1"
    assert eventually(lambda: db3.ask("SELECT count(*) FROM photos") == "1")
    found = run("identify", probe, "--json").stdout
    assert "colin@example.org" in found

    deployment.follow("fence")
    run("enroll", photos("Gerhard_Schroeder", 1), "--user", "gerhard@example.org")
    assert eventually(lambda: db3.ask("SELECT count(*) FROM photos") == "2")  # it has stayed with its source
    assert "gerhard@example.org" in run("identify", photos("Gerhard_Schroeder", 2), "--json").stdout

    db1.start()
    assert db1.process is not None
    assert db1.process.wait(30) == 1
    assert "so this old primary does not start" in db1.log
    deployment.follow("copy")
    assert db1.ask("SELECT pg_is_in_recovery(), count(*) FROM photos") == "t|2"
    assert eventually(lambda: f"{db1.address}|sync" in db2.ask(STANDBYS))
    run("enroll", photos("George_W_Bush", 1), "--user", "george@example.org", "--faces", "largest")
    assert db1.ask("SELECT count(*) FROM photos") == "3"
    command, *options = compose["services"]["worker"]["command"]
    run(command, *options, "--until-idle")


def test_a_server_does_not_destroy_data_by_mistake(deployment: Deployment) -> None:
    db1, db2, _ = deployment.servers.values()
    deployment._start(["db1"])
    assert db1.begin(["copy"]).wait(30) == 1
    assert "This server runs. Stop it first" in db1.log
    assert db1.is_healthy()
    deployment._start(["db2"])
    db1.kill()
    shutil.rmtree(db1.folder / "data")
    db1.start()
    assert db1.process is not None
    assert db1.process.wait(30) == 1
    assert "This server has no data" in db1.log
    assert db2.is_healthy()
