"""ArcFace (Deng et al. 2019): the alignment of a face, and the network that embeds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgface.errors import ModelError
from pgface.faces.engines.normalisation import Normalisation
from pgface.faces.engines.openvino_runtime import open_embedder
from pgface.faces.engines.providers import Provider
from pgface.faces.pixels import RGBImage

MAX_WARP_SIDE = 32_000
"""OpenCV's warps refuse a picture with a side of more than 2^15 - 1 pixels."""
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""The landmarks of an aligned face of 112x112 pixels, shape (5, 2). Source: InsightFace's `face_align.arcface_dst`."""
_ARCFACE_INPUT = Normalisation(127.5, 127.5)
_NORMALISED_INSIDE = Normalisation(0.0, 1.0)
_FIRST_NODES = 8


class ArcFaceNetwork:
    """Describes aligned faces. You can use it from many threads."""

    def __init__(self, file: Path, providers: Sequence[Provider], normalisation: Normalisation | None = None) -> None:
        """Load the network.

        Args:
            file: the ONNX file.
            providers: the result of `execution_providers`.
            normalisation: the preparation of its input. None to derive it from the network, as InsightFace does.

        Raises:
            ModelError: the file cannot be loaded, or is not a network for square faces.

        """
        self.session = open_embedder(f"{file.name} in {file.parent}", file, providers)
        self.normalisation = normalisation or _normalisation_of(file)
        (self._input,) = self.session.get_inputs()
        height, width = self._input.shape[2:]
        if not (isinstance(height, int) and height == width):
            raise ModelError(f"{file.name} is not a network that InsightFace uses for recognition.")
        self.side: int = height
        self.dimension = self.describe(np.zeros((height, height, 3), np.uint8)).size

    def describe(self, aligned: RGBImage) -> NDArray[np.float32]:
        """Return the descriptor of an aligned face, shape (dimension,), of any norm.

        Args:
            aligned: shape (side, side, 3), uint8, RGB.

        """
        (output,) = self.session.run(None, {self._input.name: self.normalisation.blob(aligned, self._input.type)})
        return np.asarray(output, np.float32).ravel()

    def embedding(self, descriptor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a descriptor of norm 1 unchanged, because it is an embedding."""
        return descriptor


def _normalisation_of(file: Path) -> Normalisation:
    """Return the normalisation of a network. Networks that were converted from MXNet contain it as Sub and Mul."""
    import onnx

    first = [node.name for node in onnx.load(file, load_external_data=False).graph.node[:_FIRST_NODES]]
    subtracts, multiplies = (
        any(name.startswith(starts) for name in first) for starts in (("Sub", "_minus"), ("Mul", "_mul"))
    )
    return _NORMALISED_INSIDE if subtracts and multiplies else _ARCFACE_INPUT


def aligned_face(image: RGBImage, landmarks: NDArray[np.float32], side: int) -> RGBImage:
    """Warp a face so that its landmarks lie where ArcFace's training put them.

    Args:
        image: shape (height, width, 3), uint8, RGB.
        landmarks: shape (5, 2), in pixels of the image.
        side: side of the result in pixels.

    Returns:
        Shape (side, side, 3), uint8, RGB, black outside the image.

    """
    import cv2

    if max(image.shape[:2]) > MAX_WARP_SIDE:
        image, landmarks = _around(image, landmarks)
    # Models of 112 pixels and its multiples use the template unchanged. Those of 128 centre it.
    template = TEMPLATE * (side / 112) if side % 112 == 0 else (TEMPLATE + np.array([8, 0])) * (side / 128)
    matrix = _similarity(landmarks, template)
    return np.asarray(cv2.warpAffine(image, matrix, (side, side), borderValue=0.0), dtype=np.uint8)


def _similarity(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the 2x3 matrix of rotation, scale and shift from `source` to `target` with the least squared error.

    With points as complex numbers, the transform is z -> az + b, and this is linear regression. It equals the method of
    Umeyama (1991) in the plane.
    """
    z, w = (points.astype(np.float64) @ (1, 1j) for points in (source, target))
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def _around(image: RGBImage, landmarks: NDArray[np.float32]) -> tuple[RGBImage, NDArray[np.float32]]:
    """Return the part of a very long picture around a face, and the landmarks in it."""
    reach = int(4 * np.ptp(landmarks, axis=0).max()) + 1
    low = np.maximum(landmarks.min(axis=0).astype(int) - reach, 0)
    high = landmarks.max(axis=0).astype(int) + reach
    part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    return part, (landmarks - low).astype(np.float32)
