"""TIFF files that Pillow decodes correctly, and an error for all others.

Pillow mistakes some kinds of TIFF for others. It then returns a negative, noise, or a picture of the wrong brightness.
This module corrects tags that Pillow does not expect, and refuses all other such kinds before pixels are decoded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from pgface.errors import PhotoFormatError

WHITE_IS_ZERO: Final = 0
_PALETTE: Final = 3
_CMYK: Final = 5
_YCBCR: Final = 6
_UNCOMPRESSED: Final = 1
_JPEG: Final = (6, 7)
_NO_REVERSED_BITS: Final = {(WHITE_IS_ZERO, 8), (_PALETTE, 4)}
"""Photometric interpretation and bits that Pillow cannot read if the bits of each byte are in reverse order."""
_CORRECT_PLANES: Final = {(2, 3, ()), (2, 4, (2.0,)), (_CMYK, 4, ())}
"""Photometric interpretation, channels and extra channels of separate planes that Pillow combines correctly."""

_ADVICE: Final = "Save the photo as RGB with 8 bits, or as JPEG."


class Tiff(TiffImageFile):
    """A TIFF whose tags are checked and corrected before Pillow chooses a decoder by them."""

    white_is_zero = False
    """Whether the samples are a negative that Pillow does not detect."""

    def _setup(self) -> None:
        tags, photometric = self.tag_v2, self.tag_v2.get(Tag.PhotometricInterpretation)
        refuse_unsafe(tags)
        samples = number_of(tags, Tag.SamplesPerPixel, 1)
        if samples == 1 and tags.get(Tag.PlanarConfiguration) == 2:
            tags[Tag.PlanarConfiguration] = 1  # for one channel both values mean the same, and Pillow accepts only 1
        self.white_is_zero = photometric == WHITE_IS_ZERO and bits_of(tags) > 8
        if self.white_is_zero:
            tags[Tag.PhotometricInterpretation] = 1
        try:
            super()._setup()
        except SyntaxError as error:
            raise PhotoFormatError(
                "this kind of TIFF is not accepted (photometric interpretation "
                f"{tags.get(Tag.PhotometricInterpretation)}, {samples} samples of {bits_of(tags)} bits). {_ADVICE}"
            ) from error


def refuse_unsafe(tags: ImageFileDirectory_v2) -> None:
    """Refuse a file that Pillow would decode as another picture.

    Source: TIFF 6.0 (Adobe, 1992).

    Raises:
        PhotoFormatError: the message says what is not accepted, without the photo's name.

    """
    bits, photometric = bits_of(tags), tags.get(Tag.PhotometricInterpretation)
    formats = set(_numbers(tags, Tag.SampleFormat)) or {1}
    if 3 in formats:
        raise PhotoFormatError("floating-point samples have no known range. Save the photo with 8 or 16 bits.")
    if formats != {1}:
        raise PhotoFormatError("signed samples have no known range. Save the photo with 8 or 16 bits, unsigned.")
    if bits > 16:
        raise PhotoFormatError("samples of more than 16 bits have no known range. Save the photo with 8 or 16 bits.")
    if photometric is None and tags.get(Tag.Compression) not in _JPEG:
        raise PhotoFormatError(f"this TIFF does not say whether 0 is black or white (tag 262 is missing). {_ADVICE}")
    reversed_bits = number_of(tags, Tag.FillOrder, 1) == 2
    if reversed_bits and (photometric, bits) in _NO_REVERSED_BITS:
        raise PhotoFormatError(f"this TIFF has the bits of every byte in reverse order (tag 266). {_ADVICE}")
    samples = number_of(tags, Tag.SamplesPerPixel, 1)
    if number_of(tags, Tag.PlanarConfiguration, 1) == 2 and samples > 1:
        kind = photometric, samples, tuple(_numbers(tags, Tag.ExtraSamples))
        if bits != 8 or reversed_bits or kind not in _CORRECT_PLANES:
            raise PhotoFormatError(
                "a TIFF with separate channels is accepted only in RGB and CMYK of 8 bits. " + _ADVICE
            )
    if photometric == _CMYK and number_of(tags, Tag.InkSet, 1) != 1:
        raise PhotoFormatError(f"this TIFF has other inks than cyan, magenta, yellow and black. {_ADVICE}")
    if photometric == _YCBCR and number_of(tags, Tag.Compression, 1) not in _JPEG:
        _refuse_unusual_ycbcr(tags)


def _refuse_unusual_ycbcr(tags: ImageFileDirectory_v2) -> None:
    """Refuse YCbCr of another kind than JPEG's, if Pillow reads the samples itself. It treats all as JPEG's."""
    usual = bool(_numbers(tags, Tag.YCbCrSubSampling))  # without the tag, files differ from the default of TIFF
    if number_of(tags, Tag.Compression, 1) == _UNCOMPRESSED:
        usual = (
            _is_near(tags, Tag.YCbCrCoefficients, (0.299, 0.587, 0.114), default=True)
            and _is_near(tags, Tag.ReferenceBlackWhite, (0, 255, 128, 255, 128, 255), default=True)
            and _is_near(tags, Tag.YCbCrSubSampling, (1, 1), default=False)
        )
    if not usual:
        raise PhotoFormatError(
            f"this TIFF has YCbCr with fewer colour samples than pixels, or of another range than JPEG's. {_ADVICE}"
        )


def _is_near(tags: ImageFileDirectory_v2, tag: int, usual: Sequence[float], *, default: bool) -> bool:
    found = _numbers(tags, tag)
    return bool(np.allclose(found, usual, atol=0.01)) if len(found) == len(usual) else default and not found


def palette_of_bytes(image: TiffImageFile) -> bytes | None:
    """Return a palette that a file gives in 8 bits, although TIFF requires 16. None if there is no such palette.

    Red, green and blue alternate. libtiff detects such a palette in the same way (`tif_getimage.c`, `checkcmap`).
    """
    colours = np.array(_numbers(image.tag_v2, Tag.ColorMap), np.int64)
    if image.mode not in ("P", "PA") or not colours.size or colours.max() > 255 or colours.size % 3:
        return None
    return colours.reshape(3, -1).T.astype(np.uint8).tobytes()


def bits_of(tags: ImageFileDirectory_v2) -> int:
    """Return the bits of the widest sample."""
    return int(max(_numbers(tags, Tag.BitsPerSample), default=1))


def number_of(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    """Return the first value of a tag, or the default if it is missing or is not a number."""
    value = next(iter(_numbers(tags, tag)), default)
    return int(value) if math.isfinite(value) else default


def _numbers(tags: ImageFileDirectory_v2, tag: int) -> Sequence[float]:
    """Return the numbers of a tag. In a file, a tag may have any type."""
    value: Any = tags.get(tag)
    values = value if isinstance(value, tuple) else (value,)
    try:
        return [float(number) for number in values if not isinstance(number, str | bytes) and number is not None]
    except (TypeError, ValueError, ZeroDivisionError):
        return []
