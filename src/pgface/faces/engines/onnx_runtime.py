"""ONNX Runtime: its execution providers, and session options for many concurrent photos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pgface.errors import ModelError, ModelNotInstalledError
from pgface.faces.engines.inference import MAX_CORES_FOR_A_PHOTO, Network, Session
from pgface.system.extras import how_to_install
from pgface.system.resources import usable_cores

_SUFFIX = "ExecutionProvider"
CPU = f"CPU{_SUFFIX}"
"""ONNX Runtime's name of the CPU."""
_ALL_CORES_FROM = 400 * 400
"""Measured on two cores: det_500m takes 4.8 ms on one and 4.3 on both at 320 x 320 pixels, and 19 and 16 at 640 x 640.
YuNet takes 2.1 and 3.3, and 8.8 and 4.7."""
_OTHER_NAMES = {"directml": "dml", "onednn": "dnnl"}
_PACKAGES = {
    "CUDA": "onnxruntime-gpu",
    "Tensorrt": "onnxruntime-gpu",
    "OpenVINO": "onnxruntime-openvino",
    "CoreML": "onnxruntime for macOS",
    "Dml": "onnxruntime-directml",
    "MIGraphX": "onnxruntime-migraphx",
    "QNN": "onnxruntime-qnn",
}
"""The builds of ONNX Runtime that contain each provider. Only one of them can be installed at a time."""


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
    name: str, model: Path | bytes, providers: Sequence[str], *, all_cores_from: int = _ALL_CORES_FROM
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
        ModelError: the network cannot be loaded, or does not run on the first provider.

    """
    version = _version(model)
    session = _open(name, model, providers, threads=1)

    def open_all_cores() -> Session:
        if _version(model) != version:  # two sessions of one network must have the same weights
            raise ModelError(f"{name} has changed since it was loaded.")
        return _open(name, model, providers, threads=min(usable_cores(), MAX_CORES_FOR_A_PHOTO))

    return Network(
        session,
        runtime_name(providers),
        open_all_cores if providers[0] == CPU else None,
        all_cores_from=all_cores_from,
    )


def runtime_name(providers: Sequence[str]) -> str:
    """Return what runs a network on the first of these providers, for people."""
    return f"ONNX Runtime ({short_name(providers[0])})"


def _version(model: Path | bytes) -> tuple[int, ...] | None:
    """Return numbers that change if a file is replaced."""
    if isinstance(model, bytes):
        return None
    with suppress(OSError):  # opening it says what is wrong
        status = model.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _open(name: str, model: Path | bytes, providers: Sequence[str], *, threads: int) -> Session:
    content = model if isinstance(model, bytes) else str(model)
    onnxruntime = import_onnxruntime()
    try:
        session: Session = onnxruntime.InferenceSession(
            content, sess_options=session_options(threads), providers=list(providers)
        )
    except Exception as error:  # the library raises a different class for each kind of damage
        raise ModelError(
            f"{name} cannot be loaded: it is damaged, or made for another version of ONNX Runtime. "
            "Install the model again."
        ) from error
    provider_in_use((session,), providers[0])
    return session


def execution_providers(requested: str) -> list[str]:
    """Return ONNX Runtime's names of the requested provider and of the CPU, which runs what this provider cannot.

    Args:
        requested: the name of a provider, with or without `ExecutionProvider`, in any case: `CPU`, `cuda`, `OpenVINO`.

    Raises:
        ModelError: there is no such provider, or the installed ONNX Runtime was built without it.

    """
    onnxruntime = import_onnxruntime()
    provider = _resolve(requested, onnxruntime.get_all_providers(), onnxruntime.get_available_providers())
    return [CPU] if provider == CPU else [provider, CPU]


def _resolve(requested: str, known: Sequence[str], available: Sequence[str]) -> str:
    key = requested.strip().lower().removesuffix(_SUFFIX.lower())
    key = _OTHER_NAMES.get(key, key)
    names = {short_name(provider).lower(): provider for provider in (*known, *available)}
    here = ", ".join(short_name(provider) for provider in available)
    if key not in names:
        raise ModelError(
            f"There is no execution provider named {requested}. The installed ONNX Runtime offers {here}. "
            "Correct PGFACE_EXECUTION_PROVIDER."
        )
    provider = names[key]
    if provider not in available:
        package = _PACKAGES.get(short_name(provider), "a build of onnxruntime that has it")
        raise ModelError(
            f"The installed ONNX Runtime has no {short_name(provider)}, only {here}. Install {package} "
            "instead of onnxruntime, or set PGFACE_EXECUTION_PROVIDER=CPU."
        )
    return provider


def provider_in_use(sessions: Sequence[Any], requested: str) -> str:
    """Return the provider that sessions actually run on.

    Raises:
        ModelError: ONNX Runtime silently fell back to another one, because a driver or library is missing.

    """
    for session in sessions:
        first: str = session.get_providers()[0]
        if first != requested:
            raise ModelError(
                f"ONNX Runtime could not start {short_name(requested)} and would run on {short_name(first)}: a driver "
                "or library is missing or of the wrong version. Fix that, or set PGFACE_EXECUTION_PROVIDER=CPU."
            )
    return requested


def short_name(provider: str) -> str:
    """Return a provider's name without its suffix."""
    return provider.removesuffix(_SUFFIX)
