"""Heads that turn as they are asked to, and all else that can be held to a camera."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgface.errors import LivenessError
from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Engine, Face
from pgface.faces.liveness.head_turns import MAX_FRAMES, MAX_FRAMES_PER_STEP, HeadTurns, Pose, Step
from pgface.faces.pixels import RGBImage
from support.moving_heads import STATIONS, noisy, path, tilted, turned
from support.moving_heads import Pose as Degrees
from support.sentences import accounts as says

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


def seen(engine: Engine, pictures: list[RGBImage]) -> list[Face]:
    return [engine.detect_and_embed(frame)[0] for frame in noisy(pictures)]


def pictures_of(engine: Engine, photo: RGBImage, poses: list[Degrees]) -> list[RGBImage]:
    (face,) = engine.detect_and_embed(photo)
    return [turned(photo, face.landmarks, pose) for pose in poses]


def acted(engine: Engine, photo: RGBImage, *poses: Pose, hold: int = 3, step: float = 8) -> list[list[Face]]:
    """What the camera sees of a head that goes to each pose and stays there, in pieces of a pose each."""
    pieces, at = [], (0.0, 0.0)
    for pose in poses:
        way = path(at, STATIONS[pose], step=step)[1:]
        pieces.append(seen(engine, pictures_of(engine, photo, [*way, *[STATIONS[pose]] * hold])))
        at = STATIONS[pose]
    return pieces


def asked_for(*poses: Pose, hold: int = 3, same_person: float = SAME_PERSON) -> HeadTurns:
    return HeadTurns(tuple(Step(pose, hold) for pose in poses), same_person)


def look_at(head: HeadTurns, pieces: list[list[Face]]) -> HeadTurns:
    """Each piece is a request, between which the state is written down."""
    for piece in pieces:
        for face in piece:
            head.see(face)
        head.end_step()
        head = HeadTurns.from_json(json.loads(json.dumps(head.to_json())))
    return head


def refused(head: HeadTurns, pieces: list[list[Face]]) -> str:
    with pytest.raises(LivenessError) as error:
        look_at(head, pieces)
    return str(error.value)


COURSE: tuple[Pose, ...] = ("centre", "left", "centre", "right", "centre")


@pytest.fixture(scope="module")
def live(engine: Engine, bush: RGBImage) -> list[list[Face]]:
    return acted(engine, bush, *COURSE)


def test_a_person_who_does_as_asked(engine: Engine, bush: RGBImage, live: list[list[Face]]) -> None:
    head = look_at(asked_for(*COURSE), live)
    assert head.done
    assert head.frames == sum(map(len, live))
    assert len(head.shown) == 5  # three looks straight ahead, and where two turns began
    (face,) = engine.detect_and_embed(bush)
    assert min(float(shown @ face.embedding) for shown in head.shown) > 0.9
    assert [motion.side for motion in head.motions] == ["left", "right"]


@pytest.mark.parametrize(
    "course", [("centre", "right", "centre", "left", "centre"), ("centre", "up", "centre", "left", "centre")]
)
def test_other_orders_and_another_person(engine: Engine, blair: RGBImage, course: tuple[Pose, ...]) -> None:
    head = asked_for(*course)
    for piece in acted(engine, blair, *course):
        look_at_piece(head, piece)
    assert head.step == len(course)


def look_at_piece(head: HeadTurns, piece: list[Face]) -> None:
    for face in piece:
        head.see(face)
    if head.step < len(head.course) - 1:
        head.end_step()
    else:
        head.step += 1  # whether both sides were a head's is another test's question


def test_dlib_sees_turns_to_the_sides(bush: RGBImage) -> None:
    dlib = load_engine("dlib", models_dir=Path(), detector_size=640, execution_provider="CPU")
    assert look_at(asked_for(*COURSE, same_person=0.7), acted(dlib, bush, *COURSE, step=4)).done


@pytest.mark.parametrize(
    ("asked", "turn", "instead"),
    [
        (("centre", "right", "centre", "left", "centre"), "left", "right"),
        (("centre", "up", "centre", "right", "centre"), "left", "up"),
    ],
)
def test_a_recording_of_other_turns(live: list[list[Face]], asked: tuple[Pose, ...], turn: str, instead: str) -> None:
    assert refused(asked_for(*asked), live) == says.HEAD_TURNS_OTHERWISE.format(turn=turn, asked=instead)


def test_a_recording_that_holds_too_short(live: list[list[Face]]) -> None:
    head = look_at(asked_for("centre", "left", "centre", "right", "centre", hold=5), live[:1])
    assert (head.step, head.pose, head.held) == (0, "centre", 4)
    assert refused(head, live[1:]) == says.HEAD_TURNS_OTHERWISE.format(turn="left", asked="straight ahead")


def test_a_recording_that_runs_ahead(live: list[list[Face]]) -> None:
    """All of it in one request: the turn to the left was not asked for yet."""
    everything = [frame for piece in live for frame in piece]
    head = asked_for(*COURSE)
    assert refused(head, [everything]) == says.HEAD_TURNS_OTHERWISE.format(turn="left", asked="straight ahead")


def test_a_head_that_comes_back_too_early_turns_again(engine: Engine, bush: RGBImage) -> None:
    course: tuple[Pose, ...] = ("centre", "left", "centre", "left", "centre", "right", "centre")
    pieces = acted(engine, bush, *course)
    head = look_at(asked_for("centre", "left", "centre", "right", "centre"), pieces[:1])
    head = look_at(head, [[*pieces[1][:-2], *pieces[2]]])  # seen once, and not held
    assert (head.pose, head.held) == ("left", 0)
    assert look_at(head, pieces[3:]).done


def test_a_still_photo(engine: Engine, bush: RGBImage) -> None:
    head = asked_for(*COURSE)
    frames = seen(engine, [bush] * (MAX_FRAMES_PER_STEP + 10))
    assert refused(head, [frames[:5], frames[5:]]) == says.HEAD_DOES_NOT_TURN.format(asked="left")


def test_a_photo_that_is_tilted_and_moved(engine: Engine, bush: RGBImage) -> None:
    photo = np.asarray(Image.fromarray(bush).resize((375, 375)))  # large enough also when it is tilted
    poses = path((0, 0), (50, 0), (-50, 0), (0, 0), (0, 40), (0, 0), (50, 0), (0, 0), step=6)
    frames = seen(engine, [np.roll(tilted(photo, pose), number % 20, axis=1) for number, pose in enumerate(poses)])
    assert refused(asked_for(*COURSE), [frames[:3], frames[3:]]) == says.HEAD_DOES_NOT_TURN.format(asked="left")


def test_frames_that_are_sent_again(live: list[list[Face]]) -> None:
    first = live[0]
    told = says.FRAME_SENT_TWICE.format(number=5)
    assert refused(asked_for(*COURSE), [[*first, first[-1]]]) == told


def test_a_session_that_was_cut(live: list[list[Face]]) -> None:
    assert says.HEAD_JUMPS in refused(asked_for(*COURSE), [live[0], live[1][4:]])
    assert says.HEAD_NOT_STRAIGHT_AT_BEGINNING in refused(asked_for(*COURSE), [live[1][4:]])


def test_two_people_who_take_turns(engine: Engine, live: list[list[Face]], blair: RGBImage) -> None:
    other = acted(engine, blair, *COURSE)
    assert says.FRAMES_OF_TWO_PEOPLE in refused(asked_for(*COURSE), [live[0], other[1]])


def test_a_face_that_passes_into_another_by_small_steps(engine: Engine, bush: RGBImage, blair: RGBImage) -> None:
    mixed = [(blair * (1 - share) + bush * share).astype(np.uint8) for share in np.linspace(0, 1, 15)]
    frames = seen(engine, [*[blair] * 3, *mixed])
    embeddings = [face.embedding for face in frames]
    assert min(float(one @ other) for one, other in pairwise(embeddings)) > SAME_PERSON
    assert says.FRAME_OF_ANOTHER_PERSON in refused(asked_for(*COURSE), [frames])


def test_too_many_frames(live: list[list[Face]]) -> None:
    head = asked_for(*COURSE)
    head.frames = MAX_FRAMES
    assert refused(head, live) == says.TOO_MANY_FRAMES.format(most=MAX_FRAMES)
