"""Find faces in two looks: boxes in the whole picture, then the landmarks of each face in a close look at it.

The close look always has the same scale. So the size of the first look does not change an embedding, and the first look
can be as small as the question allows. It is never larger than the picture. The close look also decides whether a
doubtful box is a face, and which way up a face is.

The figures below were measured with det_500m (SCRFD) and YuNet on 100 photos of ten people.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pgface.faces.cancellation import check_work
from pgface.faces.engines.base import Box, RawDetection
from pgface.faces.engines.inference import Network
from pgface.faces.orientation import find_with_retries, search_turned
from pgface.faces.pixels import RGBImage

QUICK_SIDE = 256
"""Longer side of the picture for the quick look, in pixels."""
RELIABLE_WIDTH = 16
"""Width in pixels from which a look finds nearly all faces: 100 % with SCRFD and 99 % with YuNet. Of the faces of 10
pixels, it found 88 % and 68 %."""
CLOSE_UP = 300
"""Width in pixels from which the quick look replaces the larger one. At 640 pixels, SCRFD found 87 % of the faces of
455 pixels and 6 % of those of 500. Eyes that it mistook for faces had 234 at most."""
SURE_ROLL = 35.0
"""The orientation of a face is checked if the head leans by more than these degrees."""
MAX_DOUBTFUL = 16
"""Maximum number of doubtful boxes that get a close look, the best scores first."""


@dataclass(frozen=True, slots=True)
class CloseLook:
    """The scale of the close look: a square around the middle of a face's box."""

    side: int
    """Side of the square in pixels, after resizing."""
    boxes: float
    """Side of the square, in longer sides of the box."""


class DetectionNetwork(Protocol):
    """A network that finds upright faces. You can use it from many threads."""

    session: Network
    close_look: CloseLook
    face_score: float
    """Minimum score of a face in the first look. A box with a lower score is doubtful."""
    confirming_score: float
    """Minimum score in the close look that makes a doubtful box a face."""
    upright_score: float
    """The orientation of a face with a lower score in the close look is checked."""
    max_overlap: float
    """Two boxes with a larger intersection over union are one face."""
    fixed_side: int | None
    """Side of the input in pixels, if the network accepts only one."""

    def detect(self, picture: RGBImage) -> list[RawDetection]:
        """Find faces and doubtful boxes, in pixels of the picture. Their scores may be below `face_score`."""


class _Square(NamedTuple):
    """The square of a close look."""

    pixels: RGBImage
    corner: NDArray[np.float64]
    """Its upper left corner, in pixels of the picture."""
    scale: NDArray[np.float64]
    """Pixels of the picture for a pixel of the square, in x and y."""


class Detector:
    """Finds faces with one network. You can use it from many threads."""

    def __init__(self, network: DetectionNetwork, size: int) -> None:
        """Find faces with a network.

        Args:
            network: the network.
            size: maximum longer side of a searched picture, in pixels.

        """
        self.network = network
        self.size = network.fixed_side or size
        # A network of one size has no look that is quicker.
        self._quick_side = network.fixed_side or min(QUICK_SIDE, size)

    @property
    def alignment_size(self) -> int:
        """Side of the close look in pixels. Embeddings of the same value are comparable."""
        return self.network.close_look.side

    def find(self, image: RGBImage, overlook: float = 0.0) -> list[RawDetection]:
        """Find the faces of a picture, including close-ups and turned faces.

        Args:
            image: shape (height, width, 3), uint8, RGB.
            overlook: faces narrower than this share of the widest face need not be found. 0 for every face.

        """
        find = partial(self._find_either_way_up, overlook=overlook)
        sure_score = self.network.confirming_score
        return find_with_retries(np.ascontiguousarray(image), find, sure_score=sure_score, enlarged_to=self.size)

    def look_closer(self, image: RGBImage, faces: Sequence[RawDetection]) -> list[RawDetection]:
        """Find the landmarks of faces again, in a picture with more pixels.

        Args:
            image: shape (height, width, 3), uint8, RGB.
            faces: faces that `find` found, in pixels of this picture.

        """
        return [self._look_at(image, face, _quarter_turns(face)) or face for face in faces]

    def _find_either_way_up(self, image: RGBImage, overlook: float) -> list[RawDetection]:
        faces = self._find_upright(image, overlook)
        if not faces:
            return []
        best = max(faces, key=lambda face: face.score)
        largest = max(faces, key=lambda face: face.box.width * face.box.height)
        turns = next((self._turns_to_upright(image, face) for face in (best, largest) if self._may_lie(face)), 0)
        turned = search_turned(image, turns, partial(self._find_upright, overlook=overlook)) if turns else []
        return turned if any(face.score > best.score for face in turned) else faces

    def _may_lie(self, face: RawDetection) -> bool:
        return face.score < self.network.upright_score or abs(_roll(face)) > SURE_ROLL

    def _turns_to_upright(self, image: RGBImage, face: RawDetection) -> int:
        """Return the number of counter-clockwise quarter turns after which a face has its highest score."""
        looks = [self._look_at(image, face, turns) for turns in range(4)]
        return int(np.argmax([look.score if look else 0.0 for look in looks]))

    def _find_upright(self, image: RGBImage, overlook: float) -> list[RawDetection]:
        """Find upright faces in both looks."""
        found = sorted(self._first_look(image, overlook), key=lambda face: -face.score)
        sure = [face for face in found if face.score >= self.network.face_score]
        needed = overlook * _widest(sure)
        faces = [face for face in sure if face.box.width < needed]
        wanted = [face for face in found[: len(sure) + MAX_DOUBTFUL] if face.box.width >= needed]
        for face in wanted:
            closer = self._look_at(image, face)
            if face.score >= self.network.face_score:
                faces.append(closer or face)
            elif closer is not None and closer.score >= self.network.confirming_score:
                faces.append(closer)
        return _without_repetitions(faces, self.network.max_overlap)

    def _first_look(self, image: RGBImage, overlook: float) -> list[RawDetection]:
        """Find boxes in the smallest look that answers the question."""
        longest = max(image.shape[:2])
        quick_side = min(longest, self._quick_side)
        quick = self._search(image, quick_side)
        widest = _widest([face for face in quick if face.score >= self.network.face_score])
        if (
            longest <= self._quick_side
            or self._quick_side == self.size
            or (overlook * widest * quick_side / longest >= RELIABLE_WIDTH)
        ):
            return quick
        side = min(longest, self.size)
        close_ups = [face for face in quick if face.box.width * side / longest >= CLOSE_UP]
        sure = [face for face in close_ups if face.score >= self.network.face_score]
        # A face within a sure close-up is an eye or a mouth that was mistaken for a face.
        others = [face for face in self._search(image, side) if not any(_contains(one.box, face.box) for one in sure)]
        return close_ups + others

    def _search(self, image: RGBImage, longest: int) -> list[RawDetection]:
        """Run the network on a picture that is reduced to this longer side, or smaller."""
        check_work()
        small = _reduced(image, longest)
        (height, width), (rows, columns) = image.shape[:2], small.shape[:2]
        scale = np.array([width / columns, height / rows])
        found = [_moved(face, np.zeros(2), scale) for face in self.network.detect(small)]
        return [face for face in found if _contains(Box(0, 0, width, height), face.box)]

    def _look_at(self, image: RGBImage, face: RawDetection, quarter_turns: int = 0) -> RawDetection | None:
        """Find a face again in its own square, after counter-clockwise quarter turns. None if it is not there."""
        check_work()
        side = self.network.close_look.side
        square = self._square_around(image, face.box)
        turned = np.ascontiguousarray(np.rot90(square.pixels, quarter_turns))
        found = {_distance_to_middle(each.box, side): each for each in self.network.detect(turned)}
        nearest = min(found, default=math.inf)
        if nearest > side / 4:
            return None
        return _moved(_turned_back(found[nearest], quarter_turns, side), square.corner, square.scale)

    def _square_around(self, image: RGBImage, box: Box) -> _Square:
        """Cut out the square of a close look. It is black outside the picture."""
        import cv2

        look = self.network.close_look
        extent = max(2, round(look.boxes * _longer_side(box)))
        x, y = (round(low + (length - extent) / 2) for low, length in ((box.x, box.width), (box.y, box.height)))
        left, top = max(0, x), max(0, y)
        part = image[top : y + extent, left : x + extent]
        scale = look.side / extent
        columns, rows = (max(1, round(length * scale)) for length in (part.shape[1], part.shape[0]))
        small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        pixels = np.zeros((look.side, look.side, 3), np.uint8)
        column, row = (min(round((low - start) * scale), look.side - 1) for low, start in ((left, x), (top, y)))
        room = pixels[row:, column:]
        room[:rows, :columns] = small[: room.shape[0], : room.shape[1]]
        back = np.array([part.shape[1] / columns, part.shape[0] / rows])
        return _Square(pixels, np.array([left, top]) - np.array([column, row]) * back, back)


def _reduced(image: RGBImage, longest: int) -> RGBImage:
    """Reduce a picture to a longer side. It is never enlarged."""
    import cv2

    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    # Reducing a large picture by a whole factor first halves the time. The last rows and columns may be cut off.
    factor = max(1, min(int(1 / scale), height, width))
    part = image[: height // factor * factor, : width // factor * factor]
    if factor > 1:
        part = cv2.resize(part, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    # A picture of 1x4000 pixels must keep at least one pixel.
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)


def _moved(face: RawDetection, corner: NDArray[np.float64], scale: NDArray[np.float64]) -> RawDetection:
    """Return a face in pixels of the picture that a part was cut from."""
    (x, y), (width, height) = corner + scale * face.box[:2], scale * face.box[2:]
    landmarks = (corner + scale * face.landmarks).astype(np.float32)
    return RawDetection(Box(float(x), float(y), float(width), float(height)), landmarks, face.score)


def _turned_back(face: RawDetection, quarter_turns: int, side: int) -> RawDetection:
    """Return a face in pixels of the square before it was turned counter-clockwise."""
    left, top, width, height = face.box
    points = np.vstack([[left, top], [left + width, top + height], face.landmarks])
    for _ in range(quarter_turns):
        points = np.stack([side - points[:, 1], points[:, 0]], axis=1)
    (x, y), (right, bottom) = np.sort(points[:2], axis=0).tolist()
    return RawDetection(Box(x, y, right - x, bottom - y), points[2:].astype(np.float32), face.score)


def _without_repetitions(faces: Sequence[RawDetection], max_overlap: float) -> list[RawDetection]:
    """Drop a face that a better one repeats, because two boxes can lead to the same face in their close looks."""
    boxes = [(x, y, x + width, y + height, score) for (x, y, width, height), _, score in faces]
    return [faces[index] for index in keep_best(np.array(boxes, np.float32).reshape(-1, 5), max_overlap)]


def keep_best(boxes: NDArray[np.float32], max_overlap: float) -> list[int]:
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


def _roll(face: RawDetection) -> float:
    """Return the angle of the line through the eyes in degrees, clockwise."""
    across = face.landmarks[1] - face.landmarks[0]
    return math.degrees(math.atan2(across[1], across[0]))


def _quarter_turns(face: RawDetection) -> int:
    """Return the number of counter-clockwise quarter turns that bring a face nearest to upright."""
    return round(_roll(face) / 90) % 4


def _distance_to_middle(box: Box, side: int) -> float:
    return max(abs(box.x + box.width / 2 - side / 2), abs(box.y + box.height / 2 - side / 2))


def _longer_side(box: Box) -> float:
    return max(box.width, box.height)


def _widest(faces: Sequence[RawDetection]) -> float:
    return max((face.box.width for face in faces), default=0.0)


def _contains(outer: Box, inner: Box) -> bool:
    """Whether the middle of the inner box is in the outer one."""
    x, y = inner.x + inner.width / 2, inner.y + inner.height / 2
    return outer.x <= x <= outer.x + outer.width and outer.y <= y <= outer.y + outer.height
