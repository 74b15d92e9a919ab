"""YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector"), with close-ups and turned faces.

The figures below were measured on photos of ten people, ten each, of 250 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgface.faces.cancellation import check_work
from pgface.faces.engines.base import Box, RawDetection
from pgface.faces.engines.dequantize import read_network
from pgface.faces.engines.normalisation import Normalisation
from pgface.faces.engines.onnx_runtime import open_session
from pgface.faces.engines.scrfd_network import keep_best
from pgface.faces.orientation import find_with_retries
from pgface.faces.pixels import RGBImage

MAX_ENLARGEMENT = 2.0
"""Maximum factor by which a small picture is enlarged. The landmarks are then more precise: the mean similarity of
mated photos (SFace's own cosine) was 0.714 instead of 0.691, and that of a photo and its close-up 0.79 instead of 0.71,
if a fifth of the face's box was cut off."""
MIN_SCORE = 0.75
"""Minimum score of a face. Photos without a face had detections of up to 0.73."""
MAX_OVERLAP = 0.3
"""Two boxes with a larger intersection over union are one face. This is the authors' value."""
SURE_SCORE = 0.91
"""All upright photos had a face with a higher score (0.924 at least). Photos on their side, or upside down, had 0.905
at most."""
_STRIDES = (8, 16, 32)
_PIXELS = Normalisation(0.0, 1.0)
"""The network takes values from 0 to 255."""


class YuNet:
    """Finds boxes and five landmarks. You can use it from many threads."""

    def __init__(self, file: Path, size: int, providers: Sequence[str]) -> None:
        """Load the network.

        Args:
            file: the ONNX file.
            size: maximum longer side of the picture that the network gets, in pixels, a multiple of 32.
            providers: the result of `execution_providers`.

        Raises:
            ModelNotInstalledError: ONNX Runtime is missing.
            ModelError: the network cannot be loaded.

        """
        network = read_network(file)
        # The file has a fixed input of 640x640 pixels. The network itself takes any multiple of 32.
        _, _, height, width = network.graph.input[0].type.tensor_type.shape.dim
        height.dim_param, width.dim_param = "height", "width"
        for output in network.graph.output:
            output.type.tensor_type.ClearField("shape")  # it follows from the input
        self._session = open_session(file.name, network.SerializeToString(), providers)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.size = size

    def find(self, image: RGBImage) -> list[RawDetection]:
        """Find the faces of a picture, including close-ups and turned faces.

        Args:
            image: shape (height, width, 3), uint8, RGB.

        """
        return find_with_retries(np.ascontiguousarray(image), self.search, sure_score=SURE_SCORE)

    def search(self, image: RGBImage) -> list[RawDetection]:
        """Search once, for upright faces. Arguments and result are those of `find`."""
        import cv2

        check_work()
        height, width = image.shape[:2]
        scale = min(MAX_ENLARGEMENT, self.size / max(height, width))
        # A picture of 1x4000 pixels must keep at least one pixel.
        columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
        searched = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        boxes, landmarks, scores = self._detect(np.asarray(searched, np.uint8))
        back = np.array([width / columns, height / rows])
        corners, points = boxes.reshape(-1, 2, 2) * back, (landmarks * back).astype(np.float32)
        return [_raw(*face) for face in zip(corners, points, scores, strict=True)]

    def _detect(self, picture: RGBImage) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Run the network.

        Args:
            picture: shape (rows, columns, 3), uint8, RGB, of any size.

        Returns:
            Left, top, right and bottom of each face, shape (n, 4), its landmarks, shape (n, 5, 2), and its score, shape
            (n,), in pixels of the picture, the best score first.

        """
        rows, columns = (-(-side // _STRIDES[-1]) * _STRIDES[-1] for side in picture.shape[:2])
        canvas = np.zeros((rows, columns, 3), np.uint8)
        # It was trained with BGR. With RGB, the lowest score of an upright face falls from 0.897 to 0.877.
        canvas[: picture.shape[0], : picture.shape[1]] = picture[:, :, ::-1]
        blob = _PIXELS.blob(canvas, "tensor(float)")
        outputs = dict(zip(self._outputs, self._session.run(None, {self._input: blob}), strict=True))
        levels = [_decode(outputs, stride, columns // stride) for stride in _STRIDES]
        boxes, landmarks, scores = (np.concatenate(parts) for parts in zip(*levels, strict=True))
        kept = keep_best(np.column_stack([boxes, scores]), MAX_OVERLAP)
        return boxes[kept], landmarks[kept], scores[kept]


def _decode(
    outputs: Mapping[str, NDArray[np.float32]], stride: int, columns: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return boxes, landmarks and scores of one level. Its outputs are relative to a grid of cells, row by row."""
    classes, objects = (outputs[f"{name}_{stride}"][0, :, 0].clip(0, 1) for name in ("cls", "obj"))
    scores = np.sqrt(classes * objects)
    found = np.flatnonzero(scores >= MIN_SCORE)
    cells = np.stack([found % columns, found // columns], axis=1).astype(np.float32)
    boxes, points = outputs[f"bbox_{stride}"][0, found], outputs[f"kps_{stride}"][0, found].reshape(-1, 5, 2)
    centres, halves = cells + boxes[:, :2], np.exp(boxes[:, 2:]) / 2
    corners = np.hstack([centres - halves, centres + halves])
    return corners * stride, (points + cells[:, np.newaxis]) * stride, scores[found]


def _raw(corners: NDArray[np.float32], landmarks: NDArray[np.float32], score: np.float32) -> RawDetection:
    (x, y), (right, bottom) = corners.tolist()
    return RawDetection(Box(x, y, right - x, bottom - y), landmarks, float(score))
