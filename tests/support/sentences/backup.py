"""The messages about backups and restores, and about exports and imports."""

from __future__ import annotations

from support.sentences import Sentence

# Results
CONTENTS = Sentence("{users:user}, {photos:photo} with {files:file}, {embeddings:embedding}")
BACKED_UP = Sentence("{archive}: {contents}, ")
NOT_ENCRYPTED = Sentence("Keep it where only you can read it, or add --encrypt.")
IS_INTACT = Sentence("{archive} is intact: {contents}.")
IS_INTACT_AND_ENCRYPTED = Sentence("{archive} is intact: encrypted, {contents}.")
RESTORED = Sentence("Restored {contents}")
NOTHING_WAS_CHANGED = Sentence("Nothing was changed.")

# Making an archive
FILE_EXISTS = Sentence("{file} exists. Give another name, or overwrite it with `replace=True`.")
COMMAND_SAYS_FILE_EXISTS = Sentence("{file} exists. Give another name, or overwrite it with `--force`.")
FILE_CANNOT_BE_WRITTEN = Sentence("{file} cannot be written ({reason})")
FILE_IS_BEING_WRITTEN = Sentence("is being written by another")
PHOTO_FILE_COULD_NOT_BE_READ = Sentence("could not be read")
ANOTHER_BACKUP_IS_UNDER_WAY = Sentence("Another backup of this gallery is running")
PG_DUMP_COULD_NOT_READ = Sentence("pg_dump could not read the gallery: ")

# Passphrases
WRONG_PASSPHRASE = Sentence("This passphrase does not open the archive. Give the passphrase")
NO_TERMINAL_FOR_PASSPHRASE = Sentence(
    "A passphrase is needed, but there is no terminal to ask on. "
    "Set PGFACE_BACKUP_PASSPHRASE or give --passphrase-file."
)
PASSPHRASE_CANNOT_BE_READ = Sentence("Could not read the passphrase from {file}.")

# A damaged archive, or another file
ARCHIVE_CANNOT_BE_READ = Sentence("{file} cannot be read ({reason}).")
NOT_AN_ARCHIVE = Sentence("not an archive")
NO_DUMP_AT_ITS_BEGINNING = Sentence("does not begin with a dump")
ENDS_TOO_EARLY = Sentence("ends too early")
DAMAGED_AT_ITS_END = Sentence("damaged at its end")
DOES_NOT_BELONG_THERE = Sentence("does not belong there")
OTHER_CHECKSUM = Sentence("does not match its checksum")
FILES_MISSING_OR_TOO_MANY = Sentence("there are missing or extra files")
CHECKSUMS_OF_OTHER_FILES = Sentence("does not hold the files that SHA256SUMS names")
FILES_WITHOUT_CHECKSUM = Sentence("holds files that SHA256SUMS does not name")
OTHER_NUMBER_OF_PHOTO_FILES = Sentence("The number of photo files in this archive differs")
CANNOT_BE_DECRYPTED = Sentence("This archive is damaged or truncated: it cannot be decrypted to its end.")

# The manifest of an archive
MANIFEST_CANNOT_BE_READ = Sentence("manifest cannot be read")
MANIFEST_OF_ANOTHER_FORMAT = Sentence("has format {format}, but this pgface knows {known}. Upgrade pgface")
MANIFEST_CANNOT_BE_USED = Sentence("manifest cannot be used: {fact} is not valid")

# Restoring
GALLERY_IS_NOT_EMPTY = Sentence("is not empty ({table} has rows)...Nothing was changed")
PHOTO_FILES_ARE_THERE = Sentence("has photo files of the archived gallery already...`in_place=True`...`copy=True`")
SCHEMA_TOO_NEW = Sentence("schema version {version}, newer than")
CHANGED_WHILE_RESTORED = Sentence("was changed while it was restored")
COLUMN_IS_NOT_THERE = Sentence("{table} has the column {column}, which is")
USERS_ARE_NOT_ALL_THERE = Sentence("are not all in this gallery")
EMBEDDINGS_CANNOT_BE_COMPARED = Sentence("cannot be compared")

# The programs of PostgreSQL
NEWER_PG_DUMP_NEEDED = Sentence("PostgreSQL {version} or newer is needed (found: {found})")
NO_PG_DUMP = Sentence("(there is none). Install PostgreSQL's client programs")
NO_PG_RESTORE = Sentence("pg_restore is needed, but there is none. Install PostgreSQL's client programs")

# Exporting
EXPORT_IS_THERE_ALREADY = Sentence("exists. Give another name, or overwrite it with `replace=True`")
EXPORT_CANNOT_BE_WRITTEN = Sentence("cannot be created")

# Importing
EXPORT_OF_ANOTHER_MODEL = Sentence("The export's embeddings are of {model}")
EXPORT_NAMES_NO_MODEL = Sentence("it names no model")
NOT_AN_EXPORT = Sentence("export of a gallery")
EMBEDDINGS_WITHOUT_PEOPLE = Sentence("embeddings and people do not match")
USERS_ARE_NO_IDS = Sentence("{count} users are not ids")
CHECKSUMS_OF_EXPORT_DIFFER = Sentence("its checksums differ, so it is damaged or was changed")
EXPORT_CANNOT_BE_READ = Sentence("it cannot be read, is damaged, or `pgface export` did not write it")
