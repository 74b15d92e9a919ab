"""SCRFD (Guo et al. 2022), InsightFace's detector, at one fixed input size and with two corrections.

At one input size, SCRFD misses a face that fills the frame. It also mistakes a face that lies on its side for an
upright one, and its landmarks then make the embedding useless. A search with a small input reveals both cases. It costs
a twentieth of a search at 640 pixels, and most photos need neither correction. The figures below were measured with
det_500m on photos of ten people.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pgface.faces.cancellation import check_work
from pgface.faces.engines.base import Box, RawDetection
from pgface.faces.engines.scrfd_network import ScrfdNetwork
from pgface.faces.orientation import search_turned
from pgface.faces.pixels import RGBImage

MAX_FACE_SIDE = 400
"""Maximum longer side of a face that SCRFD finds reliably, in pixels of the input. It found 87 % of faces at 455
pixels, 6 % at 500, and none at 530."""
CLOSE_UP_FACE = 250
"""The size to which a larger face is reduced for a second search."""
DOMINANT_FACE = 300
"""Size of a face that leaves no room in the picture for a larger one. An eye mistaken for a face had 234 at most."""
QUICK_SIZE = 128
"""Side of the input for quick searches."""
SURE_SCORE = 0.75
"""The orientation of a face with a lower score is checked. Of the faces on their side, those with an embedding of less
than half the right similarity had 0.725 at most. 93 % of the upright faces have higher scores."""
SURE_ROLL = 35.0
"""The orientation of a face is checked if the head leans by more than these degrees."""


class Detector:
    """Finds faces with one SCRFD model. You can use it from many threads."""

    def __init__(self, network: ScrfdNetwork, size: int) -> None:
        """Search with a network.

        Args:
            network: the network of the model.
            size: side of the square input, in pixels, a multiple of 32. A network made for one size keeps it.

        """
        self._network = network
        self._one_size = network.fixed_side is not None
        self.size = network.fixed_side or size
        for side in {self.size, QUICK_SIZE}:
            network.prepare(side)

    def find(self, image: RGBImage) -> list[RawDetection]:
        """Find the faces of a picture, shape (height, width, 3), uint8, RGB, including close-ups and turned faces."""
        found = self._find_at_fixed_size(image)
        best = max(found, key=lambda face: face.score, default=None)
        if best is None or not _needs_orientation_check(best):
            return found
        turns = self._turns_to_upright(image, best.box)
        turned = search_turned(image, turns, self._find_at_fixed_size) if turns else []
        return turned if any(face.score > best.score for face in turned) else found

    def _find_at_fixed_size(self, image: RGBImage) -> list[RawDetection]:
        """Search at the fixed size, and again in a reduced picture if a face was too large for it."""
        found = self.search(image, self.size)
        scale = self.size / max(image.shape[:2])
        if self._one_size or self.size <= MAX_FACE_SIDE or _largest(found) * scale > DOMINANT_FACE:
            return found
        largest = _largest(self.search(image, QUICK_SIZE)) * scale
        if largest <= MAX_FACE_SIDE:
            return found
        again = self.search(image, self.size, shrink=CLOSE_UP_FACE / largest)
        close_ups = [face for face in again if _longer_side(face.box) * scale > DOMINANT_FACE]
        # A detection within such a face is an eye or a mouth mistaken for a face.
        return close_ups + [face for face in found if not any(_contains(other.box, face.box) for other in close_ups)]

    def _turns_to_upright(self, image: RGBImage, box: Box) -> int:
        """Return the number of counter-clockwise quarter turns after which a face has its highest score."""
        part = _surroundings(image, box)
        scores = []
        for turns in range(4):
            faces = self.search(np.ascontiguousarray(np.rot90(part, turns)), QUICK_SIZE)
            scores.append(max((face.score for face in faces), default=0.0))
        return int(np.argmax(scores))

    def search(self, image: RGBImage, size: int, shrink: float = 1.0) -> list[RawDetection]:
        """Run the model once.

        Args:
            image: shape (height, width, 3), uint8, RGB, C-contiguous.
            size: side of the model's input.
            shrink: the picture's longer side, as a share of the input. Below 1, the picture gets a black border.

        """
        import cv2

        check_work()
        size = self._network.fixed_side or size
        height, width = image.shape[:2]
        scale = size * shrink / max(height, width)
        # A picture of 1x4000 pixels must keep at least one pixel.
        small = cv2.resize(image, (max(1, int(width * scale)), max(1, int(height * scale))))
        rows, columns = small.shape[:2]
        # InsightFace puts the picture into the upper left corner, but a close-up needs space around it.
        top, left = (0, 0) if shrink >= 1 else ((size - rows) // 2, (size - columns) // 2)
        canvas = np.zeros((size, size, 3), np.uint8)
        canvas[top : top + rows, left : left + columns] = small
        boxes, landmarks = self._network.detect(canvas)
        offset = np.array([left, top], np.float32)
        back = np.array([width / columns, height / rows], np.float32)
        corners = (boxes[:, :4].reshape(-1, 2, 2) - offset) * back
        points = (landmarks - offset) * back
        faces = [_raw(*face) for face in zip(corners, points, boxes[:, 4], strict=True)]
        return [face for face in faces if _contains(Box(0, 0, width, height), face.box)]


def _raw(corners: NDArray[np.float32], landmarks: NDArray[np.float32], score: np.float32) -> RawDetection:
    (x, y), (right, bottom) = corners.tolist()
    return RawDetection(Box(x, y, right - x, bottom - y), landmarks.astype(np.float32), float(score))


def _needs_orientation_check(face: RawDetection) -> bool:
    """Whether a face may be on its side."""
    across = face.landmarks[1] - face.landmarks[0]
    return face.score < SURE_SCORE or abs(math.degrees(math.atan2(across[1], across[0]))) > SURE_ROLL


def _surroundings(image: RGBImage, box: Box) -> RGBImage:
    """Cut out a square twice the size of a face, shape (QUICK_SIZE, QUICK_SIZE, 3), black outside the picture."""
    import cv2

    side = max(2, int(2 * _longer_side(box)))
    x, y = int(box.x + (box.width - side) / 2), int(box.y + (box.height - side) / 2)
    part = image[max(0, y) : y + side, max(0, x) : x + side]
    scale = QUICK_SIZE / side
    size = max(1, int(part.shape[1] * scale)), max(1, int(part.shape[0] * scale))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    canvas = np.zeros((QUICK_SIZE, QUICK_SIZE, 3), np.uint8)
    top, left = int(max(0, -y) * scale), int(max(0, -x) * scale)
    rows, columns = canvas[top:, left:].shape[:2]
    canvas[top:, left:][: small.shape[0], : small.shape[1]] = small[:rows, :columns]
    return canvas


def _longer_side(box: Box) -> float:
    return max(box.width, box.height)


def _largest(faces: Sequence[RawDetection]) -> float:
    return max((_longer_side(face.box) for face in faces), default=0.0)


def _contains(outer: Box, inner: Box) -> bool:
    """Whether the middle of the inner box is in the outer one."""
    x, y = inner.x + inner.width / 2, inner.y + inner.height / 2
    return outer.x <= x <= outer.x + outer.width and outer.y <= y <= outer.y + outer.height
