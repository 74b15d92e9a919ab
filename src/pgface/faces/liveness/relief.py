"""Measure the part of a face's motion that comes from its relief, and that no bent sheet of paper has.

Lengths are in distances between the eyes. x points to the right of the picture and y down, both from the middle of the
eyes.

If a head turns to a side, each of its points moves sideways by its depth times the sine of the turn. The points of
paper that is bent round a can move sideways too. But the rulings of the can are straight lines on the paper, and the
motion changes evenly along them. A point at `s` across and `t` along the rulings moves by `a(s) + b(s)·t + c·t²`, where
the last term is perspective. This model does not explain all of a real face's motion, because the nose is in front of
the face above and below it. The unexplained part of the depth itself is a fixed field, with one number for each point.
It comes from a formula (`face_depth`), and not from data of people.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GRID_STEP: Final = 0.072
"""Distance between two neighbours of the grid."""
_GRID_CENTRE: Final = (0.0, 0.35)
_GRID_REACH: Final = (0.85, 1.05)
"""Half axes of the grid's ellipse. It reaches from the forehead to below the mouth, without hair, neck and wall."""

RULING_ANGLES: Final = tuple(math.radians(angle) for angle in range(-75, 91, 15))
"""Angles of the rulings to try, from the vertical."""
KNOTS: Final = 9
"""Number of knots of `a(s)` and `b(s)`, which are linear between two knots."""
_RIDGE: Final = 1e-6
_MIN_NORM: Final = 1e-9


@dataclass(frozen=True, slots=True)
class FaceShape:
    """Proportions of a head, in distances between the eyes."""

    half_width: float = 1.3
    half_height: float = 1.9
    half_depth: float = 1.25
    nose: float = 0.42
    """Height of the nose's tip above the skull's ellipsoid."""
    nose_width: float = 0.2
    sockets: float = 0.12
    brow: float = 0.06
    lips: float = 0.12
    chin: float = 0.14
    cheeks: float = 0.06


DEFAULT_SHAPE: Final = FaceShape()
"""Chosen by hand. The nose has the height of `pgface.faces.quality`, and the width that dense flow shows."""


@cache
def grid() -> Array:
    """Return the points to follow, shape (points, 2)."""
    reach = np.array(_GRID_REACH)
    x, y = (GRID_STEP * np.arange(-count, count + 1) for count in (reach / GRID_STEP).astype(int))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return np.asarray(points[((points / reach) ** 2).sum(axis=1) <= 1] + _GRID_CENTRE)


def face_depth(x: Array, y: Array, shape: FaceShape = DEFAULT_SHAPE) -> Array:
    """Return the depth of a face, larger towards the camera, in the broadcast shape of `x` and `y`.

    The skull is an ellipsoid with bumps and hollows. The nose rises from its bridge to its tip, and ends abruptly.
    """
    inside = 1 - (x / shape.half_width) ** 2 - ((y - 0.35) / shape.half_height) ** 2
    skull = shape.half_depth * np.sqrt(np.clip(inside, 0, None))
    length = np.clip((y + 0.05) / 0.6, 0, None)
    ridge = np.where(length < 1, length**1.3, np.exp(-(((length - 1) / 0.28) ** 2)))
    nose_width = shape.nose_width * (0.7 + 0.4 * np.clip(length, 0, 1.4))
    return np.asarray(
        skull
        + shape.nose * ridge * np.exp(-((x / nose_width) ** 2) / 2)
        - shape.sockets * (_bump(x, y, -0.5, 0.02, 0.22, 0.14) + _bump(x, y, 0.5, 0.02, 0.22, 0.14))
        + shape.brow * _bump(x, y, 0, -0.3, 0.6, 0.12)
        + shape.cheeks * (_bump(x, y, -0.62, 0.5, 0.25, 0.2) + _bump(x, y, 0.62, 0.5, 0.25, 0.2))
        + shape.lips * _bump(x, y, 0, 1.04, 0.3, 0.13)
        + shape.chin * _bump(x, y, 0, 1.6, 0.32, 0.18)
    )


def _bump(x: Array, y: Array, x0: float, y0: float, width: float, height: float) -> Array:
    return np.asarray(np.exp(-(((x - x0) / width) ** 2 + ((y - y0) / height) ** 2) / 2))


class Relief(NamedTuple):
    """The similarity of a motion to that of a face's relief."""

    beyond_paper: float
    """The share of the sideways motion within the face that no bent paper explains, 0 to 1, as root mean squares. It is
    the minimum over `RULING_ANGLES`, because one of them explains paper. Affine parts of the motion do not count."""
    depth_correlation: float
    """The correlation between the unexplained parts of the motion and of the depth of a face, -1 to 1. It is the mean
    over `RULING_ANGLES`. 1 is the motion of `face_depth` itself, and 0 is no motion."""


def relief_of(sideways: Array, followed: NDArray[np.bool_]) -> Relief:
    """Compare a motion with that of bent paper and of a face.

    Args:
        sideways: the motion of each point of the grid to the right, shape (points,). Invert the sign for a turn to the
            right.
        followed: whether each point counts, shape (points,). The model needs about 100.

    """
    points = grid()
    values = np.column_stack([sideways, face_depth(*points.T)])[followed]
    even = _residual(values[:, :1], np.hstack([points, np.ones((len(points), 1))])[followed])
    left_over = [_residual(values, _bent_paper(axis)[followed]) for axis in RULING_ANGLES]
    beyond = min(float(np.linalg.norm(left[:, 0])) for left in left_over)
    share = beyond / max(float(np.linalg.norm(even)), _MIN_NORM)
    return Relief(share, float(np.mean([_correlation(*left.T) for left in left_over])))


@cache
def _bent_paper(axis: float) -> Array:
    """Return the model of paper that is bent about rulings at this angle, shape (points, parameters)."""
    x, y = grid().T
    across, along = x * math.cos(axis) + y * math.sin(axis), y * math.cos(axis) - x * math.sin(axis)
    knots = np.linspace(across.min(), across.max(), KNOTS)
    strips = np.maximum(1 - np.abs(across[:, np.newaxis] - knots) / (knots[1] - knots[0]), 0)
    return np.hstack([strips, strips * along[:, np.newaxis], along[:, np.newaxis] ** 2])


def _residual(values: Array, model: Array) -> Array:
    # Normal equations are about ten times faster than `lstsq`. The ridge is for strips without a point.
    products = model.T @ model + _RIDGE * np.eye(model.shape[1])
    return np.asarray(values - model @ np.linalg.solve(products, model.T @ values))


def _correlation(first: Array, second: Array) -> float:
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norms if norms > _MIN_NORM else 0.0
