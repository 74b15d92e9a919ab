"""The texts about primaries and standbys."""

from __future__ import annotations

from support.sentences import Sentence

NO_PRIMARY = Sentence("No server in PGFACE_DATABASE_URL accepts writes. Start the primary, or promote a standby.")
OLD_PRIMARY = Sentence("is an old primary. Its timeline is 1, and a promotion has begun timeline 2.")
TWO_PRIMARIES = Sentence("both accept writes. Stop the one that was replaced.")
OTHER_CLUSTER = Sentence("are not copies of one another. Name only a primary and its standbys")

# What `pgface doctor` says.
NO_STANDBY = Sentence("names 2 servers, but no standby is connected to the primary")
SERVERS_DO_NOT_ANSWER = Sentence("{missing} of the {count} servers in PGFACE_DATABASE_URL does not answer")
NOT_SYNCHRONOUS = Sentence("No standby is synchronous. After a failover, the last acknowledged faces can be missing.")
COMMITS_DO_NOT_WAIT = Sentence("do not wait for the synchronous standby, because synchronous_commit is local")
EVERY_WRITE_WAITS = Sentence("Every write waits: synchronous_standby_names is 'ANY 1 (*)', and no such standby")
STANDBY_IS_BEHIND = Sentence("The standby b is ... MB and ... s behind the primary.")
PHOTOS_ARE_NOT_SHARED = Sentence("on a disk of this machine alone. PostgreSQL does not copy them to a standby.")
SEVERAL_ACCEPT_WRITES = Sentence("Several servers accept writes: ...a (timeline 1) and ...b (timeline 2).")
MINIMAL_LOG = Sentence("The write-ahead log has no data for standbys")
NO_ARCHIVE_COMMAND = Sentence("is to be archived, but there is no command for it")
ARCHIVE_FAILS = Sentence("cannot archive its write-ahead log since 2026-03-01 00:00 (2 failures)")
