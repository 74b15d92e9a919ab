"""YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector"), a detection network.

The figures below were measured on photos of ten people, ten each, of 250 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgface.faces.engines.base import Box, RawDetection
from pgface.faces.engines.dequantize import read_network
from pgface.faces.engines.detector import CloseLook, keep_best
from pgface.faces.engines.normalisation import Normalisation
from pgface.faces.engines.onnx_runtime import open_session
from pgface.faces.engines.providers import Provider
from pgface.faces.pixels import RGBImage

CANDIDATE_SCORE = 0.3
"""Minimum score of a doubtful box. It includes 91 % of the faces of 12 pixels. With 0.5 it is 81 %."""
_STRIDES = (8, 16, 32)
_PIXELS = Normalisation(0.0, 1.0)
"""The network takes values from 0 to 255."""


class YuNet:
    """Finds boxes and five landmarks. You can use it from many threads."""

    # A smaller close look has less precise landmarks. The mean similarity of mated photos (SFace's own cosine) was
    # 0.689 with 160 pixels, and 0.710 with 256. Without a close look, at the photo's own 250 pixels, it was 0.691.
    close_look = CloseLook(side=256, boxes=1.4)
    face_score = 0.75
    """Photos without a face had detections of up to 0.73."""
    confirming_score = 0.85
    """Of the faces of 16 pixels that the first look found, 98 % had more. In photos without a face, doubtful boxes had
    0.79 at most."""
    upright_score = 0.91
    """All upright faces had more (0.923 at least). Faces on their side, or upside down, had 0.903 at most."""
    max_overlap = 0.3
    """This is the authors' value."""
    fixed_side: int | None = None

    def __init__(self, file: Path, providers: Sequence[Provider]) -> None:
        """Load the network.

        Args:
            file: the ONNX file.
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
        self.session = open_session(file.name, network.SerializeToString(), providers)
        self._input = self.session.get_inputs()[0].name
        self._outputs = [output.name for output in self.session.get_outputs()]

    def detect(self, picture: RGBImage) -> list[RawDetection]:
        """Find upright faces and doubtful boxes.

        Args:
            picture: shape (height, width, 3), uint8, RGB, of any size.

        Returns:
            The faces in pixels of the picture, the best score first.

        """
        import cv2

        rows, columns = (-(-side // _STRIDES[-1]) * _STRIDES[-1] for side in picture.shape[:2])
        canvas = np.zeros((rows, columns, 3), np.uint8)
        # It was trained with BGR. With RGB, the lowest score of an upright face falls from 0.897 to 0.877.
        canvas[: picture.shape[0], : picture.shape[1]] = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        blob = _PIXELS.blob(canvas, "tensor(float)")
        outputs = dict(zip(self._outputs, self.session.run(None, {self._input: blob}), strict=True))
        levels = [_decode(outputs, stride, columns // stride) for stride in _STRIDES]
        boxes, landmarks, scores = (np.concatenate(parts) for parts in zip(*levels, strict=True))
        kept = keep_best(np.column_stack([boxes, scores]), self.max_overlap)
        return [_raw(boxes[index], landmarks[index], scores[index]) for index in kept]


def _decode(
    outputs: Mapping[str, NDArray[np.float32]], stride: int, columns: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return boxes, landmarks and scores of one level. Its outputs are relative to a grid of cells, row by row."""
    classes, objects = (outputs[f"{name}_{stride}"][0, :, 0].clip(0, 1) for name in ("cls", "obj"))
    scores = np.sqrt(classes * objects)
    found = np.flatnonzero(scores >= CANDIDATE_SCORE)
    cells = np.stack([found % columns, found // columns], axis=1).astype(np.float32)
    boxes, points = outputs[f"bbox_{stride}"][0, found], outputs[f"kps_{stride}"][0, found].reshape(-1, 5, 2)
    centres, halves = cells + boxes[:, :2], np.exp(boxes[:, 2:]) / 2
    corners = np.hstack([centres - halves, centres + halves])
    return corners * stride, (points + cells[:, np.newaxis]) * stride, scores[found]


def _raw(corners: NDArray[np.float32], landmarks: NDArray[np.float32], score: np.float32) -> RawDetection:
    left, top, right, bottom = corners.tolist()
    return RawDetection(Box(left, top, right - left, bottom - top), landmarks, float(score))
