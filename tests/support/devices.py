"""Execution providers of the installed ONNX Runtime that tests can use."""

from __future__ import annotations

import pytest


def need_azure() -> None:
    """Skip the test without the provider that ONNX Runtime's builds for the CPU have, and that runs no network."""
    import onnxruntime

    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this build of ONNX Runtime has no provider that runs nothing")


def need_openvino() -> None:
    """Skip the test without onnxruntime-openvino, the only build whose second provider runs without other hardware."""
    import onnxruntime

    if "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this build of ONNX Runtime is not onnxruntime-openvino")
