"""Which runtime and how many cores a network uses, with real weights."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pgface.errors import ModelError
from pgface.faces.engines import inference, openvino_runtime
from pgface.faces.engines.arcface import ArcFaceNetwork
from pgface.faces.engines.base import Face
from pgface.faces.engines.inference import Network, RunningCalls
from pgface.faces.engines.insightface import _load as load_insightface
from pgface.faces.engines.onnx_runtime import open_session
from pgface.faces.engines.openvino_runtime import open_embedder, without_openvino
from pgface.faces.engines.providers import CPU
from pgface.faces.engines.runtimes import OPENVINO
from pgface.faces.engines.sface import _load as load_sface
from pgface.faces.models.folders import model_folder
from pgface.faces.models.pack import find_pack
from pgface.faces.pixels import RGBImage
from support.photos import Photos
from support.sentences import models as says
from support.sessions import runs_one_thread_that_does_not_spin

ON_ONNX_RUNTIME = "ONNX Runtime (CPU)"


@pytest.fixture
def recognition(insightface_pack: Path) -> Path:
    return insightface_pack / "w600k_mbf.onnx"


@pytest.fixture
def noise() -> RGBImage:
    return np.random.default_rng(1).integers(0, 256, (112, 112, 3)).astype(np.uint8)


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def test_a_failure_of_the_library_is_an_error_of_the_model(recognition: Path) -> None:
    pytest.importorskip("openvino")
    tall = np.zeros((1, 3, 112, 113), np.uint8)
    networks = {
        "[ONNXRuntimeError]": open_session("w600k_mbf", recognition, [CPU]),
        "Can't set the input tensor": open_embedder("w600k_mbf", recognition, [CPU]),
    }
    for reason, network in networks.items():
        with pytest.raises(ModelError, match=says.NETWORK_FAILED.pattern(runtime=network.runtime, reason=reason)):
            network.run(None, {network.get_inputs()[0].name: tall})


# The numbers


def test_openvino_embeds_as_onnx_runtime_does(recognition: Path, noise: RGBImage) -> None:
    pytest.importorskip("openvino")
    fast = ArcFaceNetwork(recognition, [CPU])
    with without_openvino():
        usual = ArcFaceNetwork(recognition, [CPU])
    assert (fast.session.runtime, usual.session.runtime) == (OPENVINO, ON_ONNX_RUNTIME)
    assert (fast.side, fast.dimension) == (usual.side, usual.dimension) == (112, 512)
    assert np.abs(unit(fast.describe(noise)) - unit(usual.describe(noise))).max() < 1e-5


def test_openvino_embeds_photos_as_onnx_runtime_does(photos: Photos, insightface_pack: Path) -> None:
    pytest.importorskip("openvino")
    people = [photos(person, number) for person in ("Colin_Powell", "Tony_Blair") for number in (1, 2, 3)]
    for fast, usual in (sface_engines(), insightface_engines(insightface_pack)):
        for photo in people:
            pixels = photo_pixels(photo)
            assert difference(fast.detect_and_embed(pixels), usual.detect_and_embed(pixels)) < 1e-5


def sface_engines() -> tuple[Any, Any]:
    folder = model_folder("sface", Path("none"))
    fast = load_sface(folder, 320, [CPU])
    with without_openvino():
        return fast, load_sface(folder, 320, [CPU])


def insightface_engines(pack: Path) -> tuple[Any, Any]:
    found = find_pack(pack)
    fast = load_insightface(found, "digest", 320, [CPU])
    with without_openvino():
        return fast, load_insightface(found, "digest", 320, [CPU])


def photo_pixels(photo: Path) -> RGBImage:
    from PIL import Image

    return np.asarray(Image.open(photo).convert("RGB"))


def difference(some: Sequence[Face], others: Sequence[Face]) -> float:
    assert len(some) == len(others) > 0
    return max(float(np.abs(one.embedding - other.embedding).max()) for one, other in zip(some, others, strict=True))


# Which runtime


def in_another_process(code: str, *arguments: Path, **environment: str) -> str:
    """Run code whose imports start without OpenVINO. Returns what it prints."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


SHOW_RUNTIME = """
from pathlib import Path
from pgface.faces.engines.arcface import ArcFaceNetwork
from pgface.faces.engines.openvino_runtime import embedding_runtime
network = ArcFaceNetwork(Path(sys.argv[1]), ["CPUExecutionProvider"])
print(network.session.runtime)
print(embedding_runtime(["CPUExecutionProvider"]))
print(network.dimension)
"""


def test_without_openvino_onnx_runtime_runs_all(recognition: Path) -> None:
    code = """
    import sys
    from importlib.abc import MetaPathFinder
    class NotInstalled(MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name.partition(".")[0] == "openvino":
                raise ModuleNotFoundError("No module named 'openvino'", name="openvino")
    sys.meta_path.insert(0, NotInstalled())
    """
    shown = in_another_process(textwrap.dedent(code) + SHOW_RUNTIME, recognition)
    assert shown.splitlines() == [ON_ONNX_RUNTIME, ON_ONNX_RUNTIME, "512"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            "raise OSError('libtbb.so.12: cannot open shared object file')",
            "libtbb.so.12: cannot open shared object file",
        ),
        ("import a_library_of_openvino", "No module named 'a_library_of_openvino'"),
        ("", "module 'openvino' has no attribute 'Core'"),
    ],
)
def test_a_broken_openvino_is_said_and_onnx_runtime_runs_all(
    recognition: Path, tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "openvino.py").write_text(content)
    code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
    shown = in_another_process(code + SHOW_RUNTIME, recognition)
    sentence = f"{ON_ONNX_RUNTIME}, because OpenVINO cannot be imported: {reason}"
    assert shown.splitlines() == [sentence, sentence, "512"]


def test_a_network_that_openvino_cannot_load(recognition: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")

    def refuse(*_: object) -> Network:
        raise RuntimeError("Check 'unknown_operators.empty()' failed:\nOpenVINO does not support: FancyNode.\n")

    monkeypatch.setattr(openvino_runtime, "_open", refuse)
    network = ArcFaceNetwork(recognition, [CPU])
    assert network.session.runtime == (
        f"{ON_ONNX_RUNTIME}, because OpenVINO cannot load it: OpenVINO does not support: FancyNode"
    )
    assert network.dimension == 512


def test_a_damaged_network_is_reported_as_before(tmp_path: Path) -> None:
    damaged = tmp_path / "w600k_mbf.onnx"
    damaged.write_bytes(b"not ONNX")
    error_text = says.FILE_CANNOT_BE_LOADED.pattern(file="w600k_mbf.onnx", folder=tmp_path)
    with pytest.raises(ModelError, match=error_text):
        open_embedder(f"{damaged.name} in {tmp_path}", damaged, [CPU])


def test_openvino_sends_no_telemetry(recognition: Path, tmp_path: Path) -> None:
    """OpenVINO sends an event at its import if its telemetry package is installed. Here, that package would say so."""
    pytest.importorskip("openvino")
    (tmp_path / "openvino_telemetry").mkdir()
    (tmp_path / "openvino_telemetry" / "__init__.py").write_text("raise SystemExit('it was imported')")
    home = tmp_path / "home"
    home.mkdir()
    code = """
    import sys
    sys.path.insert(0, sys.argv[2])
    def refuse(event, arguments):
        if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
            raise RuntimeError(event)
    sys.addaudithook(refuse)
    """
    shown = in_another_process(textwrap.dedent(code) + SHOW_RUNTIME, recognition, tmp_path, HOME=str(home))
    assert shown.splitlines() == [OPENVINO, OPENVINO, "512"]
    assert list(home.iterdir()) == []


FORK = """
import os, sys, threading
from pathlib import Path
import numpy as np
from pgface.faces.engines import inference, openvino_runtime
from pgface.faces.engines.arcface import ArcFaceNetwork
inference.usable_cores = lambda: 2
openvino_runtime._switched_off = {switched_off}
face = np.full((112, 112, 3), 120, np.uint8)
network = ArcFaceNetwork(Path(sys.argv[1]), ["CPUExecutionProvider"])
for _ in range(10):
    network.describe(face)
for thread in threading.enumerate():
    if thread.name == "pgface-network":
        thread.join()
here = network.describe(face)
assert network.session._all_cores
reader, writer = os.pipe()
if os.fork() == 0:
    if {load_again}:
        network = ArcFaceNetwork(Path(sys.argv[1]), ["CPUExecutionProvider"])
    there = [network.describe(face) for _ in range(10)][-1]
    os.write(writer, (network.session.runtime + "\\n" + str(float(np.abs(here - there).max()))).encode())
    {ending}
os.close(writer)
print(os.read(reader, 4096).decode())
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.parametrize("ending", ["os._exit(0)", "sys.exit(0)"])
@pytest.mark.parametrize("load_again", [True, False])
@pytest.mark.parametrize("runtime", [OPENVINO, ON_ONNX_RUNTIME])
def test_a_forked_child_embeds_and_ends(recognition: Path, runtime: str, load_again: bool, ending: str) -> None:
    """Native threads exist only in the parent. A child that waits for one of them never ends."""
    if runtime == OPENVINO:
        pytest.importorskip("openvino")
    code = FORK.format(switched_off=runtime != OPENVINO, load_again=load_again, ending=ending)
    there, difference_, exit_code = in_another_process(code, recognition).splitlines()
    because = ", because this process was forked from one that uses OpenVINO" if runtime == OPENVINO else ""
    assert there == ON_ONNX_RUNTIME + because
    assert float(difference_) < 1e-4  # of a descriptor with a norm of about 20
    assert exit_code == "0"


@pytest.mark.parametrize("imports", ["import openvino", "import pgface.faces.engines.openvino_runtime as r"])
def test_a_child_uses_openvino_if_its_parent_did_not(recognition: Path, imports: str) -> None:
    pytest.importorskip("openvino")
    code = f"""
    import os, sys
    from pathlib import Path
    from pgface.faces.engines.arcface import ArcFaceNetwork
    {imports}
    if os.fork() == 0:
        print(ArcFaceNetwork(Path(sys.argv[1]), ["CPUExecutionProvider"]).session.runtime)
        sys.exit(0)
    os.wait()
    """
    assert in_another_process(code, recognition).splitlines() == [OPENVINO]


# How many cores


class Recorder:
    """A session that records its calls."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def run(self, *_: object) -> list[Any]:
        self.calls.append(self.name)
        return []

    def get_inputs(self) -> Sequence[Any]:
        return ()

    def get_outputs(self) -> Sequence[Any]:
        return ()

    def get_providers(self) -> Sequence[str]:
        return [CPU]


SMALL, LARGE = {"x": np.zeros((1, 3, 10, 10))}, {"x": np.zeros((1, 3, 20, 20))}


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def network(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.setattr(inference, "usable_cores", lambda: 4)
    monkeypatch.setattr(inference, "running_calls", RunningCalls())
    return Network(Recorder("one core", calls), "a runtime", lambda: Recorder("all cores", calls), all_cores_from=400)


@pytest.fixture
def _other_call(network: Network) -> Iterator[None]:  # noqa: ARG001 - it replaces the counter
    """Another thread runs a network."""
    started, ended = threading.Event(), threading.Event()

    def call() -> None:
        with inference.running_calls.one():
            started.set()
            ended.wait()

    thread = threading.Thread(target=call)
    thread.start()
    started.wait()
    yield
    ended.set()
    thread.join()


def wait_for_all_cores() -> None:
    """Wait until the thread that opens the session for all cores has ended."""
    for thread in threading.enumerate():
        if thread.name == "pgface-network":
            thread.join(60)


def test_calls_that_are_alone_use_all_cores_after_the_first(network: Network, calls: list[str]) -> None:
    for _ in range(8):
        network.run(None, LARGE)
    wait_for_all_cores()
    for _ in range(12):
        network.run(None, LARGE)
    assert calls[:7] == ["one core"] * 7  # the eighth call may have the new session already
    assert calls[8:] == ["all cores"] * 12


def test_no_call_waits_for_the_session_for_all_cores(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "usable_cores", lambda: 4)
    monkeypatch.setattr(inference, "running_calls", RunningCalls())
    opened = threading.Event()

    def open_slowly() -> Recorder:
        opened.wait(60)
        return Recorder("all cores", calls)

    network = Network(Recorder("one core", calls), "a runtime", open_slowly)
    for _ in range(20):
        network.run(None, LARGE)
    assert calls == ["one core"] * 20
    opened.set()
    wait_for_all_cores()
    network.run(None, LARGE)
    assert calls[20:] == ["all cores"]


def test_small_pictures_use_one_core(network: Network, calls: list[str]) -> None:
    for _ in range(20):
        network.run(None, SMALL)
    assert set(calls) == {"one core"}


@pytest.mark.usefixtures("_other_call")
def test_calls_under_load_use_one_core(network: Network, calls: list[str]) -> None:
    for _ in range(20):
        network.run(None, LARGE)
    assert set(calls) == {"one core"}


def test_a_short_gap_between_photos_is_still_load(
    network: Network, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(10):
        network.run(None, LARGE)
    wait_for_all_cores()
    now = time.monotonic() + 10
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with inference.running_calls.one() as first, inference.running_calls.one() as second:
        assert (first, second) == (True, False)
    calls.clear()
    network.run(None, LARGE)
    now += 0.2
    network.run(None, LARGE)
    assert calls == ["one core", "all cores"]


def test_a_call_that_fails_is_not_counted_on(network: Network) -> None:
    def fail(*_: object) -> list[Any]:
        raise RuntimeError

    network._session.run = fail  # type: ignore[method-assign]
    with pytest.raises(ModelError):
        network.run(None, LARGE)
    with inference.running_calls.one() as alone:
        assert alone


def test_a_session_for_all_cores_that_cannot_be_opened(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "usable_cores", lambda: 4)
    monkeypatch.setattr(inference, "running_calls", RunningCalls())
    opened = []

    def refuse() -> Recorder:
        opened.append(1)
        raise ModelError("too little memory")

    network = Network(Recorder("one core", calls), "a runtime", refuse)
    for _ in range(20):
        network.run(None, LARGE)
    assert (calls, opened) == (["one core"] * 20, [1])


def test_one_core_needs_one_session(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "usable_cores", lambda: 1)
    network = Network(Recorder("one core", calls), "a runtime", lambda: pytest.fail("it was opened"))
    for _ in range(20):
        network.run(None, LARGE)
    assert calls == ["one core"] * 20


@pytest.mark.parametrize("runtime", [OPENVINO, ON_ONNX_RUNTIME])
def test_all_cores_give_the_same_numbers(
    runtime: str, recognition: Path, noise: RGBImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runtime == OPENVINO:
        pytest.importorskip("openvino")
    monkeypatch.setattr(inference, "usable_cores", lambda: 2)
    monkeypatch.setattr(inference, "running_calls", RunningCalls())
    monkeypatch.setattr(openvino_runtime, "_switched_off", runtime != OPENVINO)
    network = ArcFaceNetwork(recognition, [CPU])
    assert network.session.runtime == runtime
    found = [network.describe(noise) for _ in range(12)]
    wait_for_all_cores()
    found += [network.describe(noise) for _ in range(4)]
    assert network.session._all_cores is not None
    assert max(float(np.abs(unit(each) - unit(found[0])).max()) for each in found) < 1e-6


def test_a_file_that_was_replaced_is_not_opened_for_all_cores(
    recognition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "usable_cores", lambda: 2)
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(recognition.read_bytes())
    network = open_session("copy", copy, [CPU])
    assert network._open_all_cores is not None
    copy.unlink()
    copy.write_bytes(recognition.read_bytes())
    with pytest.raises(ModelError, match=says.FILE_HAS_CHANGED.pattern(file="copy")):
        network._open_all_cores()


def test_many_threads_embed_the_same(recognition: Path, noise: RGBImage) -> None:
    network = ArcFaceNetwork(recognition, [CPU])
    alone = network.describe(noise)
    found: list[NDArray[np.float32]] = []

    def embed() -> None:
        found.extend(network.describe(noise) for _ in range(5))

    threads = [threading.Thread(target=embed) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert max(float(np.abs(unit(each) - unit(alone)).max()) for each in found) < 1e-6


def test_the_other_session_of_onnx_runtime_sleeps_between_calls(
    insightface_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "usable_cores", lambda: 2)
    network = open_session("det_500m", insightface_pack / "det_500m.onnx", [CPU])
    assert runs_one_thread_that_does_not_spin(network)
    assert network._open_all_cores is not None
    other: Any = network._open_all_cores()
    options = other.get_session_options()
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    picture = {network.get_inputs()[0].name: np.zeros((1, 3, 640, 640), np.float32)}
    other.run(None, picture)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1
