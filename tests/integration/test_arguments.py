"""Arguments are checked before a photo is opened, and an answer contains the threshold that was used for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pgface.errors import GalleryError
from pgface.gallery import Gallery
from support.photos import Photos

BLANK = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    "ask",
    [
        lambda gallery: gallery.identify(BLANK, top=0),
        lambda gallery: gallery.identify(BLANK, threshold=2),
        lambda gallery: gallery.identify("nowhere.jpg", threshold=float("nan")),
        lambda gallery: gallery.identify_embeddings([], top=0),
        lambda gallery: gallery.identify_embeddings([], threshold=-2),
        lambda gallery: gallery.verify("nowhere.jpg", 1, threshold=2),
        lambda gallery: gallery.compare("nowhere.jpg", "nowhere.jpg", threshold=2),
    ],
)
def test_arguments_are_checked_first(gallery: Gallery, ask: Callable[[Gallery], Any]) -> None:
    with pytest.raises(GalleryError) as refused:
        ask(gallery)
    assert type(refused.value) is GalleryError


def test_an_answer_contains_the_threshold_that_was_used(
    gallery: Gallery, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enroll(photos("Tony_Blair", 4), "blair@example.org")
    search = Gallery._search

    def search_then_calibrate(self: Gallery, *arguments: Any, **options: Any) -> Any:
        found = search(self, *arguments, **options)
        with self.database.transaction() as connection:
            connection.execute("UPDATE gallery SET identify_threshold = 0.99")
        self._model._read_at = 0
        return found

    monkeypatch.setattr(Gallery, "_search", search_then_calibrate)
    answer = gallery.identify(photos("Tony_Blair", 5))
    assert answer.threshold == pytest.approx(0.4)
    ((match,),) = (face.matches for face in answer.faces)
    assert match.similarity >= answer.threshold
    assert gallery.identify(photos("Tony_Blair", 6)).threshold == pytest.approx(0.99)
