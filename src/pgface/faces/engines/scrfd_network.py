"""The network of SCRFD (Guo et al. 2022, "Sample and Computation Redistribution for Efficient Face Detection")."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgface.errors import ModelError
from pgface.faces.engines.normalisation import Normalisation
from pgface.faces.engines.onnx_runtime import open_session
from pgface.faces.pixels import RGBImage

SCRFD_INPUT = Normalisation(127.5, 128.0)
"""The usual preparation of pictures."""
MIN_SCORE = 0.5
"""The score from which InsightFace counts a detection as a face."""
MAX_OVERLAP = 0.4
"""Two boxes with a larger intersection over union are one face."""

_STRIDES_AND_ANCHORS = {9: ((8, 16, 32), 2), 15: ((8, 16, 32, 64, 128), 1)}
"""The strides and the anchors at each position of a network with landmarks, by its number of outputs."""
_WITHOUT_LANDMARKS = (6, 10)


class ScrfdNetwork:
    """Finds boxes, landmarks and scores in pictures of the input's size. You can use it from many threads."""

    def __init__(self, file: Path, providers: Sequence[str], normalisation: Normalisation = SCRFD_INPUT) -> None:
        """Load the network.

        Args:
            file: the ONNX file.
            providers: the result of `execution_providers`.
            normalisation: the preparation of its input.

        Raises:
            ModelError: the file cannot be loaded, or is not an SCRFD network with landmarks.

        """
        import onnx

        self._providers, self._normalisation = providers, normalisation
        self._name = f"{file.name} in {file.parent}"
        self.sessions = {0: open_session(self._name, file, providers)}
        """The sessions by the side of their input. 0 is the session of the file itself."""
        outputs = self.sessions[0].get_outputs()
        if len(outputs) in _WITHOUT_LANDMARKS:
            raise ModelError(f"{file.name} finds boxes without landmarks. Use a detector that has them (kps).")
        if len(outputs) not in _STRIDES_AND_ANCHORS:
            raise ModelError(f"{file.name} is not an SCRFD network. Use a detector of InsightFace.")
        self._strides, self._anchors = _STRIDES_AND_ANCHORS[len(outputs)]
        self._model = onnx.load(file)
        (self._input,) = self.sessions[0].get_inputs()
        sides = {side for side in self._input.shape[2:] if isinstance(side, int)}
        if len(sides) > 1:
            raise ModelError(f"{file.name} takes pictures that are not square. Use a detector with a square input.")
        self.fixed_side: int | None = next(iter(sides), None)
        """Side of the input in pixels, if the network accepts only one."""

    def prepare(self, side: int) -> None:
        """Open a session for pictures of this side. A network runs faster if its input has a fixed size."""
        if self.fixed_side is not None or side in self.sessions:
            return
        batch, channels, height, width = self._model.graph.input[0].type.tensor_type.shape.dim
        for dimension, value in ((batch, 1), (channels, 3), (height, side), (width, side)):
            dimension.dim_value = value
        for output in self._model.graph.output:
            output.type.tensor_type.ClearField("shape")  # it follows from the input
        self.sessions[side] = open_session(self._name, self._model.SerializeToString(), self._providers)

    def detect(self, picture: RGBImage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Find the faces of a picture.

        Args:
            picture: shape (side, side, 3), uint8, RGB.

        Returns:
            Left, top, right, bottom and score of each face, shape (n, 5), and its landmarks, shape (n, 5, 2), in pixels
            of the picture, the best score first.

        """
        side = picture.shape[0]
        session = self.sessions.get(side, self.sessions[0])
        outputs = session.run(None, {self._input.name: self._normalisation.blob(picture, self._input.type)})
        levels = [array.reshape(-1, array.shape[-1]) for array in outputs]
        count = len(self._strides)
        boxes, landmarks = [], []
        for level, stride in enumerate(self._strides):
            scores, edges, points = levels[level::count]
            found = np.flatnonzero(scores[:, 0] >= MIN_SCORE)
            centres = _centres(side, stride, self._anchors)[found]
            corners = np.hstack([centres - edges[found, :2] * stride, centres + edges[found, 2:] * stride])
            boxes.append(np.hstack([corners, scores[found]]))
            landmarks.append(centres[:, None] + points[found].reshape(-1, 5, 2) * stride)
        every_box = np.vstack(boxes).astype(np.float32)
        kept = keep_best(every_box)
        return every_box[kept], np.vstack(landmarks).astype(np.float32)[kept]


@lru_cache(maxsize=64)
def _centres(side: int, stride: int, anchors: int) -> NDArray[np.float32]:
    """Return the positions of the outputs at one stride, shape (n, 2), x and y in pixels."""
    steps = np.arange(side // stride, dtype=np.float32) * stride
    x, y = np.meshgrid(steps, steps)
    return np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), anchors, axis=0)


def keep_best(boxes: NDArray[np.float32], max_overlap: float = MAX_OVERLAP) -> list[int]:
    """Drop boxes that overlap a better one (greedy non-maximum suppression).

    Args:
        boxes: left, top, right, bottom and score, shape (n, 5).
        max_overlap: the largest intersection over union of two different faces.

    Returns:
        The indices of the remaining boxes, the best score first.

    """
    left, top, right, bottom, scores = boxes.T
    areas = (right - left + 1) * (bottom - top + 1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, others = order[0], order[1:]
        kept.append(int(best))
        width = np.minimum(right[best], right[others]) - np.maximum(left[best], left[others]) + 1
        height = np.minimum(bottom[best], bottom[others]) - np.maximum(top[best], top[others]) + 1
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        order = others[shared / (areas[best] + areas[others] - shared) <= max_overlap]
    return kept
