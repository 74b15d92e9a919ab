"""Metrics for Prometheus: requests, stages, the work queues, the size of the gallery, and logins.

The processes share their values through files in PROMETHEUS_MULTIPROC_DIR. `pgface serve` sets it before this module is
imported.
"""

from __future__ import annotations

import os

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from pgface.system.timing import Stage, observe_stages

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

requests = Histogram(
    "pgface_request_seconds", "Requests, by operation and status.", ("method", "operation", "status"), buckets=_BUCKETS
)
stages = Histogram("pgface_stage_seconds", "Stages of a request.", ("stage",), buckets=_BUCKETS)
waiting = Gauge("pgface_photos_waiting", "Photos that wait for a worker.", multiprocess_mode="livesum")
working = Gauge("pgface_photos_in_work", "Photos in work.", multiprocess_mode="livesum")
passwords_waiting = Gauge("pgface_passwords_waiting", "Passwords that wait to be hashed.", multiprocess_mode="livesum")
passwords_working = Gauge("pgface_passwords_in_work", "Passwords that are being hashed.", multiprocess_mode="livesum")
refused = Counter("pgface_busy", "Requests that were refused because the service was busy.")
logins = Counter("pgface_logins", "Logins.", ("method", "outcome"))
users = Gauge("pgface_users", "Users of the gallery.", multiprocess_mode="mostrecent")
embeddings = Gauge("pgface_embeddings", "Embeddings of the gallery.", multiprocess_mode="mostrecent")


def observe() -> None:
    """Start to record the stages of this process."""
    observe_stages(_observe_stage)


def exposition() -> bytes:
    """Return the values of all processes in the format of Prometheus."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _observe_stage(stage: Stage, seconds: float) -> None:
    stages.labels(stage).observe(seconds)
