"""What thresholds were set by calibration, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.rows import class_row

from pgface.binding import Binding
from pgface.postgres.database import Database

Kind = Literal["verify", "identify"]


@dataclass(frozen=True, slots=True)
class PastCalibration:
    """A row of the history."""

    id: int
    calibrated_at: datetime
    kind: Kind
    threshold: float
    threshold_likely: float
    threshold_low: float
    threshold_high: float
    threshold_before: float
    target: float
    rate: float
    rate_low: float
    rate_high: float
    extrapolated: bool
    miss_rate: float | None
    miss_rate_low: float | None
    miss_rate_high: float | None
    people_enrolled: int | None
    tail_start: float | None
    tail_share: float | None
    tail_scale: float | None
    tail_shape: float | None
    source: str
    people: int
    photos: int
    failures_to_enroll: int
    mated_pairs: int
    non_mated_pairs: int
    model_name: str
    detector_size: int | None
    weights_sha256: str | None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self) | {"calibrated_at": self.calibrated_at.isoformat()}


def history(database: Database) -> list[PastCalibration]:
    """Every threshold that was set by calibration, the newest first."""
    return database.read("select_calibrations", row_factory=class_row(PastCalibration))


def current(past: Iterable[PastCalibration], kind: Kind, binding: Binding) -> PastCalibration | None:
    """The calibration that a threshold in use comes from; None where it was set otherwise, or for another model."""
    threshold = binding.verify_threshold if kind == "verify" else binding.identify_threshold
    for row in past:
        if row.kind == kind:
            same = (row.model_name, row.detector_size, row.weights_sha256) == (
                binding.model_name,
                binding.detector_size,
                binding.weights_sha256,
            )
            return row if same and row.threshold == threshold else None
    return None
