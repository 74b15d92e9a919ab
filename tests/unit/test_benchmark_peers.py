"""Searches in process that pgface is compared with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from pgface.operations.bench.peers import EFFORTS, Peer, installed_peers
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from support.sentences import benchmark as says

PEOPLE = SyntheticPeople(Kind.CLUSTERED)


@pytest.mark.parametrize("make", installed_peers(), ids=lambda make: make().name)
def test_each_finds_the_right_people(make: Callable[[], Peer]) -> None:
    peer = make()
    embeddings = PEOPLE.embeddings(400)
    _, probes = PEOPLE.mated_probes(400, 100)
    exact = (probes @ embeddings.T).argmax(axis=1) // PHOTOS_PER_PERSON
    peer.build(embeddings)
    peer.set_effort(EFFORTS[-1])
    found = np.array([peer.search(probe) for probe in probes]) // PHOTOS_PER_PERSON
    assert (found == exact).mean() >= 0.99
    assert list(peer.efforts) in ([], list(EFFORTS))


def test_numpy_is_always_there() -> None:
    assert "NumPy, exact" in [make().name for make in installed_peers()]


def test_what_is_not_installed_is_said() -> None:
    program = (
        "import sys; sys.modules['faiss'] = sys.modules['hnswlib'] = None\n"
        "from pgface.operations.bench.peers import installed_peers, missing_peers\n"
        "print([make().name for make in installed_peers()], *missing_peers(), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "['NumPy, exact']",
        says.FAISS_IS_NOT_INSTALLED,
        says.HNSWLIB_IS_NOT_INSTALLED,
    ]
