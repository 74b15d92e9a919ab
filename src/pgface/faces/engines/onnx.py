"""ONNX Runtime: where it runs, and how its sessions are set for many photos at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
"""The builds of ONNX Runtime that bring each provider; only one of them may be installed at a time."""


def import_onnxruntime() -> Any:
    """Import ONNX Runtime, with its telemetry off: since 1.29 its Linux builds send events unless told not to.

    Raises:
        ModelNotInstalledError: it is not installed, or cannot be loaded.

    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, when it is first imported
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelNotInstalledError(
            f"ONNX Runtime cannot be imported; install it with {how_to_install('insightface')}."
        ) from error
    onnxruntime.disable_telemetry_events()  # where another library imported it before
    return onnxruntime


def throughput_options() -> Any:
    """Session options for as many concurrent calls as there are cores, each on one thread that never spins.

    Measured on two cores with det_500m and w600k_mbf: 68-72 images/s, where the defaults reach 42-45.
    """
    options = import_onnxruntime().SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Errors come as exceptions; the warnings on stderr are about the packs' static output shapes, which hold.
    options.log_severity_level = 3
    return options


def execution_providers(asked: str) -> list[str]:
    """ONNX Runtime's names of the provider asked for and of the CPU, which does what the provider cannot.

    Args:
        asked: a provider's name, with or without `ExecutionProvider`, in any case: `CPU`, `cuda`, `OpenVINO`.

    Raises:
        ModelError: there is no such provider, or the installed ONNX Runtime was built without it.

    """
    onnxruntime = import_onnxruntime()
    provider = _resolve(asked, onnxruntime.get_all_providers(), onnxruntime.get_available_providers())
    cpu = f"CPU{_SUFFIX}"
    return [cpu] if provider == cpu else [provider, cpu]


def _resolve(asked: str, known: Sequence[str], available: Sequence[str]) -> str:
    key = asked.strip().lower().removesuffix(_SUFFIX.lower())
    key = _OTHER_NAMES.get(key, key)
    names = {short_name(provider).lower(): provider for provider in (*known, *available)}
    here = ", ".join(short_name(provider) for provider in available)
    if key not in names:
        raise ModelError(
            f"There is no execution provider named {asked}; the installed ONNX Runtime offers {here}. "
            "Correct PGFACE_EXECUTION_PROVIDER."
        )
    provider = names[key]
    if provider not in available:
        package = _PACKAGES.get(short_name(provider), "a build of onnxruntime that has it")
        raise ModelError(
            f"The installed ONNX Runtime has no {short_name(provider)}, only {here}; install {package} "
            "in place of onnxruntime, or set PGFACE_EXECUTION_PROVIDER=CPU."
        )
    return provider


def provider_in_use(sessions: Sequence[Any], asked: str) -> str:
    """The provider that sessions really run on.

    Raises:
        ModelError: ONNX Runtime quietly fell back to another one, because a driver or library is missing.

    """
    for session in sessions:
        first: str = session.get_providers()[0]
        if first != asked:
            raise ModelError(
                f"ONNX Runtime could not start {short_name(asked)} and would run on {short_name(first)}: a driver or "
                "library is missing or of the wrong version; mend that, or set PGFACE_EXECUTION_PROVIDER=CPU."
            )
    return asked


def short_name(provider: str) -> str:
    """A provider's name as people write it."""
    return provider.removesuffix(_SUFFIX)
