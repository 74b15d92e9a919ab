"""The network of SCRFD (Guo et al. 2022, "Sample and Computation Redistribution for Efficient Face Detection")."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgface.errors import ModelError
from pgface.faces.engines.base import Box, RawDetection
from pgface.faces.engines.detector import CloseLook, keep_best
from pgface.faces.engines.normalisation import Normalisation
from pgface.faces.engines.onnx_runtime import open_session
from pgface.faces.engines.providers import CPU, Provider, name_of
from pgface.faces.pixels import RGBImage

SCRFD_INPUT = Normalisation(127.5, 128.0)
"""The usual preparation of pictures."""
CANDIDATE_SCORE = 0.2
"""Minimum score of a doubtful box. Of the faces of 10 pixels, 72 % have a score of 0.3, and 88 % this one."""

_STRIDES_AND_ANCHORS = {9: ((8, 16, 32), 2), 15: ((8, 16, 32, 64, 128), 1)}
"""The strides and the anchors at each position of a network with landmarks, by its number of outputs."""
_WITHOUT_LANDMARKS = (6, 10)
_STEP = 32
"""The sides of the input are multiples of this on the CPU, in pixels."""
_STEP_OF_DEVICES = 320
"""The same for the first look on other devices. They compile the network for each size of the input, so there must be
few sizes. The close look always has the same size. With a black margin, it would find other landmarks: on OpenVINO, the
similarity of a drawn face's embedding to that of the CPU was 0.9985."""


class ScrfdNetwork:
    """Finds boxes, landmarks and scores. You can use it from many threads."""

    close_look = CloseLook(side=128, boxes=1.6)
    face_score = 0.5
    """The score from which InsightFace counts a detection as a face."""
    confirming_score = 0.7
    """Of the faces of 12 pixels that the first look found, 98 % had more. In pictures without a face, doubtful boxes
    had 0.47 at most."""
    upright_score = 0.82
    """Faces on their side, or upside down, had 0.79 at most, and upright ones 0.84 at least. With a close look of 160
    pixels it was 0.74 and 0.71."""
    max_overlap = 0.4

    def __init__(self, file: Path, providers: Sequence[Provider], normalisation: Normalisation = SCRFD_INPUT) -> None:
        """Load the network.

        Args:
            file: the ONNX file.
            providers: the result of `execution_providers`.
            normalisation: the preparation of its input.

        Raises:
            ModelError: the file cannot be loaded, or is not an SCRFD network with landmarks.

        """
        self._normalisation = normalisation
        self.session = open_session(f"{file.name} in {file.parent}", file, providers)
        outputs = self.session.get_outputs()
        if len(outputs) in _WITHOUT_LANDMARKS:
            raise ModelError(f"{file.name} finds boxes without landmarks. Use a detector that has them (kps).")
        if len(outputs) not in _STRIDES_AND_ANCHORS:
            raise ModelError(f"{file.name} is not an SCRFD network. Use a detector of InsightFace.")
        self._strides, self._anchors = _STRIDES_AND_ANCHORS[len(outputs)]
        (self._input,) = self.session.get_inputs()
        sides = {side for side in self._input.shape[2:] if isinstance(side, int)}
        if len(sides) > 1:
            raise ModelError(f"{file.name} takes pictures that are not square. Use a detector with a square input.")
        self.fixed_side: int | None = next(iter(sides), None)
        on_cpu = name_of(providers[0]) == CPU
        self._step = self.fixed_side or (_STEP if on_cpu else _STEP_OF_DEVICES)

    def detect(self, picture: RGBImage) -> list[RawDetection]:
        """Find upright faces and doubtful boxes.

        Args:
            picture: shape (height, width, 3), uint8, RGB. For a network of one size, not larger than its input.

        Returns:
            The faces in pixels of the picture, the best score first.

        """
        step = _STEP if self._is_close_look(picture) else self._step
        rows, columns = (-(-side // step) * step for side in picture.shape[:2])
        canvas = np.zeros((rows, columns, 3), np.uint8)
        canvas[: picture.shape[0], : picture.shape[1]] = picture
        outputs = self.session.run(None, {self._input.name: self._normalisation.blob(canvas, self._input.type)})
        levels = [array.reshape(-1, array.shape[-1]) for array in outputs]
        count = len(self._strides)
        boxes, landmarks = [], []
        for level, stride in enumerate(self._strides):
            scores, edges, points = levels[level::count]
            found = np.flatnonzero(scores[:, 0] >= CANDIDATE_SCORE)
            centres = _centres(rows // stride, columns // stride, self._anchors)[found]
            corners = np.hstack([centres - edges[found, :2], centres + edges[found, 2:]]) * stride
            boxes.append(np.hstack([corners, scores[found]]))
            landmarks.append((centres[:, None] + points[found].reshape(-1, 5, 2)) * stride)
        every_box, every_landmark = np.vstack(boxes).astype(np.float32), np.vstack(landmarks).astype(np.float32)
        return [_raw(every_box[index], every_landmark[index]) for index in keep_best(every_box, self.max_overlap)]

    def _is_close_look(self, picture: RGBImage) -> bool:
        return self.fixed_side is None and set(picture.shape[:2]) == {self.close_look.side}


@lru_cache(maxsize=256)
def _centres(rows: int, columns: int, anchors: int) -> NDArray[np.float32]:
    """Return the positions of the outputs at one stride, shape (n, 2), x and y in strides."""
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    return np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), anchors, axis=0)


def _raw(box: NDArray[np.float32], landmarks: NDArray[np.float32]) -> RawDetection:
    left, top, right, bottom, score = box.tolist()
    return RawDetection(Box(left, top, right - left, bottom - top), landmarks, score)
