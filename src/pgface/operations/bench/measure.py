"""Measure one gallery: agreement with the exact answer, latency, peers, sizes, and concurrent clients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pgface.operations.bench.answers import ExactAnswers, exact_answers, threshold_at_fpir
from pgface.operations.bench.crowd import ENROLLMENTS_PER_SECOND, ROUNDS, Enrolling, Searching, measure_crowds
from pgface.operations.bench.facts import read_relations
from pgface.operations.bench.loading import IDENTIFY_THRESHOLD, LoadedGallery
from pgface.operations.bench.peers import Peer, installed_peers
from pgface.operations.bench.results import Comparison, Crowd, Curve, GalleryResult, Latency, Proportion
from pgface.operations.bench.sweep import agreement, index_looks, looks_of, sweep, while_there_is_time
from pgface.operations.bench.synthetic import Kind
from pgface.operations.bench.timing import Call, Ratio, Series, in_turn

OnStep = Callable[[str], None]
"""Called with the name of the step that starts."""

_RECALL_PEOPLE = 10
"""The number of people to search for when recall is measured."""
_FPIR = 0.01
"""The FPIR of clustered people at the threshold of the measurement."""
_FIRST_NEWCOMER = 10_000_000
"""The number of the first stranger that is enrolled meanwhile, so that none of them is a non-mated probe."""

_SCAN_NAME = "exact scan in PostgreSQL"
_SCAN = """
SELECT user_id, user_name, user_email, similarity, embedding_id
FROM find_similar_faces_exactly(%(embedding)s, %(threshold)s, 1)
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    probes: int = 1_000
    """The number of mated probes, and of non-mated probes."""
    peers: bool = True
    peers_left_out: tuple[str, ...] = ()
    """Names of peers that would take too long."""
    clients: int = 8
    """The number of concurrent clients, 0 to skip them."""
    seconds: float = 5.0
    """The duration of each measurement with concurrent clients."""
    patience: float = 5.0
    """The maximum seconds of each other measurement. Slow searches use fewer probes."""
    agreement_patience: float = 5.0
    """The maximum seconds to measure each agreement and recall of `identify_embedding`."""


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """The probes, and the exact answers."""

    mated: NDArray[np.float32]
    non_mated: NDArray[np.float32]
    mated_answers: ExactAnswers
    non_mated_answers: ExactAnswers
    threshold: float


def measure(
    loaded: LoadedGallery, plan: Plan, on_step: OnStep = lambda _: None, *, probes: Probes | None = None
) -> GalleryResult:
    """Measure everything of one gallery.

    Args:
        loaded: the gallery.
        plan: how much to measure.
        on_step: called with the name of each step that starts.
        probes: the result of `make_probes`, if the caller has it already.

    Raises:
        DatabaseError: PostgreSQL failed or the connection was lost.

    """
    if probes is None:
        on_step("exact answers")
        probes = make_probes(loaded, plan.probes)
    state = loaded.gallery.search_state()
    on_step("agreement with the exact answers")
    mated_agreement = rank_1(loaded, probes.mated, probes.mated_answers, plan)
    non_mated_agreement = rank_1(loaded, probes.non_mated, probes.non_mated_answers, plan)
    recall = recall_above_threshold(loaded, probes, plan)
    on_step("latency")
    mated, non_mated = latency(loaded, probes, plan)
    comparisons = compare_with_scan(loaded, probes, plan)
    on_step("agreement against latency")
    curve = measure_curve(loaded, probes, plan)
    peer_curves: list[Curve] = []
    for make_peer in installed_peers() if plan.peers else []:
        peer = make_peer()
        if peer.name in plan.peers_left_out:
            continue
        peer_curve, compared = compare_with_peer(loaded, probes, plan, peer, mated_agreement, on_step)
        peer_curves.append(peer_curve)
        comparisons += compared
    relations = read_relations(loaded.database)
    if plan.clients:
        on_step(f"{plan.clients} clients at once")
    return GalleryResult(
        kind=loaded.synthetic.kind,
        people=loaded.people,
        faces=len(loaded.embeddings),
        method=state.method,
        first_effort=state.first_effort,
        second_effort=state.second_effort,
        certain_similarity=state.certain_similarity,
        estimated_agreement=state.agreement,
        load_seconds=loaded.load_seconds,
        threshold=probes.threshold,
        fpir=probes.non_mated_answers.share_above(probes.threshold),
        mated_agreement=mated_agreement,
        non_mated_agreement=non_mated_agreement,
        recall=recall,
        mated=mated,
        non_mated=non_mated,
        curve=curve,
        peer_curves=tuple(peer_curves),
        comparisons=tuple(comparisons),
        relations=relations,
        crowds=crowds(loaded, probes, plan) if plan.clients else (),
    )


def make_probes(loaded: LoadedGallery, count: int) -> Probes:
    """Make mated and non-mated probes with their exact answers, and choose the threshold."""
    _, mated = loaded.synthetic.mated_probes(loaded.people, count)
    non_mated = loaded.synthetic.non_mated_probes(count)
    answers = partial(exact_answers, loaded.embeddings, people_for_each=_RECALL_PEOPLE)
    mated_answers, non_mated_answers = answers(mated), answers(non_mated)
    isotropic = loaded.synthetic.kind is Kind.ISOTROPIC
    threshold = IDENTIFY_THRESHOLD if isotropic else threshold_at_fpir(non_mated_answers, _FPIR)
    return Probes(mated, non_mated, mated_answers, non_mated_answers, threshold)


def rank_1(loaded: LoadedGallery, probes: NDArray[np.float32], exact: ExactAnswers, plan: Plan) -> Proportion:
    """Measure how often `identify_embedding` without a threshold gives the exact answer's best person."""
    persons = []
    for probe in while_there_is_time(probes, plan.agreement_patience):
        matches = loaded.gallery.identify_embedding(probe, threshold=-1)
        persons.append(loaded.persons[matches[0].user_id] if matches else -1)
    return agreement(loaded, probes, exact, persons)


def recall_above_threshold(loaded: LoadedGallery, probes: Probes, plan: Plan) -> Proportion:
    """Measure the share of the people above the threshold that `identify_embedding` gives, for all probes."""
    successes = trials = 0
    for asked, answers in ((probes.mated, probes.mated_answers), (probes.non_mated, probes.non_mated_answers)):
        found = []
        for probe in while_there_is_time(asked, plan.agreement_patience):
            matches = loaded.gallery.identify_embedding(probe, threshold=probes.threshold, top=_RECALL_PEOPLE)
            found.append({loaded.persons[match.user_id] for match in matches})
        recall = answers.recall(probes.threshold, found)
        successes, trials = successes + recall.successes, trials + recall.trials
    return Proportion.of(successes, trials)


def latency(loaded: LoadedGallery, probes: Probes, plan: Plan) -> tuple[Latency, Latency]:
    """Measure the latency of `identify_embedding` with the threshold, for mated and non-mated probes in turn."""
    sides = {"mated": _identify(loaded, probes.mated, probes), "non-mated": _identify(loaded, probes.non_mated, probes)}
    calls, _ = in_turn(sides, plan.patience)
    return Latency.of(calls["mated"]), Latency.of(calls["non-mated"])


def compare_with_scan(loaded: LoadedGallery, probes: Probes, plan: Plan) -> list[Comparison]:
    """Compare `identify_embedding` with an exact scan in PostgreSQL, unless it is one itself."""
    if loaded.gallery.search_state().method == "exact":
        return []
    with loaded.database.autocommit() as connection, connection.cursor(binary=True) as cursor:

        def scan(number: int) -> None:
            values = {"embedding": _nth(probes.mated, number), "threshold": probes.threshold}
            cursor.execute(_SCAN, values).fetchall()

        sides = {"pgface": _identify(loaded, probes.mated, probes), _SCAN_NAME: scan}
        calls, rounds = in_turn(sides, plan.patience)
    return [_comparison(calls, rounds, _SCAN_NAME, "mated")]


def measure_curve(loaded: LoadedGallery, probes: Probes, plan: Plan) -> Curve | None:
    """Measure a single index search with increasing effort, None for a gallery without an index."""
    state = loaded.gallery.search_state()
    if state.method == "exact" or state.first_effort is None:
        return None
    looks = index_looks(loaded, state.method, state.first_effort)
    name = "pgface, one look"
    return sweep(name, looks, loaded, probes.mated, probes.mated_answers, plan.patience, to=state.first_effort)


def compare_with_peer(
    loaded: LoadedGallery, probes: Probes, plan: Plan, peer: Peer, ours: Proportion, on_step: OnStep
) -> tuple[Curve, list[Comparison]]:
    """Measure a peer's curve, and compare it with pgface at the lowest effort that agrees as often."""
    on_step(f"{peer.name}: building")
    peer.build(loaded.embeddings)
    on_step(f"{peer.name}: searching")
    curve = sweep(peer.name, looks_of(peer), loaded, probes.mated, probes.mated_answers, plan.patience)
    chosen = next((point for point in curve.points if point.agreement.value >= ours.value), curve.points[-1])
    if chosen.effort is not None:
        peer.set_effort(chosen.effort)
    exact = chosen.effort is None  # an exact search takes as long for any probe
    comparisons = []
    for name, asked in (("mated", probes.mated), ("non-mated", probes.non_mated))[: 1 if exact else 2]:
        sides = {"pgface": _identify(loaded, asked, probes), peer.name: _search(peer, asked)}
        calls, rounds = in_turn(sides, plan.patience, rest=peer.rest)
        agreed = None if exact else chosen.agreement
        comparisons.append(_comparison(calls, rounds, peer.name, name, chosen.effort, agreed))
    return curve, comparisons


def crowds(loaded: LoadedGallery, probes: Probes, plan: Plan) -> tuple[Crowd, ...]:
    """Measure concurrent clients with mated and non-mated probes in turn. The gallery has more people afterwards."""
    mixed = np.stack([probes.mated, probes.non_mated], axis=1).reshape(-1, probes.mated.shape[1])
    duration = plan.seconds / ROUNDS
    enrollments = math.ceil(duration * ENROLLMENTS_PER_SECOND / 2) + 1

    def searching(client: int, per_second: float | None) -> Searching:
        delay = 0.0 if per_second is None else client / (plan.clients * per_second)
        start = client * len(mixed) // plan.clients
        return Searching(np.roll(mixed, -start, axis=0), probes.threshold, duration, per_second, delay)

    def enrolling(turn: int) -> Enrolling:
        newcomers = loaded.synthetic.non_mated_probes(enrollments, first=_FIRST_NEWCOMER + turn * enrollments)
        persons, further = loaded.synthetic.mated_probes(loaded.people, enrollments, series=1 + turn)
        return Enrolling(newcomers, loaded.user_ids[persons], further, probes.threshold, duration)

    return measure_crowds(loaded.settings, searching, enrolling, clients=plan.clients)


def _identify(loaded: LoadedGallery, asked: NDArray[np.float32], probes: Probes) -> Call:
    identify = loaded.gallery.identify_embedding
    return lambda number: identify(_nth(asked, number), threshold=probes.threshold)


def _search(peer: Peer, asked: NDArray[np.float32]) -> Call:
    return lambda number: peer.search(_nth(asked, number))


def _comparison(
    calls: Series,
    rounds: Series,
    other: str,
    probes: str,
    effort: int | None = None,
    agreed: Proportion | None = None,
) -> Comparison:
    ours, theirs = Latency.of(calls["pgface"]), Latency.of(calls[other])
    return Comparison(other, probes, effort, agreed, ours, theirs, Ratio.of(rounds["pgface"], rounds[other]))


def _nth(probes: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    probe: NDArray[np.float32] = probes[number % len(probes)]
    return probe
