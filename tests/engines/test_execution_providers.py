"""Where ONNX Runtime runs, with real weights: what is chosen, what really runs, and whether its numbers are right."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from pgface.errors import ExecutionProviderError, ModelError
from pgface.faces.drawn_face import drawn_face
from pgface.faces.engines import agreement as agreements
from pgface.faces.engines import load_engine
from pgface.faces.engines.agreement import agreement, checked_against_cpu
from pgface.faces.engines.arcface import ArcFaceNetwork
from pgface.faces.engines.insightface import _load as load_insightface
from pgface.faces.engines.networks import NetworkEngine
from pgface.faces.engines.onnx_runtime import (
    _require_provider,
    _runtime_of_steps,
    execution_providers,
    open_session,
    runtime_of_a_small_network,
    steps_by_provider,
)
from pgface.faces.engines.providers import CPU, Provider, parse_providers
from pgface.faces.engines.runtimes import runtimes_of, runtimes_of_networks
from pgface.faces.engines.scrfd import ScrfdNetwork
from pgface.faces.models.pack import find_pack
from support.devices import need_azure, need_openvino
from support.sentences import models as says

CUDA, OPENVINO, DML, TENSORRT = (f"{name}ExecutionProvider" for name in ("CUDA", "OpenVINO", "Dml", "Tensorrt"))
KNOWN = [TENSORRT, CUDA, OPENVINO, DML, CPU]


# The setting


@pytest.mark.parametrize("requested", ["CPU", "cpu", " CPUExecutionProvider ", "cpuexecutionprovider", "CPU,"])
def test_names_of_the_cpu(requested: str) -> None:
    assert execution_providers(requested) == [CPU]


@pytest.mark.parametrize(
    ("requested", "providers"),
    [
        ("cuda", [CUDA, CPU]),
        ("OpenVINO", [OPENVINO, CPU]),
        ("DirectML", [DML, CPU]),
        ("dml", [DML, CPU]),
        ("CUDAExecutionProvider,CPUExecutionProvider", [CUDA, CPU]),
        ("Tensorrt, CUDA", [TENSORRT, CUDA, CPU]),
        ("CUDA:device_id=1", [(CUDA, {"device_id": "1"}), CPU]),
        ("cuda: device_id=1, use_tf32 = 0 ,CPU", [(CUDA, {"device_id": "1", "use_tf32": "0"}), CPU]),
        (
            "Tensorrt:device_id=1,trt_fp16_enable=0,CUDA:device_id=1",
            [(TENSORRT, {"device_id": "1", "trt_fp16_enable": "0"}), (CUDA, {"device_id": "1"}), CPU],
        ),
        ('OpenVINO:load_config={"CPU": {"X": "1=2:3"}}', [(OPENVINO, {"load_config": '{"CPU": {"X": "1=2:3"}}'}), CPU]),
    ],
)
def test_providers_and_options(requested: str, providers: list[Provider]) -> None:
    assert parse_providers(requested, KNOWN, KNOWN) == providers


@pytest.mark.parametrize("value", ["", " , ", "CPU,CUDA", "CPU:use_arena=1"])
def test_lists_that_cannot_be_used(value: str) -> None:
    with pytest.raises(ExecutionProviderError, match=says.PROVIDERS_CANNOT_BE_USED.pattern(value=value)):
        parse_providers(value, KNOWN, KNOWN)


@pytest.mark.parametrize(("value", "option"), [("CUDA:1", "1"), ("device_id=1", "device_id=1"), ("CUDA:=1", "=1")])
def test_options_that_cannot_be_used(value: str, option: str) -> None:
    with pytest.raises(ExecutionProviderError, match=says.NOT_AN_OPTION.pattern(option=option, value=value)):
        parse_providers(value, KNOWN, KNOWN)


def test_a_provider_that_is_missing_in_this_build(insightface_pack: Path) -> None:
    missing = says.ONNX_RUNTIME_LACKS_A_PROVIDER.pattern(provider="CUDA", offered="CPU", package="onnxruntime-gpu")
    with pytest.raises(ExecutionProviderError, match=missing):
        parse_providers("cuda", KNOWN, [CPU])
    unknown = says.THERE_IS_NO_PROVIDER_NAMED.pattern(provider="warp", offered="...CPU")
    with pytest.raises(ExecutionProviderError, match=unknown):
        load(insightface_pack, "warp")


# What really runs


def test_a_provider_that_is_listed_and_runs_nothing(insightface_pack: Path) -> None:
    """ONNX Runtime itself says that its session is on Azure, and runs every step on the CPU."""
    need_azure()
    import onnxruntime

    providers = ["AzureExecutionProvider", CPU]
    session = onnxruntime.InferenceSession(insightface_pack / "w600k_mbf.onnx", providers=providers)
    assert session.get_providers() == providers
    for model in (str(insightface_pack), "sface"):
        refused = says.PROVIDER_RUNS_NOTHING.pattern(provider="Azure", network="...onnx...", steps="...on CPU")
        with pytest.raises(ExecutionProviderError, match=refused):
            load(model, "azure")
    with pytest.raises(
        ExecutionProviderError,
        match=says.PROVIDER_RUNS_NOTHING.pattern(
            provider="Azure", network="a network of one convolution", steps="2 of 2 steps on CPU"
        ),
    ):
        runtimes_of_networks(execution_providers("azure"))


def test_a_silent_fallback_is_an_error() -> None:
    fell_back = says.ONNX_RUNTIME_FELL_BACK.pattern(provider="CUDA", instead="CPU")
    with pytest.raises(ExecutionProviderError, match=fell_back):
        _require_provider(CPU, CUDA)


def test_the_profile_says_where_each_step_ran(insightface_pack: Path, tmp_path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(insightface_pack / "w600k_mbf.onnx", options, providers=[CPU])
    session.run(None, {"input.1": np.zeros((1, 3, 112, 112), np.float32)})
    steps = steps_by_provider(Path(session.end_profiling()).read_text())
    assert set(steps) == {CPU}
    assert steps[CPU] > 50
    assert _runtime_of_steps("w600k_mbf.onnx", [CUDA, CPU], steps + Counter({CUDA: 90})) == (
        f"ONNX Runtime (CUDA, {steps[CPU]} of {steps[CPU] + 90} steps on CPU)"
    )
    assert _runtime_of_steps("w600k_mbf.onnx", [CUDA, CPU], Counter({CUDA: 90})) == "ONNX Runtime (CUDA)"


def test_a_damaged_network_is_not_blamed_on_the_device(tmp_path: Path) -> None:
    need_azure()
    damaged = tmp_path / "w600k_mbf.onnx"
    damaged.write_bytes(b"not ONNX")
    cannot_be_loaded = says.FILE_CANNOT_BE_LOADED.pattern(file="w600k_mbf.onnx", folder=tmp_path)
    with pytest.raises(ModelError, match=cannot_be_loaded) as info:
        open_session(f"{damaged.name} in {tmp_path}", damaged, ["AzureExecutionProvider", CPU])
    assert not isinstance(info.value, ExecutionProviderError)


def test_the_error_of_a_device_is_shown(insightface_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime raises an error for some devices. TensorRT without its libraries is one."""
    import onnxruntime

    opened = onnxruntime.InferenceSession

    def refuse(*arguments: Any, providers: list[Provider], **options: Any) -> Any:
        if providers == [CPU]:
            return opened(*arguments, providers=providers, **options)
        assert options["enable_fallback"] is False
        raise RuntimeError("Please install TensorRT libraries.\nMore about it")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    reason = says.ONNX_RUNTIME_CANNOT_START.pattern(provider="Tensorrt", reason="Please install TensorRT libraries")
    with pytest.raises(ExecutionProviderError, match=reason):
        open_session("w600k_mbf", insightface_pack / "w600k_mbf.onnx", [TENSORRT, CPU])


def test_no_profile_stays(insightface_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_azure()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ExecutionProviderError):
        open_session("w600k_mbf", insightface_pack / "w600k_mbf.onnx", ["AzureExecutionProvider", CPU])
    assert os.listdir(tmp_path) == []


# The same numbers


@pytest.fixture(scope="module")
def exact(insightface_pack: Path) -> NetworkEngine:
    return load_insightface(find_pack(insightface_pack), "digest", 640, [CPU])


def one_of(on_cpu: NetworkEngine, on_device: NetworkEngine) -> Callable[[list[Provider]], NetworkEngine]:
    """Return a function that loads the one or the other engine."""
    return lambda providers: on_cpu if providers == [CPU] else on_device


def with_rounded_weights(engine: NetworkEngine, pack: Path, folder: Path, bits: int) -> NetworkEngine:
    """Return an engine whose network has this many bits of each weight's fraction. bfloat16 has seven."""
    network = onnx.load(pack / "w600k_mbf.onnx")
    for tensor in network.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values: NDArray[np.float32] = numpy_helper.to_array(tensor)
            fraction, exponent = np.frexp(values)
            rounded = np.ldexp(np.round(fraction * 2.0**bits) / 2.0**bits, exponent).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    onnx.save(network, folder / f"rounded_{bits}.onnx")
    recogniser = ArcFaceNetwork(folder / f"rounded_{bits}.onnx", [CPU])
    return NetworkEngine(engine.detector, recogniser, engine.identity, CUDA, measures_pitch=True)


def test_thresholds_need_the_same_embeddings(exact: NetworkEngine, insightface_pack: Path, tmp_path: Path) -> None:
    assert agreement(exact, exact) == pytest.approx(1, abs=1e-6)
    fine, coarse = (with_rounded_weights(exact, insightface_pack, tmp_path, bits) for bits in (10, 5))
    assert checked_against_cpu(one_of(exact, fine), [CUDA, CPU]) is fine
    assert fine.agreement is not None
    assert agreements.FULL_AGREEMENT < fine.agreement < 1 - 1e-7
    with pytest.raises(ExecutionProviderError, match=says.EMBEDDINGS_DIFFER.pattern(similarity="0.9...")):
        checked_against_cpu(one_of(exact, coarse), [CUDA, CPU])
    assert coarse.agreement is not None
    assert 0.9 < coarse.agreement < agreements.MIN_AGREEMENT


def test_a_device_must_find_the_same_face(exact: NetworkEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    blind = NetworkEngine(exact.detector, exact.recogniser, exact.identity, CUDA, measures_pitch=True)
    monkeypatch.setattr(blind, "_find", lambda picture, overlook: (picture.pixels, []))  # noqa: ARG005
    mirrored = NetworkEngine(exact.detector, exact.recogniser, exact.identity, CUDA, measures_pitch=True)
    find = exact._find

    def find_mirrored(picture: Any, overlook: float) -> Any:
        pixels, found = find(picture, overlook)
        return pixels, [face._replace(landmarks=face.landmarks[::-1].copy()) for face in found]

    monkeypatch.setattr(mirrored, "_find", find_mirrored)
    for wrong in (blind, mirrored):
        other_faces = says.DETECTOR_FINDS_OTHER_FACES.pattern(provider="CUDA")
        with pytest.raises(ExecutionProviderError, match=other_faces):
            checked_against_cpu(one_of(exact, wrong), [CUDA, CPU])
        assert wrong.agreement is None


def test_the_cpu_is_not_compared_with_itself(exact: NetworkEngine) -> None:
    loaded: list[list[Provider]] = []

    def load_once(providers: list[Provider]) -> NetworkEngine:
        loaded.append(providers)
        return exact

    assert checked_against_cpu(load_once, [CPU]).agreement is None
    assert loaded == [[CPU]]


def test_the_close_look_has_no_margin_on_a_device(insightface_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ScrfdNetwork(insightface_pack / "det_500m.onnx", [CPU])
    shapes: list[tuple[int, ...]] = []
    run = network.session.run

    def record(names: Any, inputs: Any) -> Any:
        shapes.append(next(iter(inputs.values())).shape[2:])
        return run(names, inputs)

    monkeypatch.setattr(network.session, "run", record)
    monkeypatch.setattr(network, "_step", 320)
    for side in (network.close_look.side, network.close_look.side + 1):
        network.detect(np.zeros((side, side, 3), np.uint8))
    assert shapes == [(128, 128), (320, 320)]


# A device that is not the CPU of ONNX Runtime, if there is one


@pytest.mark.parametrize("model", ["sface", ""])
def test_openvino_in_onnx_runtime(model: str, insightface_pack: Path) -> None:
    need_openvino()
    engine = load(model or str(insightface_pack), "OpenVINO:device_type=CPU,precision=FP32")
    assert set(runtimes_of(engine).values()) == {"ONNX Runtime (OpenVINO)"}
    assert runtimes_of(engine) == runtimes_of_networks(execution_providers("openvino"))
    assert engine.execution_provider == OPENVINO
    assert engine.agreement == pytest.approx(1, abs=1e-6)
    assert len(engine.detect_and_embed(drawn_face())) == 1


def test_a_device_that_openvino_does_not_have() -> None:
    need_openvino()
    fell_back = says.ONNX_RUNTIME_FELL_BACK.pattern(provider="OpenVINO", instead="CPU")
    with pytest.raises(ExecutionProviderError, match=fell_back):
        runtime_of_a_small_network(execution_providers("OpenVINO:device_type=NPU.7"))


def load(model: str | Path, provider: str) -> Any:
    return load_engine(str(model), models_dir=Path("none"), detector_size=640, execution_provider=provider)
