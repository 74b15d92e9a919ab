"""The texts about connections, the schema, roles, pooling, and the embedded server."""

from __future__ import annotations

from pgface.system.extras import how_to_install
from support.sentences import Sentence

# Connecting.
SERVER_CANNOT_BE_REACHED = Sentence("PostgreSQL cannot be reached")
SERVER_CANNOT_BE_REACHED_BECAUSE = Sentence("cannot be reached: {reason}...PGFACE_DATABASE_URL")
HOST_CANNOT_BE_RESOLVED = Sentence("cannot be resolved")
DATABASE_DOES_NOT_EXIST = Sentence('database "{database}" does not exist. Create it first')
ACCESS_WAS_REFUSED = Sentence("refused access: {reason}...Check the user")
CONNECTION_WAS_LOST = Sentence("connection to PostgreSQL was lost")
CONNECTION_WAS_LOST_BECAUSE = Sentence("was lost ({reason}")

# Privileges of the PostgreSQL user.
SCHEMA_MAY_NOT_BE_USED = Sentence("may not use the schema {schema}")
PRIVILEGE_IS_MISSING = Sentence("{reason}. Use a PostgreSQL user with that right")

# pgvector.
PGVECTOR_MAY_NOT_BE_ADDED = Sentence("may not add pgvector...administrator to run CREATE EXTENSION vector")
PGVECTOR_IS_NOT_ON_THE_SERVER = Sentence("pgvector is not on this PostgreSQL server...Install it there")
PGVECTOR_IS_TOO_OLD = Sentence("pgvector {installed} is too old, {oldest} or newer is needed")

# The schema.
SCHEMA_IS_NEWER = Sentence("schema version {found}, newer than the {known} known here. Upgrade pgface")
SCHEMA_IS_OLDER = Sentence("schema version {found}, older than the {needed} needed. Run `pgface init`")
NO_GALLERY_IN_THE_DATABASE = Sentence("There is no gallery in this database...`pgface init`")
NO_SCHEMA_IN_THE_DATABASE = Sentence("There is no schema {schema} in this database. Run `pgface init`")
ZERO_VECTORS_ARE_STORED = Sentence("{count} embeddings are zero vectors...DELETE FROM face_embeddings")
ZERO_VECTOR_HAS_NO_COSINE = Sentence("zero vector, which has no cosine")

# Loading many embeddings.
LOADED_WITHOUT_INDEX = Sentence("can be searched, but the vector index could not be built")

# Poolers.
NEEDS_A_SESSION = Sentence("needs its own session...PGFACE_DIRECT_URL")
NAME_ON_A_CLUSTER = Sentence("On a cluster of Citus, a gallery cannot be in the schema {name}.")
WORKER_NEEDS_A_SESSION = Sentence(
    "A worker of jobs needs its own session, and a pooler is in between. Set PGFACE_DIRECT_URL to PostgreSQL itself."
)
SEARCH_MUST_BE_FITTED = Sentence("Fit it with `pgface fit-search`. This needs its own session")
DIRECT_URL_LEADS_ELSEWHERE = Sentence("leads to another database than PGFACE_DATABASE_URL")

# The embedded server: starting it.
EMBEDDED_SERVER_IS_NOT_INSTALLED = Sentence("The embedded PostgreSQL is not installed")
INSTALL_THE_EMBEDDED_SERVER = Sentence(f"{how_to_install('embedded').strip('`')}")
INSTALL_IT_OR_NAME_A_SERVER = Sentence(f"{how_to_install('embedded').strip('`')}...PGFACE_DATABASE_URL")
EMBEDDED_VERSIONS = Sentence("versions 16 and 18, not {version}")
EMBEDDED_SERVER_DID_NOT_START = Sentence("could not be started: {reason}. See ")
EMBEDDED_SERVER_IS_RECOVERING = Sentence("PostgreSQL is recovering")
FOLDER_CANNOT_BE_USED = Sentence("The embedded PostgreSQL cannot use {folder}")
FOLDER_CANNOT_BE_USED_SET_ANOTHER = Sentence("The embedded PostgreSQL cannot use {folder}...PGFACE_DATA_DIR")
FOLDERS_WERE_OPENED = Sentence("may now pass through these folders")
PATH_IS_TOO_LONG_FOR_A_SOCKET = Sentence("too long for a socket")

# The embedded server: `pgface postgres`.
DATABASE_URL_IS_SET = Sentence("PGFACE_DATABASE_URL is set")
EMBEDDED_SERVER_WAS_NOT_RUNNING = Sentence("The embedded PostgreSQL was not running.")
SESSIONS_ARE_OPEN = Sentence("{sessions:session is|sessions are} open")
ANOTHER_PROCESS_USES_IT = Sentence("another process is using it")
FILE_SYSTEM_HAS_NO_LOCKS = Sentence("has no locks (flock: ...), and the embedded PostgreSQL needs them")

# Settings of a session or a database.
DATABASE_IS_SQL_ASCII = Sentence("This database has the encoding SQL_ASCII")
TRIGGERS_ARE_OFF = Sentence("session_replication_role = replica")
TEXT_IS_NOT_UTF8 = Sentence("A text in the database is not UTF-8")

# Replicas.
REPLICA_ONLY_READS = Sentence("a replica or set to read-only, so it only reads. Nothing was changed.")
REPLICA_IS_BEHIND = Sentence("has not followed the primary for longer than PGFACE_MAX_REPLICA_LAG")
READ_URL_LEADS_ELSEWHERE = Sentence("PGFACE_READ_URL leads to another database than PGFACE_DATABASE_URL at {host}")
REPLICA_STOPPED_THE_QUERY = Sentence("The replica stopped this query...Try again.")
DOCTOR_NEEDS_THE_PRIMARY = Sentence("A replica cannot check this. Run pgface doctor on the primary.")
STATUS_OF_A_REPLICA = Sentence("a replica, which only reads: it shows everything that its primary has sent")
