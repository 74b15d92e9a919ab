"""`pgface bench engine` measures installed models and the runtimes that are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgface.errors import ModelNotInstalledError, NoFaceError
from pgface.faces.drawn_face import SIDE, drawn_face
from pgface.faces.engines import load_engine
from pgface.faces.models import install as installing
from pgface.faces.models.install import statuses
from pgface.operations.bench import engine as engines
from pgface.operations.bench.engine import Task, measure_engines, tasks
from pgface.settings import Settings
from support.commands import runner
from support.galleries import link_pack
from support.photos import Photos
from support.sentences import benchmark as says

PACK = "buffalo_sc_q8"
USUAL = "ONNX Runtime (CPU)"


@pytest.mark.parametrize("model", ["sface", "dlib", PACK])
def test_every_engine_finds_the_drawn_face(model: str, insightface_pack: Path) -> None:
    for size in (320, 640):
        engine = load_engine(model, models_dir=insightface_pack.parent, detector_size=size, execution_provider="CPU")
        (face,) = engine.detect_and_embed(drawn_face())
        assert 80 < face.box.width < 130
    assert drawn_face().shape == (SIDE, SIDE, 3)


@pytest.mark.slow
def test_models_and_runtimes(
    insightface_pack: Path, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("openvino")
    link_pack(insightface_pack, tmp_path / "data" / "models")
    # The page docs/how-to/performance.md, whose commands run in `test_how_to`, measures sface.
    installed = [status for status in statuses(tmp_path / "data" / "models") if status.name != "sface"]
    monkeypatch.setattr(installing, "statuses", lambda _: installed)
    pgface = runner({"PGFACE_DATA_DIR": str(tmp_path / "data")}, tmp_path)
    done = pgface("bench", "engine", "--seconds", 0.1, "--photo", photos("Tony_Blair", 1), "--json", "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [(found["model"], found["runtimes"]["embedding"]) for found in figures["results"]] == [
        ("dlib", "dlib (CPU)"),
        (PACK, USUAL),
        (PACK, "OpenVINO (CPU)"),
    ]
    for found in figures["results"]:
        assert found["faces"] >= 1
        assert min(found[name] for name in ("processor_ms", "one_core_ms", "all_cores_ms", "photos_per_second")) > 0
        assert found["memory_mb"] > 50
        assert found["model"] in done.stdout
    assert (figures["width"], figures["height"], figures["detector_size"]) == (250, 250, 640)
    assert figures["machine"]["openvino"] in openvino.__version__
    assert "detection: ONNX Runtime (CPU), embedding: OpenVINO (CPU)" in done.stdout
    assert says.ENGINES_TAKE_ABOUT.is_in(done.stderr, seconds=13)


def test_one_row_for_each_model_without_openvino(
    settings: Settings, insightface_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link_pack(insightface_pack, settings.models_dir)
    monkeypatch.setattr(engines, "embedding_runtime", lambda _: USUAL)
    planned = tasks(settings, drawn_face(), 0.1)
    assert [(task.model, task.runtime) for task in planned] == [(name, "fastest") for name in ("sface", "dlib", PACK)]


def test_without_models(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "statuses", lambda _: [])
    with pytest.raises(ModelNotInstalledError, match=says.NO_MODEL_IS_INSTALLED.pattern()):
        tasks(settings, drawn_face(), 0.1)


def test_a_photo_without_a_face(settings: Settings) -> None:
    task = Task(settings, "sface", "fastest", drawn_face() * 0, 0.1)
    with pytest.raises(NoFaceError, match=says.NO_FACE_IN_THE_PHOTO.pattern(model="sface")):
        measure_engines([task])
