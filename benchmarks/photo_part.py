"""Measure identification of a photo in a large gallery, beside the bare engine on the same photo."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bare_engine import embed
from comparisons import compare
from pgface import Gallery, Settings
from pgface.database.pool import Database
from pgface.gallery.enroll_folder import person_of
from pgface.operations.bench.loading import add_users, scratch_gallery
from pgface.operations.bench.measure import OnStep
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.operations.bench.timing import Row, Series, interleave, seconds
from samples import Samples, copy_people, find_samples, group_photo, insightface_weights

_TARGET = 1.15
_ROUNDS = 20
_GROUP_ROUNDS = 6
"""Calls for each second of patience. A photo takes 30 ms, a group a tenth of a second."""
_IDENTIFY, _BARE = "identify", "bare engine"


def photo_to_names(
    settings: Settings,
    people: int,
    kinds: Sequence[Kind],
    scratch: Path,
    seed: int,
    on_step: OnStep,
    skip: Callable[[str], None],
    *,
    patience: float,
) -> Iterator[Row]:
    """Measure `Gallery.identify` among synthetic people and ten real ones, beside decoding and embedding alone.

    Args:
        settings: the server.
        people: the number of synthetic people.
        kinds: the distributions of the people.
        scratch: a folder for temporary files.
        seed: the seed of the synthetic people.
        on_step: called with the name of each step that starts.
        skip: called with the reason if there are no rows.
        patience: the approximate seconds for each side.

    """
    weights, samples = insightface_weights(), find_samples(scratch)
    if weights is None or samples is None or not samples.real_people:
        skip("skipped: photo to names needs InsightFace's weights for tests and real photos (PGFACE_TEST_SHARED)")
        return
    for kind in kinds:
        yield from _among(kind, settings, people, scratch / kind, samples, str(weights), seed, on_step, patience)


def _among(
    kind: Kind,
    settings: Settings,
    people: int,
    scratch: Path,
    samples: Samples,
    weights: str,
    seed: int,
    on_step: OnStep,
    patience: float,
) -> Iterator[Row]:
    """Measure among synthetic people of one kind.

    Real people are outliers among clustered ones, and the first search seldom finds them.
    """
    on_step(f"photo to names, {kind}: loading")
    with scratch_gallery(settings) as own, Gallery.create(own, model=weights) as gallery:
        with Database.open(own) as database:
            user_ids = add_users(database, people).repeat(PHOTOS_PER_PERSON)
        gallery.load_embeddings(user_ids, SyntheticPeople(kind, seed).embeddings(people))
        enrolled, others = samples.enrolled_and_probes()
        gallery.enroll_folder(copy_people(enrolled, scratch / "enrolled"), face="largest")
        probes = [photo for photo in others if len(embed(gallery.engine, photo)) == 1]
        on_step(f"photo to names, {kind}: one face")
        what = f"identify a photo among {gallery.status().embeddings:,} faces, {kind}, {gallery.search_state().method}"
        yield _named(gallery, probes)
        series = _in_turn(gallery, probes, patience * _ROUNDS)
        yield compare(f"{what}; one face", series, _IDENTIFY, _BARE, measure="time", target=_TARGET)
        group = group_photo()
        if group is not None:
            on_step(f"photo to names, {kind}: a group")
            strangers = len(embed(gallery.engine, group))
            series = _in_turn(gallery, [group], patience * _GROUP_ROUNDS)
            yield compare(f"{what}; {strangers} strangers", series, _IDENTIFY, _BARE, measure="time")


def _named(gallery: Gallery, probes: Sequence[Path]) -> Row:
    right = 0
    for photo in probes:
        (face,) = gallery.identify(photo).faces
        right += [match.email for match in face.matches] == [person_of(photo.parent.name).email]
    return Row("photos of one face that get the right name", f"{right} of {len(probes)}", rounds=len(probes))


def _in_turn(gallery: Gallery, photos: Sequence[Path], rounds: float) -> Series:
    engine = gallery.engine
    sides = {
        _BARE: seconds(lambda number: embed(engine, photos[number % len(photos)])),
        _IDENTIFY: seconds(lambda number: gallery.identify(photos[number % len(photos)])),
    }
    return interleave(sides, math.ceil(rounds), warm_up=3)
