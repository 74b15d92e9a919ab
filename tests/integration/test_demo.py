"""`make demo` works, and so do the commands that it prints at the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from pgface.database.embedded.server import EmbeddedPostgres
from support.sentences import commands as says
from support.serve import output_of, serving_by

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
PASSWORD = "four plain words here"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "demo's data"
    yield folder
    EmbeddedPostgres(folder / "postgres").stop(force=True)


def test_the_demo_and_the_commands_that_it_prints(folder: Path) -> None:
    program = f"import runpy, sys; sys.argv[0] = {str(DEMO)!r}; demo = runpy.run_path({str(DEMO)!r}); "
    program += f"from pathlib import Path; demo['main'].__globals__['DATA_DIR'] = Path({str(folder)!r}); demo['main']()"
    # Settings for another gallery, which the demo must not touch.
    elsewhere = os.environ | {"PGFACE_DATABASE_URL": "postgresql://127.0.0.1:1/nothing", "PGFACE_SCHEMA": "other"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=elsewhere, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(": enrolled\n") == 7
    assert says.DEMO_VERIFIES.format(name="Eileen Collins") in done.stdout
    for picture in re.findall(r"^ +(/.+\.png)$", done.stdout, re.MULTILINE):
        assert Path(picture).stat().st_size > 10_000

    (serve, administer, key) = re.findall(r"^    (.+/pgface .+)$", done.stdout, re.MULTILINE)
    assert serve.endswith("/pgface serve")
    with serving_by(["/bin/bash", "-c", f"{serve} --port 0"], elsewhere, folder) as service:
        with httpx.Client(base_url=service.url, timeout=30) as client:
            you = {"email": "you@example.org", "password": PASSWORD}
            assert client.post("/api/v1/auth/register", json=you).status_code == 201
            administrator = says.IS_AN_ADMINISTRATOR.format(name="you", email="you@example.org")
            assert output_of(administer, elsewhere) == f"{administrator}\n"
            token = client.post("/api/v1/auth/login", json=you).json()["token"]
            for secret in (token, output_of(key, elsewhere).strip()):
                found = client.get("/api/v1/users", headers={"Authorization": f"Bearer {secret}"}).json()["users"]
                assert [user["name"] for user in found][:2] == ["Eileen Collins", "person-1"]
                assert len(found) == 8
        assert service.end() == 0
