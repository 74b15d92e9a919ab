"""The courses that a login by face can request."""

from __future__ import annotations

from collections import Counter

import pytest

from pgface.faces.liveness.head_turns import HOLD_FRAMES, TURN_COUNTS, Step, draw_course, orders

MIN_COURSES = 10_000


@pytest.mark.parametrize(("looks_up", "of_three", "of_four"), [(True, 12, 50), (False, 6, 14)])
def test_every_order_has_both_sides(looks_up: bool, of_three: int, of_four: int) -> None:
    for count, expected in ((3, of_three), (4, of_four)):
        possible = orders(count, looks_up=looks_up)
        assert len(set(possible)) == len(possible) == expected
        assert all({"left", "right"} <= set(turns) and len(turns) == count for turns in possible)


@pytest.mark.parametrize("looks_up", [True, False])
def test_no_course_is_likelier_than_one_in_ten_thousand(looks_up: bool) -> None:
    for count in TURN_COUNTS:
        equally_likely = len(orders(count, looks_up=looks_up)) * len(HOLD_FRAMES) ** (2 * count + 1)
        assert len(TURN_COUNTS) * equally_likely >= MIN_COURSES


@pytest.mark.parametrize("looks_up", [True, False])
def test_courses_go_through_the_middle_and_are_drawn_evenly(looks_up: bool) -> None:
    drawn = [draw_course(looks_up=looks_up) for _ in range(2000)]
    assert len(set(drawn)) > 1950  # there are so many courses that the same one twice is rare
    for course in drawn:
        assert {step.pose for step in course[::2]} == {"centre"}
        assert tuple(step.pose for step in course[1::2]) in orders(len(course) // 2, looks_up=looks_up)
        assert all(isinstance(step, Step) and step.hold in HOLD_FRAMES for step in course)
    first_turns = Counter(course[1].pose for course in drawn)
    assert set(first_turns) == ({"left", "right", "up"} if looks_up else {"left", "right"})
    assert abs(first_turns["left"] - first_turns["right"]) < 250
    assert all(abs(n - 1000) < 200 for n in Counter(len(course) for course in drawn).values())
    assert all(abs(n - 500) < 150 for n in Counter(course[0].hold for course in drawn).values())
