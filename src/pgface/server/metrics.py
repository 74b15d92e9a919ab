"""Metrics for Prometheus: requests, stages, the work queues, the size of the gallery, and logins.

The processes share their values through files in PROMETHEUS_MULTIPROC_DIR. `pgface serve` sets it before this module is
imported.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from pgface.database.replica_lag import ReplicaLag
from pgface.database.replicas import Outcome, observe_searches
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
read_only = Gauge(
    "pgface_read_only",
    "Whether the database is a replica, so that the service only reads.",
    multiprocess_mode="mostrecent",
)
replica_lag_bytes = Gauge(
    "pgface_replica_lag_bytes",
    "Bytes of the primary's log that a replica does not show yet. NaN if that is not known.",
    ("replica",),
    multiprocess_mode="mostrecent",
)
replica_lag_seconds = Gauge(
    "pgface_replica_lag_seconds",
    "Seconds since a replica certainly showed everything. NaN if that is not known.",
    ("replica",),
    multiprocess_mode="mostrecent",
)
searches = Counter(
    "pgface_searches",
    "Searches with PGFACE_READ_URL, by the server that was asked and the outcome.",
    ("server", "outcome"),
)
runtime = Gauge(
    "pgface_runtime",
    "What runs the detection and the embedding of faces. The value is always 1.",
    ("step", "runtime"),
    multiprocess_mode="livemax",
)
embeddings = Gauge("pgface_embeddings", "Embeddings of the gallery.", multiprocess_mode="mostrecent")


def observe() -> None:
    """Start to record the stages and the searches of this process."""
    observe_stages(_observe_stage)
    observe_searches(_observe_search)


def set_runtimes(runtimes: Mapping[str, str]) -> None:
    """Set what runs each step of the engine of this process."""
    for step, name in runtimes.items():
        runtime.labels(step, name).set(1)


def set_lag(replica: str, lag: ReplicaLag | None) -> None:
    """Set how far a replica is behind."""
    missing = None if lag is None else lag.bytes
    seconds = None if lag is None else lag.seconds
    replica_lag_bytes.labels(replica).set(math.nan if missing is None else missing)
    replica_lag_seconds.labels(replica).set(math.nan if seconds is None else seconds)


def exposition() -> bytes:
    """Return the values of all processes in the format of Prometheus."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _observe_search(server: str, outcome: Outcome) -> None:
    searches.labels(server, outcome).inc()


def _observe_stage(stage: Stage, seconds: float) -> None:
    stages.labels(stage).observe(seconds)
