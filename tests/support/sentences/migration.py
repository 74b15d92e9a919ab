"""Messages about the migration of an old installation into a gallery."""

from __future__ import annotations

from support.sentences import Sentence

# The old files.
WHICH_FILES_TO_GIVE = Sentence("Give `sqlite`, or `npy` and `json` together, or all three.")
FILE_CANNOT_BE_READ = Sentence("it cannot be read")
ROWS_AND_LABELS_DIFFER = Sentence("{vectors} has {rows} rows, but {labels} names {users} users")
ROWS_OF_USERS_NOT_IN_SQLITE = Sentence("{file}: {count} rows belong to users that are not in the SQLite file")

# face_db.npy.
FILE_CONTAINS_PICKLED_OBJECTS = Sentence("contains pickled Python objects, which could run any program")
FILE_IS_TRUNCATED_OR_DAMAGED = Sentence("truncated or damaged")
FILE_IS_NOT_NPY = Sentence("not an NPY file")
FILE_IS_AN_ARCHIVE_OF_ARRAYS = Sentence("an archive of several arrays")
ARRAY_HAS_ANOTHER_SHAPE = Sentence("its shape is {shape}, but embeddings are N×512")
DESCRIPTORS_ARE_OF_DLIB = Sentence("The embeddings have 128 numbers, ... give dlib as `model`")
ARRAY_HAS_ANOTHER_TYPE = Sentence("its numbers are of type {type}")
ROWS_ARE_NOT_FINITE = Sentence("{file}: {count} rows contain NaN or infinity")
ROWS_ARE_ZERO = Sentence("{file}: {count} rows are all zero and have no direction")

# face_db.json.
FILE_IS_NOT_JSON = Sentence("it is truncated or not JSON")
FILE_HAS_NO_LIST_OF_USERS = Sentence("it has no list of users")
FILE_CONTAINS_A_VALUE_THAT_IS_NOT_JSON = Sentence(": it contains {value}, which Python writes")

# The SQLite file.
FILE_IS_NOT_SQLITE = Sentence("damaged, truncated, or not a SQLite file")
FILE_HAS_NO_TABLE = Sentence("it has no table {table}")
TABLE_HAS_NO_COLUMN = Sentence("its table {table} has no column {column}")
EMAILS_BELONG_TO_SEVERAL_USERS = Sentence("{count} e-mails belong to several users, ignoring case")
NAMES_CONTAIN_CONTROL_CHARACTERS = Sentence("{count} names contain control characters or direction overrides")
EMAILS_ARE_NOT_VALID = Sentence("{count} e-mails are not valid")
ROWS_OF_USERS_THAT_DO_NOT_EXIST = Sentence("{count} rows belong to users that do not exist")
DATES_HAVE_AN_UNKNOWN_FORMAT = Sentence("{count} dates have an unknown format")
TOKENS_ARE_EMPTY = Sentence("{count} tokens are empty")
IDS_ARE_NOT_WHOLE_NUMBERS = Sentence("{count} ids are not whole numbers from 1 to 2147483647")
TEXTS_ARE_TOO_LONG_OR_NOT_UTF8 = Sentence("{count} texts are longer than 255 characters or not UTF-8")

# Errors before anything is written.
NOTHING_WAS_WRITTEN = Sentence("Nothing was written.")
ROW_AND_ONE_MORE_PROBLEM = Sentence("row {row}...There is 1 more problem. Nothing was written.")
ROW_AND_MORE_PROBLEMS = Sentence("row {row}...There are {more} more problems. Nothing was written.")
GALLERY_IS_NOT_EMPTY = Sentence(
    "The gallery is not empty, and {missing} of the old installation are not in it. Use `merge=True`"
)
ANOTHER_MODEL_MADE_THE_EMBEDDINGS = Sentence("{photos} photos were embedded again by {model}, and are not similar")

# Photo files.
SEVERAL_OLD_PATHS_END_LIKE_THE_FILE = Sentence("(there is a file {file}, but {paths} old paths end like it)")
TWO_FILES_END_LIKE_THE_OLD_PATH = Sentence("(two files end with {end})")
FILE_ALSO_MATCHES_ANOTHER_OLD_PATH = Sentence("(the file {file} also matches another old path)")
FILES_WERE_FOUND = Sentence("{files:photo file} found, {adopted} of them for existing rows.")
FILES_WERE_COPIED = Sentence("{files:photo file} copied, {adopted} of them for existing rows.")

# Passwords.
PASSWORDS_WOULD_BE_COPIED = Sentence("{count:password} would be copied to users of the gallery who had none.")
PASSWORDS_WERE_COPIED = Sentence("{count:password was|passwords were} copied to users")
USERS_HAVE_ANOTHER_PASSWORD = Sentence(
    "{count:user has|users have} another password in the gallery, which was not changed:"
)

# The end of a migration and of a dry run.
DRY_RUN_WROTE_NOTHING = Sentence("Dry run: nothing was written.")
NO_DATABASE_YET = Sentence("There is no database yet")
MIGRATED_IN_SOME_SECONDS = Sentence("Migrated in ")
EMBEDDINGS_FIND_THEMSELVES = Sentence("{embeddings:embedding finds itself|embeddings find themselves} first")
EVERYTHING_IS_IN_THE_GALLERY = Sentence("Everything is in the gallery already. Nothing was changed.")
EVERY_ROW_WAS_IN_THE_GALLERY = Sentence("Every row was in the gallery already. Nothing else was changed.")
