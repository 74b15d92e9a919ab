"""Writes the tables of how-to/sizing.md from the cost of each part: `make docs`. A test proves that they are current.

`python docs/sizing.py --second-look-ms 20` prints the tables with your own costs.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

PAGE = Path(__file__).parent / "how-to" / "sizing.md"
REQUESTS = (10, 100, 1000)
FACES = (10**6, 10**7, 10**8, 10**9)
MEASURED_FACES = 10**6
MAX_REPLICAS = 16
FIRST_WORKER_MB = 48
MANY_CORES = 16
MAX_WAIT_MS = 500


def cost(value: float, what: str, source: str, *, basis: str = "measured") -> float:
    """A field of `Costs` with its meaning and its source."""
    return field(default=value, metadata={"what": what, "source": source, "basis": basis})


_SERVICE = "[service](../explanation/benchmarks.md#the-throughput-of-the-service)"
_MODELS = "[models](../explanation/models.md#measurements)"
_PHONES = "[large photos](../research/models.md#photos-of-phones)"
_NOTES = "[notes](../research/benchmarks.md#where-the-time-of-the-service-goes)"
_SEARCH = "[search](../research/search.md#memory-and-time)"
_LOOK = "[second look](../research/search.md#the-second-look-among-millions)"
_FIVE = "[five million people](../research/search.md#five-million-people)"
_TWO = "[two million](../research/search.md#two-million-people-and-the-default-index)"
_REPLICAS = "[replicas](replicas.md#what-it-costs)"
_STORES = "[photo stores](photos.md#what-each-store-costs)"
_GPU = "[published](https://github.com/sudolulo/winnow/wiki/Benchmarks) for an RTX 2070 SUPER"


@dataclass(frozen=True, slots=True)
class Costs:
    """The cost of each part. Processor times are for one core."""

    sface_openvino_ms: float = cost(
        32, "processor ms of a photo, `sface` with OpenVINO", f"62 photos/s on two cores ({_SERVICE}, 8 clients)"
    )
    sface_onnx_ms: float = cost(
        48, "processor ms of a photo, `sface` with ONNX Runtime", f"42 photos/s on two cores ({_SERVICE}, 8 clients)"
    )
    insightface_ms: float = cost(
        31, "processor ms of a photo, `buffalo_sc` with OpenVINO", f"65 photos/s on two cores ({_SERVICE}, 8 clients)"
    )
    dlib_ms: float = cost(118, "processor ms of a photo, `dlib`", f"17 photos/s on two cores ({_SERVICE}, 64 clients)")
    larger_photo_ms: float = cost(
        31, "processor ms more for a photo of 1280 × 960 pixels instead of 250 × 250", _PHONES
    )
    networks_ms: float = cost(21, "of it, finding and embedding the face, `sface` with OpenVINO", _MODELS)
    loop_ms: float = cost(2, "of it, the event loop, which is one thread of a process", f"1.5 to 2 ms ({_NOTES})")
    mated_ms: float = cost(3.2, "ms of a search for an enrolled person among a million faces", _SEARCH)
    mated_growth: float = cost(
        3.2, "growth of it for ten times the faces", f"1.0 ms among 100,000 faces, 3.2 among 1,000,000 ({_SEARCH})"
    )
    second_look_ms: float = cost(
        170,
        "processor ms more for a stranger, for each million people",
        f"{_LOOK}. A whole search took 178 among {_FIVE}, and 204 among {_TWO}, which compares more templates",
    )
    signs_mb: float = cost(117, "MB of the signs of a million people", _LOOK)
    parallel_workers: float = cost(
        2, "most additional processes of a search", "`max_parallel_workers_per_gather`", basis="default"
    )
    primary_ms: float = cost(0.32, "processor ms that the primary keeps of a search on a replica", _REPLICAS)
    templates_kb: float = cost(
        2.7, "kB of memory for a person: template, signs and index", f"545 MB for 200,000 people ({_SEARCH})"
    )
    face_kb: float = cost(3.4, "kB on disk for a face, with its share of templates and indexes", _SEARCH)
    crop_kb: float = cost(13.2, "kB of a face crop in PostgreSQL", _STORES)
    load_seconds: float = cost(370, "seconds to load and index a million embeddings", f"314 to 370 s ({_SEARCH})")
    load_growth: float = cost(
        1.5,
        "growth of the time for each embedding, for ten times the faces",
        f"an index of signs took 0.42 ms for each of 100,000 people, and 0.81 ms for each of 5,000,000 ({_FIVE})",
    )
    gpu_ms: float = cost(12.8, "ms of `buffalo_l` on a GPU, one photo at a time", _GPU, basis="published")
    faces_of_a_person: float = cost(5, "faces of a person", "as in the benchmarks of the search", basis="assumed")
    photo_kb: float = cost(250, "kB of a photo that a client sends", "about 1280 × 960 pixels", basis="assumed")
    busy: float = cost(0.6, "share of a core that is in use", "the rest is for peaks", basis="assumed")
    host_cores: float = cost(16, "cores of a host of the service", "your choice", basis="assumed")
    server_cores: float = cost(32, "cores of a PostgreSQL server", "your choice", basis="assumed")
    pool: float = cost(4, "connections of a process", "`PGFACE_POOL_SIZE`", basis="default")


def people(costs: Costs, faces: float) -> float:
    """The number of people, in millions."""
    return faces / costs.faces_of_a_person / 1e6


def mated_ms(costs: Costs, faces: float) -> float:
    """The processor time of a search for an enrolled person."""
    return costs.mated_ms * float(costs.mated_growth ** math.log10(faces / MEASURED_FACES))


def load_seconds(costs: Costs, faces: float) -> float:
    """The time to load the embeddings and to build the index, which needs all of its memory."""
    return faces / 1e6 * costs.load_seconds * float(costs.load_growth ** math.log10(faces / MEASURED_FACES))


def stranger_ms(costs: Costs, faces: float) -> float:
    """The processor time of a search for a stranger."""
    return mated_ms(costs, faces) + costs.second_look_ms * people(costs, faces)


def stranger_wait_ms(costs: Costs, faces: float) -> float:
    """The time until the answer to a search for a stranger, if the cores are idle."""
    return mated_ms(costs, faces) + costs.second_look_ms * people(costs, faces) / look_processes(costs, faces)


def look_processes(costs: Costs, faces: float) -> int:
    """The processes of a second look. PostgreSQL adds one for each threefold size of the signs, from 48 MB on."""
    size = costs.signs_mb * people(costs, faces) / FIRST_WORKER_MB
    return 1 + (0 if size < 1 else min(int(costs.parallel_workers), 1 + math.floor(math.log(size, 3))))


def search_cores(costs: Costs, faces: int, requests: int, strangers: float) -> float:
    """The cores of all PostgreSQL servers together, for a share of strangers."""
    milliseconds = (1 - strangers) * mated_ms(costs, faces) + strangers * stranger_ms(costs, faces)
    return requests * milliseconds / 1000 / costs.busy


def unit_costs(costs: Costs) -> Iterable[Sequence[str]]:
    """The costs and their sources."""
    yield ("cost", "value", "meaning", "basis", "source")
    for each in fields(costs):
        told = each.metadata
        yield (f"`{each.name}`", f"{getattr(costs, each.name):g}", told["what"], told["basis"], told["source"])


def services(costs: Costs) -> Iterable[Sequence[str]]:
    """The cores of the service, for small photos and each model, and for larger ones."""
    photos = {
        "`sface`, OpenVINO": costs.sface_openvino_ms,
        "`sface`, ONNX Runtime": costs.sface_onnx_ms,
        "`buffalo_sc`, OpenVINO": costs.insightface_ms,
        "`dlib`": costs.dlib_ms,
        "`sface`, OpenVINO, 1280 × 960": costs.sface_openvino_ms + costs.larger_photo_ms,
    }
    yield ("requests/s", "basis", *photos)
    for requests in REQUESTS:
        yield (f"{requests:,}", "calculated", *(_cores(_service_cores(costs, requests, ms)) for ms in photos.values()))


def hosts(costs: Costs) -> Iterable[Sequence[str]]:
    """The hosts of the service, for larger photos and `sface` with OpenVINO."""
    yield ("requests/s", "basis", f"hosts of {costs.host_cores:g} cores", "processes", "connections", "network")
    for requests in REQUESTS:
        cores = _service_cores(costs, requests, costs.sface_openvino_ms + costs.larger_photo_ms)
        number = max(2, math.ceil(cores / costs.host_cores))
        processes = max(number, math.ceil(requests * costs.loop_ms / 1000 / costs.busy))
        yield (
            f"{requests:,}",
            "calculated",
            str(number),
            str(processes),
            f"{processes * costs.pool:g}",
            f"{_bytes(requests * costs.photo_kb * 1e3)}/s",
        )


def _service_cores(costs: Costs, requests: int, milliseconds: float) -> float:
    return requests * milliseconds / 1000 / costs.busy


def storage(costs: Costs) -> Iterable[Sequence[str]]:
    """The memory, disk and time of a gallery."""
    yield (
        "faces", "people", "basis", "memory for searches", "disk", "crops", "load and index", "search, enrolled",
        "search, stranger", f"on {MANY_CORES} cores",
    )  # fmt: skip
    for faces in FACES:
        yield (
            _power(faces),
            f"{people(costs, faces):g} million",
            "measured, crops and searches calculated" if faces == MEASURED_FACES else "calculated",
            _bytes(people(costs, faces) * costs.templates_kb * 1e9),
            _bytes(faces * costs.face_kb * 1e3),
            _bytes(faces * costs.crop_kb * 1e3),
            _duration(load_seconds(costs, faces)),
            _duration(mated_ms(costs, faces) / 1000),
            _duration(stranger_wait_ms(costs, faces) / 1000),
            _duration((mated_ms(costs, faces) + costs.second_look_ms * people(costs, faces) / MANY_CORES) / 1000),
        )


def searches(costs: Costs) -> Iterable[Sequence[str]]:
    """The cores of PostgreSQL for searches."""
    shares = (0.0, 0.1, 1.0)
    yield (
        "faces", "requests/s", "basis", "all are enrolled", "one in ten is a stranger", "all are strangers",
        "primary", "replicas, one in ten",
    )  # fmt: skip
    for faces in FACES:
        for requests in REQUESTS:
            cores = [search_cores(costs, faces, requests, share) for share in shares]
            replicas = max(2, math.ceil(cores[1] / costs.server_cores))
            yield (
                _power(faces),
                f"{requests:,}",
                "calculated",
                *(_cores(each) for each in cores),
                _cores(requests * costs.primary_ms / 1000 / costs.busy),
                str(replicas) if replicas <= MAX_REPLICAS else f"more than {MAX_REPLICAS}",
            )


def parts(costs: Costs) -> Iterable[Sequence[str]]:
    """The parts of a gallery in which a stranger takes half a second at most."""
    yield ("faces", "basis", "parts", "people of a part", "memory of a part", "search, stranger")
    for faces in FACES:
        number = next(number for number in itertools.count(1) if stranger_wait_ms(costs, faces / number) <= MAX_WAIT_MS)
        yield (
            _power(faces),
            "calculated",
            str(number),
            f"{people(costs, faces) / number:.3g} million",
            _bytes(people(costs, faces) / number * costs.templates_kb * 1e9),
            _duration(stranger_wait_ms(costs, faces / number) / 1000),
        )


def gpu(costs: Costs) -> Iterable[Sequence[str]]:
    """The processors that GPUs leave."""
    left = costs.sface_openvino_ms - costs.networks_ms
    yield ("requests/s", "basis", "cores without a GPU", "cores beside GPUs", "GPUs for `buffalo_l`")
    for requests in REQUESTS:
        yield (
            f"{requests:,}",
            "calculated",
            _cores(requests * costs.sface_openvino_ms / 1000 / costs.busy),
            _cores(requests * left / 1000 / costs.busy),
            str(math.ceil(requests * costs.gpu_ms / 1000 / costs.busy)),
        )


TABLES: dict[str, Callable[[Costs], Iterable[Sequence[str]]]] = {
    each.__name__: each for each in (unit_costs, services, hosts, storage, searches, parts, gpu)
}


def table(name: str, costs: Costs | None = None) -> str:
    """One of the tables in Markdown."""
    head, *rows = TABLES[name](costs or Costs())
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, *rows)).replace(
        "\n", f"\n|{'---|' * len(head)}\n", 1
    )


def write_tables(page: str, costs: Costs | None = None) -> str:
    """Return the page with its tables written again, between the comments that name them."""
    return re.sub(
        r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{table(found[2], costs)}\n{found[3]}",
        page,
        flags=re.DOTALL,
    )


def _power(faces: int) -> str:
    return f"10{str(round(math.log10(faces))).translate(str.maketrans('6789', '⁶⁷⁸⁹'))}"


def _cores(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}" if number >= 0.1 else "under 0.1"


def _bytes(number: float) -> str:
    unit, name = next((unit, name) for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")) if number >= unit)
    return f"{number / unit:.2g} {name}" if number < 100 * unit else f"{number / unit:.0f} {name}"


def _duration(seconds: float) -> str:
    units = ((172_800, 86_400, "days"), (7200, 3600, "h"), (120, 60, "min"), (1, 1, "s"), (0, 0.001, "ms"))
    unit, name = next((unit, name) for least, unit, name in units if seconds >= least)
    return f"{seconds / unit:.2g} {name}" if seconds / unit < 100 else f"{seconds / unit:.0f} {name}"


def main() -> None:
    """Print the tables with the costs of the command line."""
    parser = argparse.ArgumentParser(description="Print the tables of docs/how-to/sizing.md for your own costs.")
    for each in fields(Costs):
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=float, default=each.default, metavar="NUMBER")
    costs = Costs(**vars(parser.parse_args()))
    for name in TABLES:
        sys.stdout.write(f"{name}\n\n{table(name, costs)}\n\n")


if __name__ == "__main__":
    main()
