"""ONNX Runtime: sessions for many concurrent photos, and proof that they run where they should."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from pgface.errors import ExecutionProviderError, ModelError, ModelNotInstalledError
from pgface.faces.engines.inference import MAX_CORES_FOR_A_PHOTO, Network, Session, message_of
from pgface.faces.engines.providers import CPU, Provider, name_of, parse_providers, short_name
from pgface.system.extras import how_to_install
from pgface.system.resources import usable_cores

_ALL_CORES_FROM = 400 * 400
"""Measured on two cores: det_500m takes 4.8 ms on one and 4.3 on both at 320 x 320 pixels, and 19 and 16 at 640 x 640.
YuNet takes 2.1 and 3.3, and 8.8 and 4.7."""
_SIDE_TO_TRY: Final = 320
"""Sides of the input of a network that takes pictures of any size, when it is tried."""
_ARRAY_TYPES: Final = {"tensor(uint8)": "uint8", "tensor(float16)": "float16"}


def import_onnxruntime() -> Any:
    """Import ONNX Runtime without telemetry. Since 1.29, its Linux builds send events by default.

    Raises:
        ModelNotInstalledError: ONNX Runtime is not installed, or cannot be loaded.

    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, at the first import
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):  # Ctrl-C during the import
            raise KeyboardInterrupt from error
        raise ModelNotInstalledError(
            f"ONNX Runtime cannot be imported. Install it with {how_to_install('insightface')}."
        ) from error
    onnxruntime.disable_telemetry_events()  # in case another library imported it before
    return onnxruntime


def session_options(threads: int) -> Any:
    """Return session options for calls that use this many threads each.

    With one thread a call, one concurrent call for each core gives the most photos per second. Measured on two cores
    with det_500m and w600k_mbf: 68-72 images/s, where the defaults reach 42-45. With more threads, they wait actively
    for each other during a call, and sleep when it ends: without that, w600k_mbf takes 12.3 instead of 10.3 ms.
    """
    options = import_onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if threads == 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Errors are raised anyway. The warnings on stderr are about the packs' static output shapes, which are correct.
    options.log_severity_level = 3
    return options


def open_session(
    name: str, model: Path | bytes, providers: Sequence[Provider], *, all_cores_from: int = _ALL_CORES_FROM
) -> Network:
    """Open a network for concurrent calls.

    Args:
        name: the name of the network in errors.
        model: its file, or the content of one.
        providers: the result of `execution_providers`.
        all_cores_from: pixels of the input from which a call is faster on all cores. The default is for detectors.

    Returns:
        A network with the methods of `onnxruntime.InferenceSession`. You can run it from many threads. On the CPU, a
        photo that is alone uses all cores.

    Raises:
        ModelNotInstalledError: ONNX Runtime is missing.
        ExecutionProviderError: the first provider cannot be started, or runs nothing of the network.
        ModelError: the network cannot be loaded.

    """
    if name_of(providers[0]) != CPU:
        return _open_on_device(name, model, providers)
    version = _version(model)
    session: Session = _open(model, providers, session_options(1), name)

    def open_all_cores() -> Session:
        if _version(model) != version:  # two sessions of one network must have the same weights
            raise ModelError(f"{name} has changed since it was loaded.")
        all_cores = session_options(min(usable_cores(), MAX_CORES_FOR_A_PHOTO))
        opened: Session = _open(model, providers, all_cores, name)
        return opened

    return Network(session, runtime_name(providers), open_all_cores, all_cores_from=all_cores_from)


def runtime_name(providers: Sequence[Provider]) -> str:
    """Return what runs a network on the first of these providers, for people."""
    return f"ONNX Runtime ({short_name(providers[0])})"


def runtime_of_a_small_network(providers: Sequence[Provider]) -> str:
    """Run one convolution, and return what ran it. It says whether a device works, without loading a model.

    Raises:
        ExecutionProviderError: as `open_session`.

    """
    return open_session("a network of one convolution", _one_convolution(), providers).runtime


def _version(model: Path | bytes) -> tuple[int, ...] | None:
    """Return numbers that change if a file is replaced."""
    if isinstance(model, bytes):
        return None
    with suppress(OSError):  # opening it says what is wrong
        status = model.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _open(model: Path | bytes, providers: Sequence[Provider], options: Any, name: str) -> Any:
    content = model if isinstance(model, bytes) else str(model)
    onnxruntime = import_onnxruntime()
    try:
        # With its fallback, a session that fails on a device goes on with the CPU, and says so only on stdout.
        return onnxruntime.InferenceSession(
            content, sess_options=options, providers=list(providers), enable_fallback=False
        )
    except Exception as error:  # the library raises a different class for each kind of damage
        if name_of(providers[0]) != CPU:
            _open(model, [CPU], session_options(1), name)  # raises the error of a damaged file
            raise ExecutionProviderError(
                f"ONNX Runtime could not start {short_name(providers[0])}: {message_of(error)}. Correct that, or set "
                "PGFACE_EXECUTION_PROVIDER=CPU."
            ) from error
        raise ModelError(
            f"{name} cannot be loaded: it is damaged, or made for another version of ONNX Runtime. "
            "Install the model again."
        ) from error


def _open_on_device(name: str, model: Path | bytes, providers: Sequence[Provider]) -> Network:
    """Open a network on a device, and run it once to see which of its steps run there.

    ONNX Runtime leaves every step that a provider does not support to the CPU, and `get_providers` does not show it.
    Its profile does. It is written only for this call.
    """
    with TemporaryDirectory(prefix="pgface-") as folder:
        options = session_options(1)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = _open(model, providers, options, name)
        try:
            _require_provider(session.get_providers()[0], name_of(providers[0]))
            try:
                session.run(None, {each.name: _zeros(each) for each in session.get_inputs()})
            except Exception as error:
                raise ExecutionProviderError(
                    f"{name} fails on {short_name(providers[0])}: {message_of(error)}. Correct that, or set "
                    "PGFACE_EXECUTION_PROVIDER=CPU."
                ) from error
        finally:
            profile = Path(session.end_profiling())
        steps = steps_by_provider(profile.read_text(encoding="utf-8"))
    return Network(session, _runtime_of_steps(name, providers, steps))


def steps_by_provider(profile: str) -> Counter[str]:
    """Count the steps of a network that each provider ran, from ONNX Runtime's profile of one call."""
    steps = [event for event in json.loads(profile) if event.get("cat") == "Node"]
    return Counter(provider for event in steps if (provider := event.get("args", {}).get("provider")))


def _runtime_of_steps(name: str, providers: Sequence[Provider], steps: Counter[str]) -> str:
    """Return `Network.runtime`, with the number of steps that other providers run."""
    first = name_of(providers[0])
    elsewhere = [f"{steps[other]} of {sum(steps.values())} steps on {short_name(other)}" for other in steps]
    if first not in steps:
        raise ExecutionProviderError(
            f"{short_name(first)} runs nothing of {name} ({', '.join(elsewhere)}). Set PGFACE_EXECUTION_PROVIDER to a "
            "provider for your device, or to CPU."
        )
    others = [text for other, text in zip(steps, elsewhere, strict=True) if other != first]
    return f"ONNX Runtime ({', '.join([short_name(first), *others])})"


def _require_provider(first: str, requested: str) -> None:
    """Refuse a session that ONNX Runtime has silently opened on another provider."""
    if first != requested:
        raise ExecutionProviderError(
            f"ONNX Runtime could not start {short_name(requested)} and would run on {short_name(first)}: a driver "
            "or library is missing or of the wrong version, or the provider refuses one of its options. ONNX Runtime's "
            "own error above says which. Correct that, or set PGFACE_EXECUTION_PROVIDER=CPU."
        )


def _zeros(port: Any) -> Any:
    import numpy as np  # here, because `pgface status` imports this module and needs no NumPy

    batch, *sides = port.shape
    shape = [batch if isinstance(batch, int) else 1]
    shape += [side if isinstance(side, int) else _SIDE_TO_TRY for side in sides]
    return np.zeros(shape, _ARRAY_TYPES.get(port.type, "float32"))


def _one_convolution() -> bytes:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weights"], ["y"])],
        "one convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 30, 30])],
        [weights],
    )
    # Old builds of ONNX Runtime read no newer version of the format.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def execution_providers(requested: str) -> list[Provider]:
    """Return the requested providers as ONNX Runtime takes them, and last the CPU, which runs what these cannot.

    Args:
        requested: the value of PGFACE_EXECUTION_PROVIDER, as `pgface.faces.engines.providers` describes it.

    Raises:
        ExecutionProviderError: there is no such provider, or the installed ONNX Runtime was built without it.

    """
    onnxruntime = import_onnxruntime()
    return parse_providers(requested, onnxruntime.get_all_providers(), onnxruntime.get_available_providers())
