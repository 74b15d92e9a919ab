"""How the sides of a comparison are timed in turn, and compared."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from comparisons import compare
from pgface.operations.bench.timing import Ratio, in_turn, interleave


def test_the_order_is_reversed_in_every_round() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[int], float]:
        def run(number: int) -> float:
            order.append(f"{name}{number}")
            return 1.0

        return run

    series = interleave({"a": side("a"), "b": side("b")}, 3, warm_up=1)
    assert order == ["b0", "a0", "a0", "b0", "b1", "a1", "a2", "b2"]
    assert series == {"a": [1.0] * 3, "b": [1.0] * 3}


def test_blocks_of_calls_take_turns() -> None:
    called: dict[str, list[int]] = {"a": [], "b": []}
    order: list[str] = []

    def call(name: str) -> Callable[[int], None]:
        def run(number: int) -> None:
            called[name].append(number)
            if order[-1:] != [name]:
                order.append(name)

        return run

    calls, medians = in_turn({"a": call("a"), "b": call("b")}, 60.0)
    assert len(medians["a"]) == len(medians["b"]) == 10
    assert len(calls["a"]) == len(calls["b"]) == 10 * 200
    assert called["a"][-1] == 11 * 200 - 1, "each call has its own number, also to warm up"
    assert order[-5:] == ["a", "b", "a", "b", "a"]


def test_blocks_are_short_if_there_is_little_time() -> None:
    calls, medians = in_turn({"a": lambda _: None, "b": lambda _: None}, 0.0)
    assert len(medians["a"]) == len(medians["b"]) == 5
    assert len(calls["a"]) == len(calls["b"]) == 5 * 3


def test_a_ratio_is_the_median_over_the_rounds() -> None:
    ratio = Ratio.of([2.0, 4.0, 9.0], [1.0, 1.0, 3.0])
    assert ratio == Ratio(3.0, (2.5, 3.5), 2.0, 3)


@pytest.mark.parametrize(("target", "met"), [(3.0, True), (2.9, False)])
def test_times_have_a_target_at_most(target: float, met: bool) -> None:
    row = compare("what", {"us": [3.0, 6.0], "them": [1.0, 2.0]}, "us", "them", measure="time", target=target)
    assert (row.ratio, row.met, row.target) == (3.0, met, f"≤ {target:g} ×")


def test_rates_have_a_target_at_least() -> None:
    row = compare("what", {"us": [1.0, 2.0], "them": [3.0, 6.0]}, "us", "them", measure="rate", target=2.5, unit="/s")
    assert (row.ratio, row.met, row.target) == (3.0, True, "≥ 2.5 ×")
    assert row.ours == "us: 0.7 /s"
