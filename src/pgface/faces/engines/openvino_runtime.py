"""OpenVINO: runs the networks that embed faces, if it is installed.

Its numbers are those of ONNX Runtime, to 1e-6 of an embedding. On two cores of an AMD EPYC, it needs 0.66 x the
processor time for w600k_mbf and 0.75 x for SFace. The detectors are not faster, so ONNX Runtime runs them.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from pgface.errors import ModelError
from pgface.faces.engines.inference import MAX_CORES_FOR_A_PHOTO, Network, Session, message_of
from pgface.faces.engines.onnx_runtime import open_session, runtime_name
from pgface.faces.engines.providers import CPU, Provider
from pgface.faces.engines.runtimes import OPENVINO
from pgface.system.forks import call_after_fork, leave_to_parent
from pgface.system.resources import usable_cores

_TELEMETRY: Final = "openvino_telemetry"
_PROPERTIES: Final = {
    "INFERENCE_PRECISION_HINT": "f32",  # the default is bfloat16 where the processor has it, with other numbers
    "ENABLE_CPU_PINNING": False,  # two processes would share the same cores and leave others idle
}
_FORKED: Final = "this process was forked from one that uses OpenVINO"
_ONNX_TYPES: Final = {"f32": "tensor(float)", "u8": "tensor(uint8)"}


def open_embedder(name: str, model: Path | Callable[[], bytes], providers: Sequence[Provider]) -> Network:
    """Open a network that embeds faces with the fastest runtime that is there.

    OpenVINO runs it on the CPU where it is installed, and ONNX Runtime otherwise. If OpenVINO cannot, ONNX Runtime
    does, and `Network.runtime` says why.

    Args:
        name: the name of the network in errors.
        model: its file, or a function that returns the content of one.
        providers: the result of `execution_providers`. OpenVINO is only used for the CPU.

    Raises:
        ModelNotInstalledError: ONNX Runtime is missing.
        ExecutionProviderError: it does not run on the first provider.
        ModelError: neither can load the network.

    """
    reason = why_not(providers)
    if reason is None:
        try:
            return _open(name, model)
        except Exception as error:  # the library raises RuntimeError for all that it cannot do
            reason = f"OpenVINO cannot load it: {message_of(error)}"
    network = _open_with_onnx_runtime(name, model, providers)
    if reason:
        network.runtime += f", because {reason}"
    return network


def _open_with_onnx_runtime(name: str, model: Path | Callable[[], bytes], providers: Sequence[Provider]) -> Network:
    return open_session(name, model if isinstance(model, Path) else model(), providers, all_cores_from=0)


def embedding_runtime(providers: Sequence[Provider]) -> str:
    """Return the `Network.runtime` of `open_embedder` for a network that OpenVINO can load, without loading one."""
    reason = why_not(providers)
    if reason is None:
        return OPENVINO
    return runtime_name(providers) + (f", because {reason}" if reason else "")


def why_not(providers: Sequence[Provider]) -> str | None:
    """Return why OpenVINO does not run networks.

    The result is None if it does, and empty if it is not installed or another device was chosen.
    """
    if providers[0] != CPU or _switched_off:
        return ""
    if _forked:
        return _FORKED
    try:
        _core()
    except ModuleNotFoundError as error:
        if error.name == "openvino":
            return ""
        return f"OpenVINO cannot be imported: {message_of(error)}"
    except Exception as error:  # for example a library that is missing, or made for another processor
        return f"OpenVINO cannot be imported: {message_of(error)}"
    return None


@contextmanager
def without_openvino() -> Iterator[None]:
    """Let ONNX Runtime run the networks that are opened in the block. For comparisons in a process of their own."""
    global _switched_off
    _switched_off = True
    try:
        yield
    finally:
        _switched_off = False


_switched_off = False
_forked = False
_importing = threading.Lock()


@cache
def _core() -> Any:
    """Import OpenVINO without telemetry, which it sends at every import if the package for it is installed."""
    with _importing:
        missing = object()
        telemetry = sys.modules.get(_TELEMETRY, missing)
        # None makes Python raise an ImportError, and OpenVINO then uses its own stub.
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            if telemetry is missing:
                del sys.modules[_TELEMETRY]
            else:
                sys.modules[_TELEMETRY] = telemetry  # type: ignore[assignment]
    core = openvino.Core()
    # A file that is replaced later must not change a network that is in use.
    core.set_property({"ENABLE_MMAP": False})
    core.set_property("CPU", _PROPERTIES)
    return core


@call_after_fork
def _leave_core_to_parent() -> None:
    """Stop using OpenVINO in the child of a process that used it: its threads exist only in the parent."""
    global _forked, _importing
    if _core.cache_info().currsize:
        leave_to_parent(_core())
        _forked = True
    _importing = threading.Lock()


def _open(name: str, model: Path | Callable[[], bytes]) -> Network:
    core, cores = _core(), usable_cores()
    network = core.read_model(str(model)) if isinstance(model, Path) else core.read_model(model(), b"")
    session = _OpenVinoSession(core, network, name, streams=cores, threads=cores)
    session.try_out()

    def open_all_cores() -> Session:
        try:
            return _OpenVinoSession(core, network, name, streams=1, threads=min(cores, MAX_CORES_FOR_A_PHOTO))
        except Exception as error:  # as above
            raise ModelError(f"OpenVINO cannot load {name}: {message_of(error)}") from error

    return Network(
        session,
        OPENVINO,
        open_all_cores,
        open_in_child=partial(_open_with_onnx_runtime, name, model, [CPU]),
        runtime_in_child=f"{runtime_name([CPU])}, because {_FORKED}",
    )


@dataclass(frozen=True, slots=True)
class _Port:
    """An input or output, as ONNX Runtime describes it."""

    name: str
    shape: list[int | None]
    """None for a dimension of any size."""
    type: str


class _OpenVinoSession:
    """A compiled network with the methods of an `onnxruntime.InferenceSession`. You can use it from many threads."""

    def __init__(self, core: Any, network: Any, name: str, *, streams: int, threads: int) -> None:
        """Compile a network.

        Args:
            core: OpenVINO's core.
            network: the network that it read.
            name: the name of the network in errors.
            streams: the number of calls that run at the same time. Others wait.
            threads: the number of threads of all streams together.

        """
        compiled = core.compile_model(network, "CPU", {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": threads})
        self._name = name
        self._new_request = compiled.create_infer_request
        self._requests: deque[Any] = deque()
        """Requests that no thread uses."""
        self._inputs = [_port(each) for each in compiled.inputs]
        self._outputs = [_port(each) for each in compiled.outputs]

    def run(self, output_names: Sequence[str] | None, inputs: Mapping[str, Any], /) -> list[Any]:
        """Run the network on the arrays of its inputs, and return those of its outputs."""
        try:
            request = self._requests.pop()
        except IndexError:
            request = self._new_request()
        try:
            request.infer(dict(inputs), share_inputs=True)
            # Copied, because the next call of the request writes to the same memory.
            outputs = [np.array(request.get_output_tensor(index).data) for index in range(len(self._outputs))]
        finally:
            self._requests.append(request)
        if output_names is None:
            return outputs
        places = [port.name for port in self._outputs]
        return [outputs[places.index(name)] for name in output_names]

    def try_out(self) -> None:
        """Run the network once, because some faults appear only then."""
        (port,) = self._inputs
        shape = [size or 1 for size in port.shape]
        self.run(None, {port.name: np.zeros(shape, np.uint8 if port.type == "tensor(uint8)" else np.float32)})

    def get_inputs(self) -> Sequence[_Port]:
        """Return the inputs."""
        return self._inputs

    def get_outputs(self) -> Sequence[_Port]:
        """Return the outputs."""
        return self._outputs

    def get_providers(self) -> Sequence[str]:
        """Return ONNX Runtime's name of the CPU."""
        return [CPU]


def _port(port: Any) -> _Port:
    shape = [None if size.is_dynamic else size.get_length() for size in port.get_partial_shape()]
    type_ = port.get_element_type().get_type_name()
    return _Port(port.get_any_name(), shape, _ONNX_TYPES.get(type_, f"tensor({type_})"))
