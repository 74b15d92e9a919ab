"""The value of PGFACE_EXECUTION_PROVIDER: where ONNX Runtime runs, and with which options.

It is a list of providers, separated by commas, in the order in which ONNX Runtime asks them. Names have any case, with
or without `ExecutionProvider`. Options follow a provider's name after a colon, separated by commas too:

    CUDA
    CUDAExecutionProvider,CPUExecutionProvider
    OpenVINO:device_type=GPU,precision=FP32
    Tensorrt:device_id=1,CUDA:device_id=1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from pgface.errors import ExecutionProviderError

Provider: TypeAlias = "str | tuple[str, Mapping[str, str]]"
"""ONNX Runtime's name of a provider, or the name with options. It takes both."""

_SUFFIX: Final = "ExecutionProvider"
CPU: Final = f"CPU{_SUFFIX}"
"""ONNX Runtime's name of the CPU."""
_OTHER_NAMES: Final = {"directml": "dml", "onednn": "dnnl"}
_PACKAGES: Final = {
    "CUDA": "onnxruntime-gpu",
    "Tensorrt": "onnxruntime-gpu",
    "OpenVINO": "onnxruntime-openvino",
    "CoreML": "onnxruntime for macOS",
    "Dml": "onnxruntime-directml",
    "MIGraphX": "onnxruntime-migraphx",
    "QNN": "onnxruntime-qnn",
}
"""The builds of ONNX Runtime that contain each provider. Only one of them can be installed at a time."""


def name_of(provider: Provider) -> str:
    """Return ONNX Runtime's name of a provider."""
    return provider if isinstance(provider, str) else provider[0]


def short_name(provider: Provider) -> str:
    """Return a provider's name without its suffix."""
    return name_of(provider).removesuffix(_SUFFIX)


def parse_providers(requested: str, known: Sequence[str], available: Sequence[str]) -> list[Provider]:
    """Return the providers of a setting, and last the CPU.

    Args:
        requested: the value of PGFACE_EXECUTION_PROVIDER.
        known: the names of all providers.
        available: the names of those that the installed ONNX Runtime has.

    Raises:
        ExecutionProviderError: the value cannot be used with this ONNX Runtime.

    """
    found: list[tuple[str, dict[str, str]]] = []
    for part in filter(None, map(str.strip, requested.split(","))):
        name, _, option = part.partition(":")
        if "=" in name:
            option = part
        else:
            found.append((_resolve(name, known, available), {}))
        if option:
            _add_option(found, requested, option)
    *others, last = [name for name, _ in found] or [""]
    if not last or CPU in others or dict(found).get(CPU):
        raise ExecutionProviderError(
            f"PGFACE_EXECUTION_PROVIDER={requested} cannot be used. Give a provider, or several in their order, for "
            "example CUDA or OpenVINO:device_type=GPU. CPU is the last one, and has no options."
        )
    providers: list[Provider] = [(name, options) if options else name for name, options in found]
    return providers if last == CPU else [*providers, CPU]


def _add_option(found: list[tuple[str, dict[str, str]]], requested: str, option: str) -> None:
    name, equals, value = option.partition("=")
    if not found or not equals or not name.strip():
        raise ExecutionProviderError(
            f"{option} in PGFACE_EXECUTION_PROVIDER={requested} is not an option. Give options after the provider's "
            "name, for example CUDA:device_id=1,use_tf32=0."
        )
    found[-1][1][name.strip()] = value.strip()


def _resolve(requested: str, known: Sequence[str], available: Sequence[str]) -> str:
    key = requested.strip().lower().removesuffix(_SUFFIX.lower())
    key = _OTHER_NAMES.get(key, key)
    names = {short_name(provider).lower(): provider for provider in (*known, *available)}
    here = ", ".join(short_name(provider) for provider in available)
    if key not in names:
        raise ExecutionProviderError(
            f"There is no execution provider named {requested}. The installed ONNX Runtime offers {here}. "
            "Correct PGFACE_EXECUTION_PROVIDER."
        )
    provider = names[key]
    if provider not in available:
        package = _PACKAGES.get(short_name(provider), "a build of onnxruntime that has it")
        raise ExecutionProviderError(
            f"The installed ONNX Runtime has no {short_name(provider)}, only {here}. Install {package} "
            "instead of onnxruntime, or set PGFACE_EXECUTION_PROVIDER=CPU."
        )
    return provider
