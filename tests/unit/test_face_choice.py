"""The choice between several faces, with detections of known boxes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from pgface.errors import NoFaceError, SeveralFacesError
from pgface.faces.engines.base import Box, Detection, RawDetection
from pgface.faces.face_choice import ChosenFace, EnrollmentChoice, OneOfPhoto, WhichFace
from pgface.faces.quality import describe
from pgface.settings import Settings
from support.sentences import photos as says

_LANDMARKS = np.array([(30, 30), (50, 30), (40, 42), (32, 55), (48, 55)], np.float32)


def found(*boxes: Sequence[float], width: int = 640, height: int = 480) -> list[Detection]:
    """Return the detections of these boxes in a picture of this size."""
    image = np.full((height, width, 3), 128, np.uint8)
    return describe(image, [RawDetection(Box(*box), _LANDMARKS, 0.9) for box in boxes])


@pytest.mark.parametrize(
    ("boxes", "central"),
    [
        # The larger face is at the edge: 110² - 2·(265² + 185²) is far below 90².
        ([(0, 0, 110, 110), (275, 195, 90, 90)], 1),
        # Both are near the middle. The area of the larger one outweighs its distance.
        ([(220, 180, 120, 120), (300, 220, 40, 40)], 0),
        # Of two equal faces, the one nearer the middle.
        ([(100, 190, 100, 100), (300, 190, 100, 100)], 1),
        # A single face, wherever it is.
        ([(600, 440, 40, 40)], 0),
    ],
)
def test_the_central_face(boxes: list[tuple[float, ...]], central: int) -> None:
    faces = found(*boxes)
    (chosen,) = ChosenFace("a.jpg", "central")(faces)
    assert chosen.box == Box(*boxes[central])
    (largest,) = ChosenFace("a.jpg", "largest")(faces)
    assert largest.box == max((Box(*box) for box in boxes), key=lambda box: box.width * box.height)


def test_central_is_insightfaces_own_choice() -> None:
    """Compare with the rule of `SCRFD.detect` on random boxes: the area minus twice the squared distance."""
    random = np.random.default_rng(7)
    for _ in range(200):
        boxes = np.column_stack([random.uniform(0, 500, (5, 2)), random.uniform(20, 140, (5, 2))])
        middle = boxes[:, :2] + boxes[:, 2:] / 2
        values = boxes[:, 2] * boxes[:, 3] - 2 * ((middle - (320, 240)) ** 2).sum(axis=1)
        (chosen,) = ChosenFace("a.jpg", "central")(found(*boxes.tolist()))
        assert chosen.box == pytest.approx(boxes[values.argmax()])


@pytest.mark.parametrize("which", ["only", "largest", "central"])
def test_a_photo_without_a_face_is_refused_for_every_choice(which: WhichFace) -> None:
    with pytest.raises(NoFaceError):
        ChosenFace("a.jpg", which)([])
    with pytest.raises(NoFaceError):
        enrollment_choice(which)([])


def enrollment_choice(which: WhichFace = "only", **settings: object) -> OneOfPhoto:
    """Return the function that chooses a face of any quality."""
    given = Settings.model_validate(settings)
    return EnrollmentChoice.from_settings(given, which, any_quality=True).of("a.jpg")


@pytest.mark.parametrize(
    ("others", "left_aside"),
    [
        ([(400, 50, 31, 35)], 1),
        ([(400, 50, 40.9, 60)], 1),  # less than half of 82
        ([(400, 50, 31, 35), (500, 50, 20, 25), (560, 50, 12, 15)], 3),
    ],
)
def test_small_faces_in_the_background_are_left_aside(others: list[tuple[float, ...]], left_aside: int) -> None:
    choose = enrollment_choice()
    (chosen,) = choose(found((100, 100, 82, 109), *others))
    assert chosen.box == Box(100, 100, 82, 109)
    assert choose.left_aside == tuple(Box(*box) for box in others)
    assert len(choose.left_aside) == left_aside


@pytest.mark.parametrize(
    ("others", "count", "sizes"),
    [
        ([(400, 50, 41, 60)], 2, "82×109, 41×60"),  # just half as wide
        ([(400, 50, 80, 100)], 2, "82×109, 80×100"),
        # The small face is not a reason, and is not counted.
        ([(400, 50, 70, 90), (560, 50, 12, 15)], 2, "82×109, 70×90"),
    ],
)
def test_faces_of_similar_size_are_refused(others: list[tuple[float, ...]], count: int, sizes: str) -> None:
    with pytest.raises(SeveralFacesError, match=says.SEVERAL_FACES.pattern(count=count)) as refused:
        enrollment_choice()(found((100, 100, 82, 109), *others))
    assert re.search(r"\(.* pixels\)", str(refused.value))[0] == f"({sizes} pixels)"  # type: ignore[index]


def test_the_share_of_background_faces_is_a_setting() -> None:
    faces = found((100, 100, 100, 100), (400, 50, 60, 60))
    assert [face.box.width for face in enrollment_choice(background_face=0.7)(faces)] == [100]
    with pytest.raises(SeveralFacesError):
        enrollment_choice(background_face=0.5)(faces)
    with pytest.raises(SeveralFacesError):  # with 0, no face is left aside
        enrollment_choice(background_face=0)(found((100, 100, 100, 100), (400, 50, 5, 5)))


def test_a_requested_face_leaves_no_others_aside() -> None:
    choose = enrollment_choice("largest")
    choose(found((100, 100, 82, 109), (400, 50, 31, 35)))
    assert choose.left_aside == ()


def test_verification_refuses_a_photo_with_two_faces() -> None:
    with pytest.raises(SeveralFacesError):
        ChosenFace("a.jpg", "only")(found((100, 100, 82, 109), (400, 50, 31, 35)))
