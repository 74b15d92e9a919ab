"""Measure with an engine: folder enrollment, accuracy, identification."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from bare_engine import LoadEngine, decode, embed, embed_all
from comparisons import compare
from pgface import Gallery, Settings
from pgface.faces.engines.base import Engine
from pgface.gallery.enroll_folder import person_of
from pgface.operations.bench.timing import Row, interleave, seconds
from samples import Samples, copy_people

GALLERY_SIZE = 1_000
PEOPLE = 200
"""The size of the gallery that is filled with random embeddings."""

_names = count(1)


@dataclass(frozen=True, slots=True)
class EngineUnderTest:
    """An engine, with the number of rounds that fit into the available time."""

    name: str
    model: str
    engine: Engine
    load: LoadEngine
    enrollment_rounds: int
    identification_rounds: int
    rank_1: float
    """The minimum share of probes whose most similar person is right."""


def new_settings(settings: Settings) -> Settings:
    """Make settings for a new gallery in its own schema."""
    return settings.model_copy(update={"schema_name": f"gallery_{next(_names)}"})


def fill(gallery: Gallery, embeddings: int, people: int, seed: int = 1) -> list[int]:
    """Load random embeddings of new people. Returns the people's ids."""
    ids = [gallery.add_user(f"random{number}-{seed}@example.org").id for number in range(people)]
    random = np.random.default_rng(seed).standard_normal((embeddings, 512)).astype(np.float32)
    gallery.load_embeddings(np.resize(ids, embeddings), random)
    return ids


def measure(test: EngineUnderTest, samples: Samples, settings: Settings, scratch: Path) -> list[Row]:
    """Give all rows of one engine."""
    rows = [_enrollment(test, samples, settings)]
    with Gallery.create(new_settings(settings), model=test.model) as gallery:
        probes = samples.files
        if samples.real_people:
            enrolled, probes = samples.enrolled_and_probes()
            rows += _accuracy(test, gallery, copy_people(enrolled, scratch / test.name), probes)
        fill(gallery, GALLERY_SIZE - gallery.status().embeddings, PEOPLE)
        rows += _identification(test, gallery, probes)
    return rows


def _enrollment(test: EngineUnderTest, samples: Samples, settings: Settings) -> Row:
    files = samples.files
    enrolled: Counter[str] = Counter()

    def ours(_: int) -> float:
        with Gallery.create(new_settings(settings), model=test.model) as gallery:
            took = seconds(lambda _: gallery.enroll_folder(samples.folder, face="largest"))(0)
            enrolled["pgface"] = gallery.status().photos
        return took / len(files)

    def bare(_: int) -> float:
        def run(_: int) -> None:
            enrolled["bare"] = embed_all(test.engine, test.load, files, settings.workers)

        return seconds(run)(0) / len(files)

    embed(test.engine, files[0])
    series = interleave({"bare engine": bare, "enroll_folder": ours}, test.enrollment_rounds)
    kind = "threads" if test.engine.releases_gil else "processes, their start included"
    what = (
        f"{test.name}: folder enrollment, {len(files)} photos, {settings.workers} {kind}; "
        f"{enrolled['pgface']} enrolled, {enrolled['bare']} embedded by the bare engine"
    )
    return compare(what, series, "enroll_folder", "bare engine", measure="rate", target=0.9, unit="photos/s")


def _accuracy(test: EngineUnderTest, gallery: Gallery, folder: Path, probes: list[Path]) -> list[Row]:
    report = gallery.enroll_folder(folder, face="largest")
    right_first = 0
    outcomes: Counter[str] = Counter()
    for probe in probes:
        email = person_of(probe.parent.name).email
        faces = gallery.identify(probe, threshold=-1).faces
        if not faces:
            outcomes["no face"] += 1
            continue
        # The largest face comes first. Other people in the background do not count.
        best = faces[0].matches[0]
        right_first += best.email == email
        if best.similarity < gallery.config.identify_threshold:
            outcomes["refused"] += 1
        else:
            outcomes["right" if best.email == email else "wrong"] += 1
    rank_1 = right_first / len(probes)
    enrolled = report.count("enrolled")
    at_threshold = ", ".join(f"{outcomes[name]} {name}" for name in ("right", "refused", "wrong", "no face"))
    threshold = gallery.config.identify_threshold
    return [
        Row(
            f"{test.name}: rank-1, {enrolled} of {len(report.photos)} photos enrolled, {len(probes)} probes",
            f"{rank_1:.3f} ({right_first}/{len(probes)}, a probe without a face is a miss)",
            target=f"≥ {test.rank_1:g}",
            met=rank_1 >= test.rank_1,
        ),
        Row(f"{test.name}: the same probes at the gallery's threshold of {threshold:g}", at_threshold),
    ]


def _identification(test: EngineUnderTest, gallery: Gallery, probes: list[Path]) -> list[Row]:
    def photo(number: int) -> Path:
        return probes[number % len(probes)]

    pixels = {file: decode(file) for file in probes}
    sides = {
        "bare engine": seconds(lambda number: embed(test.engine, photo(number))),
        "identify": seconds(lambda number: gallery.identify(photo(number))),
        "bare engine on decoded pixels": seconds(lambda number: test.engine.detect_and_embed(pixels[photo(number)])),
    }
    series = interleave(sides, test.identification_rounds, warm_up=3)
    what = f"{test.name}: identify end to end among {gallery.status().embeddings:,} embeddings"
    versus = partial(compare, what, series, "identify", measure="time")
    return [versus("bare engine", target=1.10), versus("bare engine on decoded pixels")]
