"""The type of decoded pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RGBImage = NDArray[np.uint8]
"""An upright picture, shape (height, width, 3), dtype uint8, channels red, green, blue."""

CROP_SIZE = 224
"""Side of the stored face crop, in pixels."""
