"""The commands of `pgface models`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pgface.cli.models import app
from pgface.cli.output import NONE
from pgface.errors import LicenseNotAcceptedError, ModelDownloadError, UnknownModelError, WeightsMismatchError
from pgface.faces.liveness.models import OWN
from pgface.faces.models.registry import REGISTRY
from pgface.settings import get_settings
from pgface.text import runs_on
from support.devices import need_azure
from support.liveness_networks import save_constant_minifasnet
from support.sentences import models as says


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PGFACE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "80")
    get_settings.cache_clear()
    yield tmp_path / "data"
    get_settings.cache_clear()


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def run_json(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_list(data_dir: Path) -> None:
    table = run("list")
    for words in ("buffalo_l", "InsightFace, non-commercial", "289 MB", "auraface", "Apache-2.0", "dlib", "a package"):
        assert words in table
    assert says.MODEL_OF_A_NEW_GALLERY.is_in(table, model="sface")
    assert max(len(line) for line in table.splitlines() if "-D" in line) <= 80
    listed = {model["name"]: model for model in run_json("list")["models"]}
    assert list(listed) == list(REGISTRY)
    buffalo = listed["buffalo_l"]
    assert buffalo["installed"] is False
    assert buffalo["commercial_use"] is False
    assert buffalo["folder"] == str(data_dir / "models" / "buffalo_l")
    assert buffalo["downloads"][0]["bytes"] == buffalo["download_bytes"] == 288_621_354
    assert listed["dlib"]["installed"] is True
    assert listed["dlib"]["verify_threshold"] == 0.7
    assert says.DETECTOR_IS_INSIGHTFACES in listed["auraface"]["licence_note"]
    for name in ("sface", "dlib"):
        assert says.TRAINING_DATA_HAS_TERMS in listed[name]["licence_note"]
    assert not data_dir.exists()


def test_what_runs_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    runtimes = run_json("list")["runtimes"]
    assert runtimes["detection"] == "ONNX Runtime (CPU)"
    assert runtimes["embedding"] in ("ONNX Runtime (CPU)", "OpenVINO (CPU)")
    assert runs_on(runtimes) in run("list")
    monkeypatch.setenv("PGFACE_EXECUTION_PROVIDER", "warp")
    get_settings.cache_clear()
    listed = run_json("list")
    assert listed["runtimes"] is None
    assert says.THERE_IS_NO_PROVIDER_NAMED.is_in(listed["runtimes_problem"], provider="warp", offered="...CPU")
    assert listed["runtimes_problem"] in run("list")


def test_a_device_that_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    need_azure()
    monkeypatch.setenv("PGFACE_EXECUTION_PROVIDER", "azure")
    listed = run_json("list")
    assert listed["runtimes"] is None
    problem = says.PROVIDER_RUNS_NOTHING.format(
        provider="Azure", network="a network of one convolution", steps="2 of 2 steps on CPU"
    )
    assert problem in listed["runtimes_problem"]


def test_list_liveness_models(tmp_path: Path) -> None:
    assert "non-commercial" in run("list").rpartition("insightface-liveness")[2]
    minifasnet, addon = run_json("list")["liveness_models"]
    assert (minifasnet["name"], minifasnet["licence"], minifasnet["threshold"]) == ("minifasnet", "Apache-2.0", 0.915)
    assert (addon["installed"], addon["commercial_use"]) == (False, False)
    file = save_constant_minifasnet(tmp_path / "2.7_80x80_MiniFASNetV2.onnx", 0, 1, 0)
    printed = run_json("install", OWN, "--from", file, "--accept-license")
    assert (printed["installed"], printed["in_registry"]) == (True, False)
    assert run_json("list")["liveness_models"][2] == printed
    assert run("list").splitlines()[-1].split() == ["liveness", "unknown", NONE, "yes", NONE]
    assert run_json("verify", OWN)["models"][0]["files"][0]["state"] == "whole"


def test_install_and_verify_your_own_pack(insightface_pack: Path, data_dir: Path) -> None:
    assert says.HASH_OF_TODAY_WAS_RECORDED.is_in(run("install", "own", "--from", insightface_pack, "--accept-license"))
    assert "own" in run("list")
    found = run_json("verify", "own")
    assert found["models"][0]["whole"] is True
    assert [file["state"] for file in found["models"][0]["files"]] == ["whole", "whole"]
    assert "w600k_mbf.onnx" in run("verify")
    (data_dir / "models" / "own" / "w600k_mbf.onnx").unlink()
    with pytest.raises(WeightsMismatchError, match=says.FILES_ARE_NOT_THE_EXPECTED_ONES.pattern(models="own")):
        run("verify")
    result = CliRunner().invoke(app, ["verify", "own", "--json"])
    assert isinstance(result.exception, WeightsMismatchError)
    assert json.loads(result.stdout)["models"][0]["files"][1] == {
        "name": "w600k_mbf.onnx",
        "state": "missing",
        "sha256": None,
    }


def test_install_prints_json(insightface_pack: Path, data_dir: Path) -> None:
    printed = run_json("install", "own", "--from", insightface_pack, "--accept-license")
    assert printed["installed"] is True
    assert printed["in_registry"] is False
    assert printed["folder"] == str(data_dir / "models" / "own")


def test_errors_of_install(insightface_pack: Path, data_dir: Path) -> None:
    with pytest.raises(LicenseNotAcceptedError, match="`accept_license=True`"):
        run("install", "buffalo_l")
    with pytest.raises(UnknownModelError):
        run("install", "unknown_model", "--accept-license")
    changed = says.FILE_IS_NOT_THE_PUBLISHED_ONE.pattern(files="w600k_mbf.onnx", model="buffalo_sc")
    with pytest.raises(WeightsMismatchError, match=changed):
        run("install", "buffalo_sc", "--from", insightface_pack, "--accept-license")
    assert not list((data_dir / "models").iterdir())


def test_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a proxy address without a server in place of a machine without a network."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(ModelDownloadError, match=says.GIVE_THE_FILES_INSTEAD.pattern()):
        run("install", "buffalo_sc", "--accept-license")


def test_verify_with_only_the_models_of_packages(data_dir: Path) -> None:
    assert {model["name"] for model in run_json("verify")["models"]} == {"dlib", "sface"}
    shutil.rmtree(data_dir, ignore_errors=True)
