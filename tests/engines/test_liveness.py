"""Heads that turn as requested, and attacks that do not."""

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
"""Lower than every similarity of one frame and the next, and higher than those of strangers."""


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


def detected(engine: Engine, pictures: list[RGBImage]) -> list[Face]:
    return [engine.detect_and_embed(frame)[0] for frame in noisy(pictures)]


def pictures_of(engine: Engine, photo: RGBImage, poses: list[Degrees]) -> list[RGBImage]:
    (face,) = engine.detect_and_embed(photo)
    return [turned(photo, face.landmarks, pose) for pose in poses]


def frames_of(engine: Engine, photo: RGBImage, *poses: Pose, hold: int = 3, step: float = 8) -> list[list[Face]]:
    """Return the frames of a head that turns to each pose and stays there, one list per pose."""
    requests, at = [], (0.0, 0.0)
    for pose in poses:
        way = path(at, STATIONS[pose], step=step)[1:]
        requests.append(detected(engine, pictures_of(engine, photo, [*way, *[STATIONS[pose]] * hold])))
        at = STATIONS[pose]
    return requests


def head_turns(*poses: Pose, hold: int = 3, same_person: float = SAME_PERSON) -> HeadTurns:
    return HeadTurns(tuple(Step(pose, hold) for pose in poses), same_person)


def check_requests(head: HeadTurns, requests: list[list[Face]]) -> HeadTurns:
    """Check each list as one request. Between two requests, the state is serialised."""
    for request in requests:
        for face in request:
            head.see(face)
        head.end_step()
        head = HeadTurns.from_json(json.loads(json.dumps(head.to_json())))
    return head


def error_of(head: HeadTurns, requests: list[list[Face]]) -> str:
    with pytest.raises(LivenessError) as error:
        check_requests(head, requests)
    return str(error.value)


COURSE: tuple[Pose, ...] = ("centre", "left", "centre", "right", "centre")


@pytest.fixture(scope="module")
def live(engine: Engine, bush: RGBImage) -> list[list[Face]]:
    return frames_of(engine, bush, *COURSE)


def test_a_person_who_turns_as_requested(engine: Engine, bush: RGBImage, live: list[list[Face]]) -> None:
    head = check_requests(head_turns(*COURSE), live)
    assert head.done
    assert head.frames == sum(map(len, live))
    assert len(head.shown) == 5  # three looks straight ahead, and the start of two turns
    (face,) = engine.detect_and_embed(bush)
    assert min(float(shown @ face.embedding) for shown in head.shown) > 0.9
    assert [motion.side for motion in head.motions] == ["left", "right"]


@pytest.mark.parametrize(
    "course", [("centre", "right", "centre", "left", "centre"), ("centre", "up", "centre", "left", "centre")]
)
def test_other_orders_and_another_person(engine: Engine, blair: RGBImage, course: tuple[Pose, ...]) -> None:
    head = head_turns(*course)
    for request in frames_of(engine, blair, *course):
        check_request(head, request)
    assert head.step == len(course)


def check_request(head: HeadTurns, request: list[Face]) -> None:
    for face in request:
        head.see(face)
    if head.step < len(head.course) - 1:
        head.end_step()
    else:
        head.step += 1  # another test checks the motion to both sides


@pytest.mark.parametrize("model", ["dlib", "sface"])
def test_other_models_measure_turns_to_the_sides(bush: RGBImage, model: str) -> None:
    engine = load_engine(model, models_dir=Path(), detector_size=640, execution_provider="CPU")
    assert check_requests(head_turns(*COURSE, same_person=0.7), frames_of(engine, bush, *COURSE, step=4)).done


@pytest.mark.parametrize(
    ("requested", "turn", "instead"),
    [
        (("centre", "right", "centre", "left", "centre"), "left", "right"),
        (("centre", "up", "centre", "right", "centre"), "left", "up"),
    ],
)
def test_a_recording_of_other_turns(
    live: list[list[Face]], requested: tuple[Pose, ...], turn: str, instead: str
) -> None:
    assert error_of(head_turns(*requested), live) == says.HEAD_TURNS_OTHERWISE.format(turn=turn, asked=instead)


def test_a_recording_that_holds_too_short(live: list[list[Face]]) -> None:
    head = check_requests(head_turns("centre", "left", "centre", "right", "centre", hold=5), live[:1])
    assert (head.step, head.pose, head.held) == (0, "centre", 4)
    assert error_of(head, live[1:]) == says.HEAD_TURNS_OTHERWISE.format(turn="left", asked="straight ahead")


def test_a_recording_that_runs_ahead(live: list[list[Face]]) -> None:
    """All frames are in one request, before the turn to the left was requested."""
    everything = [frame for request in live for frame in request]
    head = head_turns(*COURSE)
    assert error_of(head, [everything]) == says.HEAD_TURNS_OTHERWISE.format(turn="left", asked="straight ahead")


def test_a_head_that_comes_back_too_early_turns_again(engine: Engine, bush: RGBImage) -> None:
    course: tuple[Pose, ...] = ("centre", "left", "centre", "left", "centre", "right", "centre")
    requests = frames_of(engine, bush, *course)
    head = check_requests(head_turns("centre", "left", "centre", "right", "centre"), requests[:1])
    head = check_requests(head, [[*requests[1][:-2], *requests[2]]])  # reached, but not held
    assert (head.pose, head.held) == ("left", 0)
    assert check_requests(head, requests[3:]).done


def test_a_still_photo(engine: Engine, bush: RGBImage) -> None:
    head = head_turns(*COURSE)
    frames = detected(engine, [bush] * (MAX_FRAMES_PER_STEP + 10))
    assert error_of(head, [frames[:5], frames[5:]]) == says.HEAD_DOES_NOT_TURN.format(asked="left")


def test_a_photo_that_is_tilted_and_moved(engine: Engine, bush: RGBImage) -> None:
    photo = np.asarray(Image.fromarray(bush).resize((375, 375)))  # large enough also when it is tilted
    poses = path((0, 0), (50, 0), (-50, 0), (0, 0), (0, 40), (0, 0), (50, 0), (0, 0), step=6)
    frames = detected(engine, [np.roll(tilted(photo, pose), number % 20, axis=1) for number, pose in enumerate(poses)])
    assert error_of(head_turns(*COURSE), [frames[:3], frames[3:]]) == says.HEAD_DOES_NOT_TURN.format(asked="left")


def test_frames_that_are_sent_twice(live: list[list[Face]]) -> None:
    first = live[0]
    expected = says.FRAME_SENT_TWICE.format(number=5)
    assert error_of(head_turns(*COURSE), [[*first, first[-1]]]) == expected


def test_missing_frames(live: list[list[Face]]) -> None:
    assert says.HEAD_JUMPS in error_of(head_turns(*COURSE), [live[0], live[1][4:]])
    assert says.HEAD_NOT_STRAIGHT_AT_BEGINNING in error_of(head_turns(*COURSE), [live[1][4:]])


def test_two_people_in_turn(engine: Engine, live: list[list[Face]], blair: RGBImage) -> None:
    other = frames_of(engine, blair, *COURSE)
    assert says.FRAMES_OF_TWO_PEOPLE in error_of(head_turns(*COURSE), [live[0], other[1]])


def test_a_face_that_changes_into_another_in_small_steps(engine: Engine, bush: RGBImage, blair: RGBImage) -> None:
    mixed = [(blair * (1 - share) + bush * share).astype(np.uint8) for share in np.linspace(0, 1, 15)]
    frames = detected(engine, [*[blair] * 3, *mixed])
    embeddings = [face.embedding for face in frames]
    assert min(float(one @ other) for one, other in pairwise(embeddings)) > SAME_PERSON
    assert says.FRAME_OF_ANOTHER_PERSON in error_of(head_turns(*COURSE), [frames])


def test_too_many_frames(live: list[list[Face]]) -> None:
    head = head_turns(*COURSE)
    head.frames = MAX_FRAMES
    assert error_of(head, live) == says.TOO_MANY_FRAMES.format(most=MAX_FRAMES)
