"""The photos and weights for benchmarks."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SHARED = Path(os.environ.get("PGFACE_TEST_SHARED", Path(__file__).parents[2] / "shared"))
ENROLLED = 5
"""The number of photos of each person that are enrolled. The others are probes."""
COPIES = 40


@dataclass(frozen=True, slots=True)
class Samples:
    """Photos to enroll, and probes."""

    description: str
    folder: Path
    """The folder, as `folder/<person>/<photo>`."""
    real_people: bool
    """Whether there are several photos of several people, so that accuracy can be measured."""

    @property
    def files(self) -> list[Path]:
        """Every photo, in the order of enrollment."""
        return sorted(self.folder.glob("*/*"))

    def enrolled_and_probes(self) -> tuple[list[Path], list[Path]]:
        """Split the photos into the first ones of each person, and the others."""
        enrolled: list[Path] = []
        probes: list[Path] = []
        for person in sorted(self.folder.iterdir()):
            files = sorted(person.iterdir())
            enrolled += files[:ENROLLED]
            probes += files[ENROLLED:]
        return enrolled, probes


def insightface_weights() -> Path | None:
    """Find the model pack for tests, None if it is not on this machine."""
    folder = SHARED / "data" / "models" / "buffalo_sc_q8"
    return folder if folder.is_dir() else None


def find_samples(scratch: Path) -> Samples | None:
    """Find real photos, or else make one of an installed package in several sizes. None without either."""
    folder = SHARED / "data" / "faces"
    if folder.is_dir():
        people = sum(1 for _ in folder.iterdir())
        return Samples(f"{people} people, {sum(1 for _ in folder.glob('*/*'))} photos", folder, real_people=True)
    packaged = packaged_photo()
    if packaged is None:
        return None
    folder = scratch / "sample"
    (folder / "Person").mkdir(parents=True)
    with Image.open(packaged) as photo:
        # Every size is another file, so that no photo is skipped as a duplicate.
        for number in range(COPIES):
            side = 512 - 4 * number
            smaller = photo.convert("RGB").resize((side, side * photo.height // photo.width))
            smaller.save(folder / "Person" / f"{number:02}.jpg", quality=95)
    return Samples(f"{packaged.name} in {COPIES} sizes", folder, real_people=False)


def packaged_photo() -> Path | None:
    """Find scikit-image's astronaut, or insightface's picture of six people."""
    return _inside("skimage", "data/astronaut.png") or group_photo()


def group_photo() -> Path | None:
    """Find the picture of six people in the insightface package."""
    return _inside("insightface", "data/images/t1.jpg")


def _inside(package: str, path: str) -> Path | None:
    found = importlib.util.find_spec(package)
    if found is not None and found.origin is not None and (file := Path(found.origin).parent / path).is_file():
        return file
    return None


def copy_people(files: list[Path], folder: Path) -> Path:
    """Make a folder of people with links to these photos."""
    for file in files:
        link = folder / file.parent.name / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    return folder
