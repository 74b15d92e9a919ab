"""Sentences and errors of the commands."""

from __future__ import annotations

from support.sentences import Sentence

# `pgface init` and `pgface status`.
GALLERY_IS_READY = Sentence("is ready: model {model}")
GALLERY_IS_READY_WITH_USERS = Sentence("is ready: model {model}, {users:user}")
NAMED_GALLERY_IS_READY = Sentence("The gallery {name} is ready")
NAMED_GALLERY_ELSEWHERE_IS_READY = Sentence("The gallery {name} on {server} is ready")
GALLERY_WAS_NOT_UPGRADED = Sentence("The gallery {name} could not be upgraded")
GALLERY_ELSEWHERE_WAS_NOT_UPGRADED = Sentence("The gallery {name} on {server} could not be upgraded")
GALLERY_IS_EMBEDDED = Sentence("of the embedded PostgreSQL {version}")
PLACE_OF_ROWS_AND_CROPS = Sentence("Its rows are in {rows}...and its face crops in {crops}")
SETTING_CANNOT_BE_USED = Sentence("{variable} cannot be used")

# `pgface verify` and `pgface compare`.
THIS_IS_NOT_THE_USER = Sentence("This is not {name} <{email}>: similarity")
DIFFERENT_PEOPLE = Sentence("These are different people")

# `pgface identify`.
PICTURE_CANNOT_BE_WRITTEN = Sentence("cannot be written")

# `pgface enroll --folder`.
PHOTOS_OF_THE_FOLDER = Sentence("{photos:photo} in")
ENROLLED_AND_REFUSED = Sentence("{enrolled} enrolled, {already} already enrolled, {refused} refused.")
MORE_REFUSALS_ARE_IN_THE_REPORT = Sentence("... and {more} more. The report lists them. In total: {count} {error}.")
MORE_REFUSALS = Sentence("... and {more} more. Use --report FILE to list them. In total: {count} {error}.")
REPORT_OF_EACH_PHOTO = Sentence("The outcome of each photo: {report}")
REPORT_CANNOT_BE_WRITTEN = Sentence("{report}: the report cannot be written")
SAME_COMMAND_CONTINUES = Sentence("Run the same command to continue.")

# `pgface users`.
NO_USERS_YET = Sentence("There are no users yet")

# `pgface photos`.
PHOTO_DELETED = Sentence("Deleted photo {photo}.")
EVERY_FILE_BELONGS_TO_A_PHOTO = Sentence("Every file belongs to a photo.")
BACKUP_IS_COPYING_PHOTO_FILES = Sentence("A backup is copying the photo files")

# `pgface admins`.
IS_AN_ADMINISTRATOR = Sentence("{name} <{email}> is an administrator.")

# `pgface secrets`.
SECRET_IS_THERE_ALREADY = Sentence("{file} exists already, so nothing was created")
NOTHING_WAS_MADE = Sentence("nothing was created")
NOTHING_WAS_MADE_BECAUSE = Sentence("{reason}, so nothing was created")

# Streams.
DISK_OF_THE_OUTPUT_IS_FULL = Sentence("is full. Make room there")

# The demo.
DEMO_VERIFIES = Sentence("Is that {name}? Yes")

# A password file that libpq does not use.
PASSWORD_FILE_OF_ANOTHER_USER = Sentence(
    "the password file {file} cannot be read (Permission denied: {file} belongs to user {owner}, "
    "and pgface runs as user {user}). Run pgface as its owner"
)
PASSWORD_FILE_FOR_OTHERS = Sentence("others may read the password file {file}, so libpq does not use it")
PASSWORD_FILE_LACKS_A_LINE = Sentence("the password file {file} has no line for this server")
NO_PASSWORD_FILE = Sentence("there is no file {file}. Write the password into PGFACE_DATABASE_URL")

# A file or folder of another user.
BELONGS_TO = Sentence("{place} belongs to user {owner}, and pgface runs as user {user}")
