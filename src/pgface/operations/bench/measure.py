"""Measure one gallery: agreement with the exact answer, latency, peers, sizes, and concurrent clients."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import tuple_row

from pgface.operations.bench.answers import ExactAnswers, exact_answers, threshold_at_fpir
from pgface.operations.bench.crowd import ENROLLMENTS_PER_SECOND, ROUNDS, Enrolling, Searching, measure_crowds
from pgface.operations.bench.facts import read_relations
from pgface.operations.bench.loading import IDENTIFY_THRESHOLD, LoadedGallery
from pgface.operations.bench.peers import EFFORTS, Peer, Search, SearchWith, installed_peers
from pgface.operations.bench.results import Comparison, Crowd, Curve, CurvePoint, GalleryResult, Latency, Proportion
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind
from pgface.operations.bench.timing import Call, Ratio, in_turn

OnStep = Callable[[str], None]
"""Called with the name of the step that starts."""

_MIN_PROBES = 50
_RECALL_PEOPLE = 10
"""The number of people to search for when recall is measured."""
_FPIR = 0.01
"""The FPIR of clustered people at the threshold of the measurement."""
_FIRST_NEWCOMER = 10_000_000
"""The number of the first stranger to enroll. It is so high that no newcomer is a non-mated probe."""
_IVFFLAT_PROBES = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 125, 200, 320, 500, 800)
_MAX_EF_SEARCH = 1000
"""The maximum of pgvector."""

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

    @property
    def mixed(self) -> NDArray[np.float32]:
        """The mated and non-mated probes in turn."""
        return np.stack([self.mated, self.non_mated], axis=1).reshape(-1, self.mated.shape[1])


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
    recall = _recall_above_threshold(loaded, probes, plan)
    on_step("latency")
    mated, non_mated = latency(loaded, probes, plan)
    comparisons = [] if state.method == "exact" else [_compare_with_scan(loaded, probes, plan)]
    on_step("agreement against latency")
    curve = None
    if state.method != "exact" and state.first_effort is not None:
        curve = _index_curve(loaded, probes, plan, state.method, state.first_effort)
    peer_curves = []
    for peer in installed_peers() if plan.peers else []:
        if peer.name not in plan.peers_left_out:
            peer_curve, compared = _compare_with_peer(loaded, probes, plan, peer, mated_agreement, on_step)
            peer_curves.append(peer_curve)
            comparisons += compared
    relations = read_relations(loaded.database)
    if plan.clients:
        on_step(f"{plan.clients} concurrent clients")
    return GalleryResult(
        kind=loaded.synthetic.kind,
        people=loaded.people,
        faces=loaded.faces,
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
        crowds=_crowds(loaded, probes, plan) if plan.clients else (),
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


def agreement(
    loaded: LoadedGallery, probes: NDArray[np.float32], exact: ExactAnswers, persons: Sequence[int]
) -> Proportion:
    """Measure how often these persons are the exact answers to the first probes."""
    photos = loaded.embeddings.reshape(loaded.people, PHOTOS_PER_PERSON, -1)
    similarities = [float((photos[person] @ probe).max()) for person, probe in zip(persons, probes, strict=False)]
    return exact.agreement(persons, similarities)


def while_there_is_time(probes: NDArray[np.float32], seconds: float) -> Iterator[NDArray[np.float32]]:
    """Give the probes one after the other until the time is over, but at least 50."""
    end = time.monotonic() + seconds
    for number, probe in enumerate(probes):
        if number >= _MIN_PROBES and time.monotonic() > end:
            return
        yield probe


def _recall_above_threshold(loaded: LoadedGallery, probes: Probes, plan: Plan) -> Proportion:
    """Measure the share of the people above the threshold that `identify_embedding` gives, for all probes."""
    successes = trials = 0
    for vectors, answers in ((probes.mated, probes.mated_answers), (probes.non_mated, probes.non_mated_answers)):
        found = []
        for probe in while_there_is_time(vectors, plan.agreement_patience):
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


def _compare_with_scan(loaded: LoadedGallery, probes: Probes, plan: Plan) -> Comparison:
    with loaded.database.autocommit() as connection, connection.cursor(binary=True) as cursor:

        def scan(number: int) -> None:
            values = {"embedding": _nth(probes.mated, number), "threshold": probes.threshold}
            cursor.execute(_SCAN, values).fetchall()

        sides = {"pgface": _identify(loaded, probes.mated, probes), _SCAN_NAME: scan}
        return _compare(sides, "mated", plan)


def _index_curve(loaded: LoadedGallery, probes: Probes, plan: Plan, method: str, first_effort: int) -> Curve:
    """Measure a single search of the gallery's index, with the usual efforts and the chosen one."""

    def search_with(effort: int | None) -> Search:
        def search(probe: NDArray[np.float32]) -> int:
            values = {"embedding": probe, "method": method, "effort": effort}
            rows = loaded.database.read("look_by_index", values, row_factory=tuple_row)
            return loaded.persons[rows[0][0]] if rows else -1

        return search

    usual = _IVFFLAT_PROBES if method == "ivfflat" else [min(effort, _MAX_EF_SEARCH) for effort in EFFORTS]
    efforts = sorted({*usual, first_effort})
    points = _sweep(efforts, search_with, loaded, probes, plan, min_effort=first_effort)
    return Curve("pgface, one index search", points)


def _compare_with_peer(
    loaded: LoadedGallery, probes: Probes, plan: Plan, peer: Peer, ours: Proportion, on_step: OnStep
) -> tuple[Curve, list[Comparison]]:
    """Measure a peer's curve, and compare it with pgface at the lowest effort that agrees as often."""
    on_step(f"{peer.name}: building")
    search_with = peer.build(loaded.embeddings)
    on_step(f"{peer.name}: searching")

    def person_with(effort: int | None) -> Search:
        search = search_with(effort)
        return lambda probe: search(probe) // PHOTOS_PER_PERSON  # -1 stays -1

    points = _sweep(peer.efforts, person_with, loaded, probes, plan)
    chosen = next((point for point in points if point.agreement.value >= ours.value), points[-1])
    search = search_with(chosen.effort)

    def compare(name: str, vectors: NDArray[np.float32], agreed: Proportion | None) -> Comparison:
        sides = {"pgface": _identify(loaded, vectors, probes), peer.name: lambda number: search(_nth(vectors, number))}
        return _compare(sides, name, plan, chosen.effort, agreed, rest=peer.rest)

    if chosen.effort is None:  # an exact search takes as long for any probe
        return Curve(peer.name, points), [compare("mated", probes.mated, None)]
    sets = {"mated": probes.mated, "non-mated": probes.non_mated}
    return Curve(peer.name, points), [compare(name, vectors, chosen.agreement) for name, vectors in sets.items()]


def _sweep(
    efforts: Sequence[int | None],
    search_with: SearchWith,
    loaded: LoadedGallery,
    probes: Probes,
    plan: Plan,
    *,
    min_effort: int = 0,
) -> tuple[CurvePoint, ...]:
    """Search the mated probes with each effort, until every answer is right.

    Args:
        efforts: the efforts, ascending.
        search_with: gives the search for a person with an effort.
        loaded: the gallery.
        probes: the probes.
        plan: how long each effort may take. Slow searches use fewer probes.
        min_effort: the lowest effort at which to stop.

    """
    points = []
    for effort in efforts:
        search = search_with(effort)
        search(probes.mated[0])  # to warm up
        persons, taken = [], []
        for probe in while_there_is_time(probes.mated, plan.patience):
            began = time.perf_counter()
            person = search(probe)
            taken.append(time.perf_counter() - began)
            persons.append(person)
        agreed = agreement(loaded, probes.mated, probes.mated_answers, persons)
        points.append(CurvePoint(effort, agreed, Latency.of(taken)))
        if agreed.misses == 0 and (effort or 0) >= min_effort:
            break
    return tuple(points)


def _crowds(loaded: LoadedGallery, probes: Probes, plan: Plan) -> tuple[Crowd, ...]:
    """Measure concurrent clients with mated and non-mated probes in turn. The gallery has more people afterwards."""
    mixed = probes.mixed
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


def _identify(loaded: LoadedGallery, vectors: NDArray[np.float32], probes: Probes) -> Call:
    identify = loaded.gallery.identify_embedding
    return lambda number: identify(_nth(vectors, number), threshold=probes.threshold)


def _compare(
    sides: dict[str, Call],
    probes: str,
    plan: Plan,
    effort: int | None = None,
    agreed: Proportion | None = None,
    *,
    rest: float = 0.0,
) -> Comparison:
    """Time pgface, the first side, and another search in turn."""
    ours, other = sides
    calls, rounds = in_turn(sides, plan.patience, rest=rest)
    times = Latency.of(calls[ours]), Latency.of(calls[other])
    return Comparison(other, probes, effort, agreed, *times, Ratio.of(rounds[ours], rounds[other]))


def _nth(probes: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    probe: NDArray[np.float32] = probes[number % len(probes)]
    return probe
