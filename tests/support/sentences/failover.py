"""The texts about primaries and standbys."""

from __future__ import annotations

from support.sentences import Sentence

NO_PRIMARY = Sentence("No server in PGFACE_DATABASE_URL accepts writes. Start the primary, or promote a standby.")
OLD_PRIMARY = Sentence("is an old primary. Its timeline is 1, and a promotion has begun timeline 2.")
TWO_PRIMARIES = Sentence("both accept writes. Stop the one that was replaced.")
OTHER_CLUSTER = Sentence("are not copies of one another. Name only a primary and its standbys")
