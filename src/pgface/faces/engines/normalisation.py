"""The preparation of pictures for networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.faces.pixels import RGBImage


@dataclass(frozen=True, slots=True)
class Normalisation:
    """The preparation of the pixels: (pixel - mean) / deviation."""

    mean: float
    deviation: float

    def blob(self, image: RGBImage, type_: str) -> NDArray[Any]:
        """Return a picture as the input of a network, shape (1, 3, height, width).

        Args:
            image: shape (height, width, 3), uint8.
            type_: ONNX Runtime's name of the input's type: `tensor(float)` or `tensor(uint8)`.

        """
        import cv2

        blob = cv2.dnn.blobFromImage(image, 1 / self.deviation, mean=(self.mean,) * 3)
        return np.asarray(blob).astype(np.uint8 if type_ == "tensor(uint8)" else np.float32, copy=False)
