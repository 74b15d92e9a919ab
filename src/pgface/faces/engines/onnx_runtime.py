"""ONNX Runtime: its execution providers, and session options for many concurrent photos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgface.errors import ModelError, ModelNotInstalledError
from pgface.system.extras import how_to_install

_SUFFIX = "ExecutionProvider"
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


def throughput_options() -> Any:
    """Return session options for one concurrent call per core. Each call has one thread, which never spins.

    Measured on two cores with det_500m and w600k_mbf: 68-72 images/s, where the defaults reach 42-45.
    """
    options = import_onnxruntime().SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Errors are raised anyway. The warnings on stderr are about the packs' static output shapes, which are correct.
    options.log_severity_level = 3
    return options


def open_session(name: str, model: Path | bytes, providers: Sequence[str]) -> Any:
    """Open a network for concurrent calls.

    Args:
        name: the name of the network in errors.
        model: its file, or the content of one.
        providers: the result of `execution_providers`.

    Returns:
        An `onnxruntime.InferenceSession`. You can run it from many threads.

    Raises:
        ModelNotInstalledError: ONNX Runtime is missing.
        ModelError: the network cannot be loaded, or does not run on the first provider.

    """
    content = model if isinstance(model, bytes) else str(model)
    onnxruntime = import_onnxruntime()
    try:
        session = onnxruntime.InferenceSession(content, sess_options=throughput_options(), providers=list(providers))
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
    cpu = f"CPU{_SUFFIX}"
    return [cpu] if provider == cpu else [provider, cpu]


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
