"""Networks with the inputs and outputs of those for liveness. Their scores can be computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

PICTURE = (1, 3, 80, 80)


def save_minifasnet(
    file: Path,
    *,
    weight: float,
    bias: Sequence[float] = (0, 0, 0),
    softmax: bool = False,
    picture: Sequence[int] = PICTURE,
) -> Path:
    """Save a MiniFASNet: three classes, each `weight` times the mean of one channel of the input, plus `bias`."""
    last = "classes" if softmax else "output"
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Mul", ["flat", "weight"], ["weighted"]),
        helper.make_node("Add", ["weighted", "bias"], [last]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", [last], ["output"]))
    return _save(file, nodes, picture, (picture[0], 3), {"weight": _numbers(weight), "bias": _numbers(bias)})


def save_constant_minifasnet(file: Path, *classes: float) -> Path:
    """Save a MiniFASNet with a constant output."""
    return save_minifasnet(file, weight=0, bias=classes)


def save_addon(file: Path, *, of_first: float = 1.0, bias: float = 0.0) -> Path:
    """Save an InsightFace addon: one number, `of_first` times the mean of the input's first channel, plus `bias`."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["first"]),
        helper.make_node("Add", ["first", "bias"], ["output"]),
    ]
    return _save(file, nodes, PICTURE, (1,), {"weight": _numbers([of_first, 0, 0]), "bias": _numbers(bias)})


def _numbers(values: float | Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def _save(
    file: Path,
    nodes: Sequence[onnx.NodeProto],
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    numbers: dict[str, NDArray[np.float32]],
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "liveness",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(values, name) for name, values in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, file)
    return file
