"""Read networks whose weights were rounded to 8 bits.

OpenCV Zoo publishes such weights in blocks, each with its own scale: `DequantizeLinear` with a `block_size` (ONNX
operator set 21). OpenCV reads such files. ONNX Runtime 1.32 refuses YuNet's, where a whole tensor is one block, and
would convert the others in every call. It also asks callers for SFace's weights, because the file names them as inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def read_network(file: Path) -> ModelProto:
    """Read an ONNX file, and convert its rounded weights to float32."""
    import onnx

    network = onnx.load(file)
    dequantize(network)
    return network


def dequantize(network: ModelProto) -> None:
    """Replace each `DequantizeLinear` of stored weights by weights in float32."""
    from onnx import numpy_helper

    graph = network.graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rounded = [
        node for node in graph.node if node.op_type == "DequantizeLinear" and all(name in stored for name in node.input)
    ]
    for node in rounded:
        values, scale, *zero = (stored[name] for name in node.input)
        weights = _weights(node, values, scale, zero[0] if zero else np.zeros_like(scale))
        graph.initializer.append(numpy_helper.from_array(weights, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    # Old files name their weights as inputs too. ONNX Runtime would ask callers for them.
    for value in [value for value in graph.input if value.name in stored or value.name not in used]:
        graph.input.remove(value)


def _weights(node: NodeProto, values: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any]) -> NDArray[np.float32]:
    """Compute (value - zero) · scale, as the operator's definition says."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    scale, zero = (_spread(part, values, axis, block) for part in (scale, zero))
    return np.asarray((values.astype(np.float32) - zero.astype(np.float32)) * scale, np.float32)


def _spread(part: NDArray[Any], values: NDArray[Any], axis: int, block: int) -> NDArray[Any]:
    """Repeat a scale or zero of each block, or of each channel, for all of its values."""
    if block:
        return np.take(part, np.arange(values.shape[axis]) // block, axis=axis)
    if part.ndim == 1 and part.size > 1:
        return part.reshape([-1 if each == axis % values.ndim else 1 for each in range(values.ndim)])
    return part
