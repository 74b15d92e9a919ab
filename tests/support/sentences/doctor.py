"""The findings of `pgface doctor`, and its remedies."""

from __future__ import annotations

from support.sentences import Sentence

# Tables and functions.
MISSING_OR_CHANGED = Sentence("Missing or changed: {parts}")
GRANTED_TO_PUBLIC = Sentence("GRANT {privilege} TO PUBLIC.")
REVOKED_FROM_PUBLIC = Sentence("REVOKE {privilege} FROM PUBLIC.")
RENAME_IT_BACK = Sentence("Rename it back")
RENAME_IT_BACK_OR_ADD_IT = Sentence("Rename it back if it was renamed, or in psql: {statement}")
IN_PSQL = Sentence("In psql: {statement}")
IN_PSQL_AND_THEN_FIX = Sentence("In psql: {statement} Then run pgface doctor --fix")
IS_AND_SHOULD_BE = Sentence("{part} is {found}, but should be {expected}.")
AND_SHOULD_BE = Sentence("{found}, but should be {expected}")

# The schema.
UPGRADE_PGFACE = Sentence("Upgrade pgface.")

# The server.
PGVECTOR_CAN_BE_UPDATED = Sentence("pgvector {installed} is installed, and the server has {available}.")
POSTGRESQL_OR_NEWER = Sentence("PostgreSQL {version} or newer")
TEXT_IS_STORED_IN = Sentence("stores text in {encoding}")
CONNECTIONS_IN_USE = Sentence("{used} of {room} connections are in use")
LOWER_THE_POOL_OR_RAISE_THE_LIMIT = Sentence("PGFACE_POOL_SIZE to {size} or less, or raise {limit}")
OR_RAISE_THE_LIMIT_OF_THE_USER = Sentence("or raise the CONNECTION LIMIT of the user.")
CLOCKS_ARE_APART = Sentence("are {seconds} s apart")

# A cluster.
SETTING_OF_NODE_IS_OFF = Sentence("{name} is off on the node")
SET_URL_TO_COORDINATOR = Sentence("Set it to the coordinator.")
SET_URL_TO_OWNER = Sentence("Set PGFACE_DATABASE_URL to the user that ran pgface init.")
NEW_SCHEMA = Sentence("Set PGFACE_SCHEMA to a new name other than public.")
EFFORT_IS_IGNORED = Sentence("ignores the effort of the search: {found} candidates for an effort of {effort}.")

# The rows of the gallery.
NEW_EMBEDDINGS_OUTSIDE_OF_ROWS = Sentence("New embeddings would be stored outside")
NEXT_ID_IS_IN_USE = Sentence("The next id of {table} is in use already")
ROWS_OF_DELETED_USERS = Sentence("{embeddings:embedding}, {photos:photo}, {tokens:token}")
TABLE_IS_LOCKED = Sentence("Process {process} ({program}) has locked {table}")
DEAD_ROWS = Sentence("{count} rows of deleted or changed embeddings")
USERS_WITH_READABLE_PASSWORDS = Sentence("can use it: {count} (ids {ids}).")

# Indexes, the model and thresholds.
USERS_ARE_NOT_FOUND = Sentence("Identification cannot find {count:user}")
RUNTIMES = Sentence("What runs the model: {runtimes}.")
RUNTIMES_OF_A_DEVICE = Sentence(
    "What runs the model: {runtimes}. A face's embedding has a similarity of {agreement} to the CPU's"
)
MODEL_WAS_NOT_LOADED = Sentence("The model was not loaded, for the reason that the check of the runtime gives.")
OPENVINO_IS_MISSING = Sentence("OpenVINO is not installed.")
THE_MODEL_IS_A_LINK = Sentence("The model is a link to {folder}. If that folder moves, the model is missing.")
MODEL_IS_NOT_HERE = Sentence(
    "The gallery's model {model} (weights with SHA-256 ...) is not on this machine. ... copy its folder to {place}."
)
THRESHOLD_IS_TOO_LOW = Sentence("too low for {people:person|people}")

# Photo files.
PHOTOS_HAVE_THEIR_FILES = Sentence("{count:photo has its file|photos have their files} on this machine.")
PHOTOS_WITHOUT_FILE = Sentence("Photos without their file: {count} (")
FILES_WITHOUT_PHOTO = Sentence("Face crops that belong to no photo: {count} (")
FILES_OF_ANOTHER_FOLDER = Sentence("The files of {count:photo} belong to another photos folder than ")

# The machine.
MAY_NOT_WRITE = Sentence("This user may not write to {folder}.")

# The command.
NO_SUCH_CHECK = Sentence("there is no check '{check}'. Choose from {checks}")
EVERYTHING_IS_FINE = Sentence("Everything is fine.")
PROBLEMS_AND_ADVICE = Sentence("{problems} problems, {advice} piece of advice.")
PROBLEM_AND_ADVICE_AND_FIXES = Sentence(
    "{problems} problem, {advice} piece of advice. `pgface doctor --fix` fixes {fixable} of them."
)
FIXED = Sentence("Fixed")
FIXED_CHECK = Sentence("Fixed: {check}")
NOT_FIXED_REFUSED_BY_POSTGRESQL = Sentence("{check}: not fixed. PostgreSQL refused: ")
NOT_FIXED_FOR_LACK_OF_RIGHTS = Sentence("{check}: not fixed. This user may lack the privilege.")
