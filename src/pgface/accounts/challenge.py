"""Which turns of the head a login by face asks for: random, signed, short-lived, and answered once."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Final

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer
from psycopg.rows import scalar_row

from pgface.errors import LivenessError
from pgface.faces.liveness import Turn
from pgface.postgres.database import Database
from pgface.schema import queries

SECONDS: Final = 60
"""From when it is handed out until the frames are there."""
_SECRET: Final = "challenge"  # noqa: S105 - its name
_SIDES: Final[tuple[Turn, ...]] = ("left", "right")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What is asked of somebody."""

    token: str
    """To be sent back with the frames."""
    turns: tuple[Turn, ...]
    seconds: int = SECONDS


class Challenges:
    """Hands out challenges, and takes each back once; any process of the service can take what another handed out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hand_out(self, *, looks_up: bool) -> Challenge:
        """A new challenge.

        Args:
            looks_up: whether the model can tell a look up.

        """
        turns = secrets.choice(possible_turns(looks_up=looks_up))
        token = self._serializer().dumps([secrets.token_hex(16), *turns])
        return Challenge(str(token), turns)

    def take_back(self, token: str) -> tuple[Turn, ...]:
        """The turns that were asked for; from now on the challenge is used.

        Raises:
            LivenessError: it was not handed out here, is too old, or was used.

        """
        number, *turns = self._opened(token)
        with self._database.transaction() as connection:
            connection.execute(queries()["forget_challenges"])
            # Longer than it is valid, because clocks of several machines may differ a little.
            used = connection.execute(queries()["use_challenge"], {"id": number, "seconds": 10 * SECONDS}).fetchone()
        if used is None:
            raise LivenessError("The challenge was answered before.")
        return tuple(turns)

    def require_open(self, token: str) -> None:
        """See that a challenge can still be answered; it stays so.

        Raises:
            LivenessError: it was not handed out here, is too old, or was used.

        """
        number, *_ = self._opened(token)
        (used,) = self._database.read("is_challenge_used", {"id": number}, row_factory=scalar_row)
        if used:
            raise LivenessError("The challenge was answered before.")

    def _opened(self, token: str) -> list[Any]:
        try:
            opened: list[Any] = self._serializer().loads(token, max_age=SECONDS)
        except SignatureExpired:
            raise LivenessError("The challenge is too old.") from None
        except BadSignature:
            raise LivenessError("The challenge was not handed out here.") from None
        return opened

    def _serializer(self) -> URLSafeTimedSerializer:
        signing = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
        return URLSafeTimedSerializer(self._secret(), salt="pgface login by face", signer_kwargs=signing)

    def _secret(self) -> str:
        asked = {"name": _SECRET}
        if not (found := self._database.read("select_secret", asked, row_factory=scalar_row)):
            with self._database.transaction() as connection:
                connection.execute(queries()["keep_secret"], asked | {"secret": secrets.token_hex(32)})
            # Read back, because another process may have been first.
            found = self._database.read("select_secret", asked, row_factory=scalar_row)
        return str(found[0])


def possible_turns(*, looks_up: bool) -> list[tuple[Turn, ...]]:
    """Every sequence that may be asked for; each has both sides in it, which no flat photo can show.

    Without looks up there are few that are not too long, so that a recording fits to one of six.
    """
    directions: tuple[Turn, ...] = (*_SIDES, "up") if looks_up else _SIDES
    lengths = (3, 4) if looks_up else (2, 3, 4)
    return [
        turns
        for length in lengths
        for turns in product(directions, repeat=length)
        if all(one != next_one for one, next_one in pairwise(turns)) and set(_SIDES) <= set(turns)
    ]
