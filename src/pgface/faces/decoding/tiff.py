"""TIFF as Pillow decodes it correctly, and an error for every other way in which a TIFF may keep its samples.

Pillow mistakes some kinds for others, and returns a negative, noise, or a picture of the wrong brightness. This module
corrects the tags that say something in another way than Pillow expects. It refuses all others before pixels are
decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from pgface.errors import PhotoFormatError

_BITS: Final = 258
_COMPRESSION: Final = 259
_PHOTOMETRIC: Final = 262
_FILL_ORDER: Final = 266
_SAMPLES: Final = 277
_PLANAR: Final = 284
_COLOUR_MAP: Final = 320
_INK_SET: Final = 332
_SAMPLE_FORMAT: Final = 339
_EXTRA: Final = 338
_COEFFICIENTS: Final = 529
_SUBSAMPLING: Final = 530
_REFERENCE: Final = 532

_WHITE_IS_ZERO: Final = 0
_PALETTE: Final = 3
_CMYK: Final = 5
_YCBCR: Final = 6
_UNCOMPRESSED: Final = 1
_JPEG: Final = (6, 7)
_NO_REVERSED_BITS: Final = {(_WHITE_IS_ZERO, 8), (_PALETTE, 4)}
"""Photometric interpretation and bits that Pillow cannot read with the bits in reverse order."""
_CORRECT_PLANES: Final = {(2, 3, ()), (2, 4, (2.0,)), (_CMYK, 4, ())}
"""Photometric interpretation, channels and extra channels that Pillow combines correctly."""

_ADVICE: Final = "Save the photo as RGB with 8 bits, or as JPEG."


class Tiff(TiffImageFile):
    """A TIFF whose tags are checked before Pillow chooses a decoder by them."""

    white_is_zero = False
    """Whether the samples are a negative that Pillow does not recognise."""

    def _setup(self) -> None:
        tags = self.tag_v2
        refuse_unsafe(tags)
        samples = _number(tags, _SAMPLES, 1)
        if samples == 1 and tags.get(_PLANAR) == 2:
            tags[_PLANAR] = 1  # for one channel both values mean the same, and Pillow knows only this one
        self.white_is_zero = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and bits_of(tags) > 8
        if self.white_is_zero:
            tags[_PHOTOMETRIC] = 1
        try:
            super()._setup()
        except SyntaxError as error:
            raise PhotoFormatError(
                f"this kind of TIFF is not accepted (photometric interpretation {tags.get(_PHOTOMETRIC)}, "
                f"{samples} samples of {bits_of(tags)} bits). {_ADVICE}"
            ) from error


def refuse_unsafe(tags: ImageFileDirectory_v2) -> None:
    """Refuse a file that Pillow would decode as another picture.

    Source: TIFF 6.0 (Adobe, 1992).

    Raises:
        PhotoFormatError: the message says what is not accepted, without the photo's name.

    """
    bits, photometric = bits_of(tags), tags.get(_PHOTOMETRIC)
    formats = set(_numbers(tags, _SAMPLE_FORMAT)) or {1}
    if 3 in formats:
        raise PhotoFormatError("floating-point samples have no known range. Save the photo with 8 or 16 bits.")
    if formats != {1}:
        raise PhotoFormatError("signed samples have no known range. Save the photo with 8 or 16 bits, unsigned.")
    if bits > 16:
        raise PhotoFormatError("samples of more than 16 bits have no known range. Save the photo with 8 or 16 bits.")
    if photometric is None and tags.get(_COMPRESSION) not in _JPEG:
        raise PhotoFormatError(f"this TIFF does not say whether 0 is black or white (tag 262 is missing). {_ADVICE}")
    turned = _number(tags, _FILL_ORDER, 1) == 2
    if turned and (photometric, bits) in _NO_REVERSED_BITS:
        raise PhotoFormatError(f"this TIFF has the bits of every byte in reverse order (tag 266). {_ADVICE}")
    samples = _number(tags, _SAMPLES, 1)
    if _number(tags, _PLANAR, 1) == 2 and samples > 1:
        kind = photometric, samples, tuple(_numbers(tags, _EXTRA))
        if bits != 8 or turned or kind not in _CORRECT_PLANES:
            raise PhotoFormatError(
                "a TIFF with separate channels is accepted only in RGB and CMYK of 8 bits. " + _ADVICE
            )
    if photometric == _CMYK and _number(tags, _INK_SET, 1) != 1:
        raise PhotoFormatError(f"this TIFF has other inks than cyan, magenta, yellow and black. {_ADVICE}")
    if photometric == _YCBCR and _number(tags, _COMPRESSION, 1) not in _JPEG:
        _refuse_unusual_ycbcr(tags)


def _refuse_unusual_ycbcr(tags: ImageFileDirectory_v2) -> None:
    """Refuse YCbCr that only libtiff understands, if Pillow reads the samples itself. It treats all as JPEG's."""
    usual = bool(_numbers(tags, _SUBSAMPLING))  # without the tag, files differ from the default of TIFF
    if _number(tags, _COMPRESSION, 1) == _UNCOMPRESSED:
        usual = (
            _is_near(tags, _COEFFICIENTS, (0.299, 0.587, 0.114), default=True)
            and _is_near(tags, _REFERENCE, (0, 255, 128, 255, 128, 255), default=True)
            and _is_near(tags, _SUBSAMPLING, (1, 1), default=False)
        )
    if not usual:
        raise PhotoFormatError(
            f"this TIFF has YCbCr with fewer colour samples than pixels, or of another range than JPEG's. {_ADVICE}"
        )


def _is_near(tags: ImageFileDirectory_v2, tag: int, usual: Sequence[float], *, default: bool) -> bool:
    found = _numbers(tags, tag)
    return bool(np.allclose(found, usual, atol=0.01)) if len(found) == len(usual) else default and not found


def palette_of_bytes(image: TiffImageFile) -> bytes | None:
    """Return the palette of a file that gives it in 8 bits, although TIFF asks for 16. None for any other file.

    libtiff detects such a palette in the same way (`tif_getimage.c`, `checkcmap`). Red, green and blue alternate.
    """
    colours = np.array(_numbers(image.tag_v2, _COLOUR_MAP), np.int64)
    if image.mode not in ("P", "PA") or not colours.size or colours.max() > 255 or colours.size % 3:
        return None
    return colours.reshape(3, -1).T.astype(np.uint8).tobytes()


def bits_of(tags: ImageFileDirectory_v2) -> int:
    """Return the bits of the widest sample."""
    return int(max(_numbers(tags, _BITS), default=1))


def _number(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    return int(next(iter(_numbers(tags, tag)), default))


def _numbers(tags: ImageFileDirectory_v2, tag: int) -> Sequence[float]:
    """Return the values of a tag. A file may give it any type."""
    value: Any = tags.get(tag)
    values = value if isinstance(value, tuple) else (value,)
    try:
        return [float(number) for number in values if not isinstance(number, str | bytes) and number is not None]
    except (TypeError, ValueError, ZeroDivisionError):
        return []
