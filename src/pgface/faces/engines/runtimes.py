"""What runs the networks of an engine, and where."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

from pgface.faces.engines.onnx_runtime import runtime_name, runtime_of_a_small_network
from pgface.faces.engines.providers import CPU, Provider

OPENVINO: Final = "OpenVINO (CPU)"


def runtimes(detection: str, embedding: str) -> dict[str, str]:
    """Name what runs each step."""
    return {"detection": detection, "embedding": embedding}


def runtimes_of_networks(providers: Sequence[Provider]) -> dict[str, str]:
    """Return what runs the networks of an engine on these execution providers. It imports OpenVINO.

    Raises:
        ExecutionProviderError: the device does not work.

    """
    from pgface.faces.engines.openvino_runtime import embedding_runtime

    if providers[0] != CPU:
        device = runtime_of_a_small_network(providers)
        return runtimes(device, device)

    return runtimes(runtime_name(providers), embedding_runtime(providers))


def expected_runtimes(provider: str) -> dict[str, str]:
    """Return what runs the networks of an engine on this provider if OpenVINO can be imported. It imports nothing."""
    openvino = provider == CPU and find_spec("openvino") is not None
    return runtimes(runtime_name([provider]), OPENVINO if openvino else runtime_name([provider]))


def runtimes_of(engine: Any) -> dict[str, str]:
    """Return what runs an engine. One without networks runs both steps itself."""
    found: dict[str, str] | None = getattr(engine, "runtimes", None)
    return found or runtimes(engine.execution_provider, engine.execution_provider)
