"""What pgface says of reading an old installation and moving it into a gallery."""

from __future__ import annotations

from support.sentences import Sentence

# The old files.
WHICH_FILES_TO_GIVE = Sentence("Give `sqlite`, or `npy` and `json` together, or all three.")
FILE_CANNOT_BE_READ = Sentence("it cannot be read")
ROWS_AND_LABELS_DIFFER = Sentence("{vectors} has {rows} rows, but {labels} names {users} users")
ROWS_OF_USERS_NOT_IN_SQLITE = Sentence("{file}: {count} rows belong to users that are not in the SQLite file")

# face_db.npy.
FILE_HOLDS_PICKLED_OBJECTS = Sentence("holds pickled Python objects, which could run any program")
FILE_IS_TRUNCATED_OR_DAMAGED = Sentence("truncated or damaged")
FILE_IS_NO_NPY = Sentence("not an NPY file")
FILE_IS_AN_ARCHIVE_OF_ARRAYS = Sentence("an archive of several arrays")
ARRAY_HAS_ANOTHER_SHAPE = Sentence("its shape is {shape}, but embeddings are N×512")
ARRAY_HAS_ANOTHER_TYPE = Sentence("its numbers are of type {type}")
ROWS_ARE_NOT_FINITE = Sentence("{file}: {count} rows hold NaN or infinity")
ROWS_ARE_ZERO = Sentence("{file}: {count} rows are all zero and have no direction")

# face_db.json.
FILE_IS_NO_JSON = Sentence("it is truncated or not JSON")
FILE_HAS_NO_LIST_OF_USERS = Sentence("it has no list of users")
FILE_HOLDS_WHAT_JSON_DOES_NOT_HAVE = Sentence(": it holds {value}, which Python writes")

# The SQLite file.
FILE_IS_NO_SQLITE = Sentence("damaged, truncated, or not a SQLite file")
FILE_HAS_NO_TABLE = Sentence("it has no table {table}")
TABLE_HAS_NO_COLUMN = Sentence("its table {table} has no column {column}")
EMAILS_BELONG_TO_SEVERAL_USERS = Sentence("{count} e-mails belong to several users, ignoring case")
NAMES_HOLD_CONTROL_CHARACTERS = Sentence("{count} names hold control characters or direction overrides")
EMAILS_CANNOT_BE_EMAILS = Sentence("{count} e-mails are not valid")
ROWS_OF_USERS_NOT_THERE = Sentence("{count} rows belong to users that do not exist")
DATES_ARE_IN_NO_FORM = Sentence("{count} dates have an unknown format")
TOKENS_ARE_EMPTY = Sentence("{count} tokens are empty")
IDS_ARE_NO_NUMBERS = Sentence("{count} ids are not whole numbers from 1 to 2147483647")
TEXTS_ARE_TOO_LONG_OR_NO_TEXT = Sentence("{count} texts are longer than 255 characters or not UTF-8")

# What is refused before anything is written.
NOTHING_WAS_WRITTEN = Sentence("Nothing was written.")
ROW_AND_ONE_MORE_PROBLEM = Sentence("row {row}...There is 1 more problem. Nothing was written.")
ROW_AND_MORE_PROBLEMS = Sentence("row {row}...There are {more} more problems. Nothing was written.")
GALLERY_IS_NOT_EMPTY = Sentence(
    "The gallery is not empty, and {missing} of the old installation are not in it. Use `merge=True`"
)
ANOTHER_MODEL_MADE_THE_EMBEDDINGS = Sentence("{photos} photos were embedded again by {model}, and are not similar")

# Photo files.
OLD_PATHS_END_LIKE_ONE_FILE = Sentence("(there is a file {file}, but {paths} old paths end like it)")
FILES_END_LIKE_ONE_OLD_PATH = Sentence("(two files end with {end})")
FILE_IS_ALSO_THAT_OF_ANOTHER_PATH = Sentence("(the file {file} also matches another old path)")
FILES_WOULD_BE_COPIED = Sentence("{files:photo file} found, {adopted} of them for existing rows.")
FILES_WERE_COPIED = Sentence("{files:photo file} copied, {adopted} of them for existing rows.")

# Passwords.
PASSWORDS_WOULD_BE_TAKEN_OVER = Sentence("{count:password} would be copied to users of the gallery who had none.")
PASSWORDS_WERE_TAKEN_OVER = Sentence("{count:password was|passwords were} copied to users")
PEOPLE_HAVE_ANOTHER_PASSWORD = Sentence(
    "{count:user has|users have} another password in the gallery, which was not changed:"
)

# The end of a migration, and of a rehearsal.
REHEARSED = Sentence("Dry run: nothing was written.")
NO_DATABASE_YET = Sentence("There is no database yet")
MIGRATED_IN_SOME_SECONDS = Sentence("Migrated in ")
EMBEDDINGS_FIND_THEMSELVES = Sentence("{embeddings:embedding finds itself|embeddings find themselves} first")
EVERYTHING_IS_THERE_ALREADY = Sentence("Everything is in the gallery already. Nothing was changed.")
EVERY_ROW_WAS_THERE_ALREADY = Sentence("Every row was in the gallery already. Nothing else was changed.")
