"""The tone curves of a file's samples, if they differ from sRGB's.

A picture in linear light has half of its brightness if it is shown as sRGB. So pgface applies the file's curve. It
ignores the rest of a profile: primaries change an embedding very little, and no colour engine should read an untrusted
profile.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pgface.errors import PhotoFormatError

_MAX_IGNORED_DIFFERENCE: Final = 12
"""Differences of 8-bit values up to this one are ignored. Adobe RGB's curve is so close to sRGB's, and Display P3's is
equal to it."""
_GAMMA_RANGE: Final = (0.2, 2.5)
"""The accepted values of PNG's gAMA: 1 is linear light, 0.45 is for most screens, 0.55 for Apple's old ones."""
_MAX_POINTS: Final = 65_536

Curve = NDArray[np.float64]
"""Shape (256,): light, 0 to 1, for each value of 8 bits."""


def tone_curves(info: Mapping[Any, Any]) -> NDArray[np.uint8] | None:
    """Return the sRGB value of each 8-bit value, shape (3, 256), uint8: red, green, blue. None if they hardly differ.

    An ICC profile has priority over PNG's sRGB, which has priority over gAMA. Sources: PNG 3 (W3C, 2025), 11.3.2, and
    ICC.1:2022, 10.6 and 10.18.

    Args:
        info: the `info` of a Pillow image.

    Raises:
        PhotoFormatError: the gamma is outside of the accepted range.

    """
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    if isinstance(profile, bytes) and profile:
        lights = _profile_curves(profile)
    elif gamma is not None and "srgb" not in info:
        if not _GAMMA_RANGE[0] <= gamma <= _GAMMA_RANGE[1]:
            raise PhotoFormatError(f"its gamma {gamma:g} is out of range. Save the photo again as JPEG.")
        lights = [_levels() ** (1 / gamma)] * 3
        if abs(1 / gamma - 2.2) < 0.1:
            return None
    else:
        return None
    if lights is None:
        return None
    curves = np.round(255 * np.stack([_as_srgb(light) for light in lights])).astype(np.uint8)
    difference = np.abs(curves.astype(int) - np.arange(256))
    return curves if difference.max() > _MAX_IGNORED_DIFFERENCE else None


def _levels() -> Curve:
    return np.linspace(0, 1, 256)


def _as_srgb(light: Curve) -> Curve:
    """Convert light to sRGB values, both 0 to 1 (IEC 61966-2-1)."""
    light = np.clip(np.nan_to_num(light), 0, 1)
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def _profile_curves(profile: bytes) -> list[Curve] | None:
    """Return the three curves of an RGB profile, or that of a grey profile three times. None for any other profile."""
    try:
        tags = _tags(profile)
        names = {b"RGB ": ("rTRC", "gTRC", "bTRC"), b"GRAY": ("kTRC",) * 3}.get(profile[16:20], ())
        if b"A2B0" in tags or not names:  # with such tables, the curves are only a part of the conversion
            return None
        return [_curve(tags[name.encode()]) for name in names]
    except (KeyError, struct.error, ValueError, IndexError, OverflowError):
        return None


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    found = {}
    for number in range(min(count, 200)):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        found[name] = profile[offset : offset + size]
    return found


def _curve(data: bytes) -> Curve:
    if data[:4] == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        if count == 0:
            return _levels()
        points = np.frombuffer(data, ">u2", min(count, _MAX_POINTS), 12).astype(np.float64)
        if count == 1:
            return np.asarray(_levels() ** (points[0] / 256))
        return np.interp(_levels(), np.linspace(0, 1, len(points)), points / 65_535)
    if data[:4] != b"para":
        raise ValueError("no curve")
    (kind,) = struct.unpack_from(">H", data, 8)
    count = (1, 3, 4, 5, 7)[kind]
    numbers = [number / 65_536 for number in struct.unpack_from(f">{count}i", data, 12)]
    g, a, b, c, d, e, f = numbers + [0.0] * (7 - count)
    if kind == 0:
        a = 1.0
    if kind in (1, 2):  # here c is an offset, and the linear part is flat
        e, f, c, d = c, c, 0.0, -b / a
    x = _levels()
    return np.asarray(np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f))
