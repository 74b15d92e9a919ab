"""Measure a folder of people at the thresholds of the specification's guideline: FNMR and FMR for each model."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench_engines import central, engine_of, read_photos, similarities

GUIDELINE = (
    (0.9, "very similar"),
    (0.8, "very good, recommended for production"),
    (0.7, "good balance"),
    (0.6, "perhaps, many false matches"),
)
"""The lower end of each range of the specification, and what it says about the range."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="one folder for each person")
    parser.add_argument("--models", nargs="+", default=["sface", "dlib"], help="names or folders (sface dlib)")
    arguments = parser.parse_args()
    photos = read_photos(arguments.photos)
    table = Table()
    table.add_column("threshold")
    table.add_column("the specification")
    columns = []
    for model in arguments.models:
        engine = engine_of(model)
        found = [(photo, central(engine, photo.pixels)) for photo in photos]
        mated, non_mated = similarities([(photo, face) for photo, face in found if face is not None])
        table.add_column(f"{Path(model).name}: FNMR of {len(mated):,}", justify="right")
        table.add_column(f"FMR of {len(non_mated):,}", justify="right")
        columns.append((mated, non_mated))
    for threshold, words in GUIDELINE:
        cells = []
        for mated, non_mated in columns:
            cells += [100 * np.mean(mated < threshold), 100 * np.mean(non_mated >= threshold)]
        table.add_row(f"{threshold}", words, *(f"{cell:.2f} %" for cell in cells))
    Console(highlight=False, width=140).print(table)


if __name__ == "__main__":
    main()
