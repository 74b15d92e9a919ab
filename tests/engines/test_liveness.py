"""Heads that turn as they were asked to, and all else that can be held to a camera."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgface.errors import LivenessError
from pgface.faces import load_engine
from pgface.faces.engine import Engine, Face
from pgface.faces.liveness import MOST_FRAMES, Turn, check_turns
from pgface.faces.pixels import RGBImage
from support.moving_heads import Pose, noisy, path, tilted, turned
from support.sentences import accounts as says

AHEAD: Pose = (0, 0)
LEFT: Pose = (45, 0)
RIGHT: Pose = (-45, 0)
UP: Pose = (0, 35)
SAME_PERSON = 0.3
"""Below every similarity of one frame and the next, and above those of strangers."""


@pytest.fixture(scope="module")
def engine(insightface_pack: Path) -> Engine:
    return load_engine(str(insightface_pack), models_dir=Path(), detector_size=320, execution_provider="CPU")


def photo_of(faces_dir: Path, person: str, number: int) -> RGBImage:
    return np.asarray(Image.open(faces_dir / person / f"{person}_{number:04}.jpg").convert("RGB"))


@pytest.fixture(scope="module")
def bush(faces_dir: Path) -> RGBImage:
    return photo_of(faces_dir, "George_W_Bush", 6)


@pytest.fixture(scope="module")
def blair(faces_dir: Path) -> RGBImage:
    return photo_of(faces_dir, "Tony_Blair", 2)


def frames_of(engine: Engine, photo: RGBImage, poses: list[Pose]) -> list[list[Face]]:
    (face,) = engine.detect_and_embed(photo)
    return seen(engine, [turned(photo, face.landmarks, pose) for pose in poses])


def seen(engine: Engine, pictures: list[RGBImage]) -> list[list[Face]]:
    return [engine.detect_and_embed(frame) for frame in noisy(pictures)]


@pytest.fixture(scope="module")
def live(engine: Engine, bush: RGBImage) -> list[list[Face]]:
    """Left, right, up."""
    return frames_of(engine, bush, path(AHEAD, LEFT, RIGHT, AHEAD, UP, AHEAD))


LIVE: tuple[Turn, ...] = ("left", "right", "up")


def refused(frames: list[list[Face]], turns: tuple[Turn, ...] = LIVE) -> str:
    with pytest.raises(LivenessError) as error:
        check_turns(frames, turns, same_person=SAME_PERSON)
    return str(error.value)


def test_somebody_who_does_as_asked(engine: Engine, bush: RGBImage, live: list[list[Face]]) -> None:
    found = check_turns(live, LIVE, same_person=SAME_PERSON)
    (face,) = engine.detect_and_embed(bush)
    assert float(found.frontal.embedding @ face.embedding) > 0.9
    assert abs(found.frontal.quality.yaw - face.quality.yaw) < 10
    assert found.frames == len(live)


@pytest.mark.parametrize(
    ("stations", "turns"),
    [
        ((AHEAD, RIGHT, AHEAD, LEFT, AHEAD), ("right", "left")),
        ((AHEAD, UP, AHEAD, LEFT, AHEAD), ("up", "left")),
        ((AHEAD, LEFT, RIGHT, LEFT, AHEAD), ("left", "right", "left")),
    ],
)
def test_other_orders_and_another_person(
    engine: Engine, blair: RGBImage, stations: tuple[Pose, ...], turns: tuple[Turn, ...]
) -> None:
    frames = frames_of(engine, blair, path(*stations))
    check_turns(frames, turns, same_person=SAME_PERSON)
    asked = turns[::-1] if turns != turns[::-1] else turns[:2]
    assert refused(frames, asked) == says.HEAD_TURNED_OTHERWISE.format(turns=", ".join(turns), asked=", ".join(asked))


def test_dlib_sees_turns_to_the_sides(bush: RGBImage) -> None:
    dlib = load_engine("dlib", models_dir=Path(), detector_size=640, execution_provider="CPU")
    frames = frames_of(dlib, bush, path(AHEAD, LEFT, AHEAD, RIGHT, AHEAD))
    check_turns(frames, ("left", "right"), same_person=0.7)


@pytest.mark.parametrize(
    "asked", [("right", "left", "up"), ("left", "right"), ("left", "right", "up", "left"), ("up",)]
)
def test_a_recording_of_other_turns(live: list[list[Face]], asked: tuple[Turn, ...]) -> None:
    told = says.HEAD_TURNED_OTHERWISE.format(turns="left, right, up", asked=", ".join(asked))
    assert refused(live, asked) == told


def test_a_still_photo(engine: Engine, bush: RGBImage) -> None:
    assert refused(seen(engine, [bush] * 20)) == says.HEAD_DID_NOT_TURN.format(asked="left, right, up")


def test_a_photo_that_is_tilted_and_moved(engine: Engine, bush: RGBImage) -> None:
    poses = path(AHEAD, (50, 0), (-50, 0), AHEAD, (0, 40), AHEAD, step=6)
    frames = seen(engine, [np.roll(tilted(bush, pose), number % 20, axis=1) for number, pose in enumerate(poses)])
    assert refused(frames) == says.HEAD_DID_NOT_TURN.format(asked="left, right, up")


def test_frames_that_are_sent_again(live: list[list[Face]]) -> None:
    assert refused([*live[:5], live[4], *live[5:]]) == says.FRAME_SENT_TWICE.format(number=5)
    assert refused([*live, *live[:3]]) == says.FRAME_SENT_TWICE.format(number=1)
    assert refused([live[0]] * 20) == says.FRAME_SENT_TWICE.format(number=1)


def test_a_session_that_was_reordered(live: list[list[Face]]) -> None:
    assert says.HEAD_JUMPS in refused([*live[:3], *live[30:35], *live[3:30], *live[35:]])
    told = says.HEAD_TURNED_OTHERWISE.format(turns="up, right, left", asked="left, right, up")
    assert refused(live[::-1]) == told


def test_a_session_that_was_cut(live: list[list[Face]]) -> None:
    assert says.HEAD_JUMPS in refused(live[::5])
    assert says.HEAD_JUMPS in refused([*live[:2], *live[11:]])
    assert says.HEAD_NOT_STRAIGHT_AT_BEGINNING_AND_END in refused(live[: len(live) // 2])
    assert says.HEAD_NOT_STRAIGHT_AT_BEGINNING in refused(live[11:])


def test_two_people_who_take_turns(engine: Engine, live: list[list[Face]], blair: RGBImage) -> None:
    other = frames_of(engine, blair, path(AHEAD, LEFT, RIGHT, AHEAD, UP, AHEAD))
    assert len(other) == len(live)
    middle = len(live) // 2
    assert says.FRAMES_OF_TWO_PEOPLE in refused([*live[:middle], *other[middle:]])


def test_a_face_that_passes_into_another_by_small_steps(engine: Engine, bush: RGBImage, blair: RGBImage) -> None:
    (face,) = engine.detect_and_embed(bush)
    live = [turned(bush, face.landmarks, pose) for pose in path(AHEAD, LEFT, RIGHT, AHEAD, step=8)]
    mixed = [(blair * (1 - share) + bush * share).astype(np.uint8) for share in np.linspace(0, 1, 15)]
    frames = seen(engine, [*[blair] * 3, *mixed, *live, *mixed[::-1], *[blair] * 3])
    embeddings = [found[0].embedding for found in frames]
    assert min(float(one @ other) for one, other in pairwise(embeddings)) > SAME_PERSON
    assert says.FRAME_OF_ANOTHER_PERSON in refused(frames, ("left", "right"))


def test_somebody_else_in_the_picture_and_nobody(live: list[list[Face]]) -> None:
    for fourth, faces in (([*live[3], *live[0]], 2), ([], 0)):
        told = says.FRAME_WITHOUT_ONE_FACE.format(number=4, faces=faces)
        assert refused([*live[:3], fourth, *live[4:]]) == told


def test_too_few_and_too_many_frames(live: list[list[Face]]) -> None:
    for frames in (live[:5], live * (MOST_FRAMES // len(live) + 1), []):
        told = says.WRONG_NUMBER_OF_FRAMES.format(frames=len(frames), fewest=10, most=100)
        assert refused(frames) == told
