"""The search libraries that pgface is compared with."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pgface.operations.bench.peers import EFFORTS, Peer, installed_peers
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from support.sentences import benchmark as says

PEOPLE = SyntheticPeople(Kind.CLUSTERED)


@pytest.mark.parametrize("peer", installed_peers(), ids=lambda peer: peer.name)
def test_each_finds_the_right_people(peer: Peer) -> None:
    embeddings = PEOPLE.embeddings(400)
    _, probes = PEOPLE.mated_probes(400, 100)
    exact = (probes @ embeddings.T).argmax(axis=1) // PHOTOS_PER_PERSON
    search = peer.build(embeddings)(peer.efforts[-1])
    found = np.array([search(probe) for probe in probes]) // PHOTOS_PER_PERSON
    assert (found == exact).mean() >= 0.99
    assert peer.efforts in ((None,), EFFORTS)


def test_numpy_is_always_installed() -> None:
    assert "NumPy, exact" in [peer.name for peer in installed_peers()]


def test_missing_libraries_are_reported() -> None:
    program = (
        "import sys; sys.modules['faiss'] = sys.modules['hnswlib'] = None\n"
        "from pgface.operations.bench.peers import installed_peers, missing_peers\n"
        "print([peer.name for peer in installed_peers()], *missing_peers(), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "['NumPy, exact']",
        says.FAISS_IS_NOT_INSTALLED,
        says.HNSWLIB_IS_NOT_INSTALLED,
    ]
