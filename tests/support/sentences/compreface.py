"""Messages about the migration of CompreFace."""

from __future__ import annotations

from support.sentences import Sentence

# Which database, dump and service.
FILE_DOES_NOT_EXIST = Sentence("{file}: this file does not exist. Give a URL")
URL_CANNOT_BE_READ = Sentence("The URL of CompreFace's database cannot be read.")
TABLE_DOES_NOT_EXIST = Sentence("does not exist. CompreFace 0.6 and later have one.")
CHECK_THE_URL = Sentence("the URL of CompreFace's database is right")
KEYS_BEGIN_ALIKE = Sentence("{count} keys of recognition services begin like this ({titles}).")
SEVERAL_FOR_ONE_GALLERY = Sentence("{count} recognition services cannot become one gallery.")
NO_SERVICE_WITH_THIS_KEY = Sentence("CompreFace has no recognition service with this key.")
KEY_IS_TOO_SHORT = Sentence("Give at least 4 characters of the key")
GALLERY_IS_NOT_EMPTY = Sentence("The gallery is not empty, and {others} of its users ... not a subject of {service}.")
NO_SERVER_FOR_THE_DUMP = Sentence("pgface reads a dump with the gallery's PostgreSQL, which does not exist yet.")
NO_GALLERY_YET = Sentence("A gallery is missing, so it was not checked")

# Dumps that are damaged or hostile.
DUMP_HAS_NO_TABLE = Sentence("this dump has no rows of the table {table}.")
TABLE_HAS_NO_COLUMN = Sentence("its table {table} has no column {column}, so it is not of CompreFace.")
ROW_IS_DAMAGED = Sentence("a row of its table {table} is damaged.")
ROW_IS_REFUSED = Sentence("PostgreSQL refuses a row of this dump.")
ROW_IS_TOO_LONG = Sentence("a row of its table {table} has {size} bytes or more.")
DUMP_IS_CUT_OFF = Sentence("it is cut off in its table {table}.")
DUMP_FILLS_THE_DISK = Sentence("more than 20 times as large as the file")
DUMP_IS_COMPRESSED = Sentence("it is compressed by gzip.")
PG_RESTORE_CANNOT_READ = Sentence("cannot read it: ")

# Images.
IMAGE_IS_TOO_LARGE = Sentence("the stored image has {size} MB and the limit is {limit} MB.")

# The printed report.
SUBJECTS_AND_IMAGES = Sentence("Office/Doors: {subjects:subject}, {added} added. {images:image}, {moved} moved")
SUBJECTS_AND_IMAGES_OF_GALLERY = Sentence(
    "Office/Doors (gallery {gallery}): {subjects:subject}, {added} added. {images:image}, {moved} moved"
)
MOVED_BEFORE = Sentence("{count} were moved before.")
IMAGES_CANNOT_BE_EMBEDDED = Sentence("{count:image} cannot be embedded. The subjects stay:")
EMBEDDINGS_WITHOUT_IMAGE = Sentence("{count:embedding has|embeddings have} no stored image")
KEYS_WERE_ADDED = Sentence("{count:key of a service was|keys of services were} added. Clients keep their keys.")
DEMO_WAS_LEFT_OUT = Sentence("The keys of CompreFace's demo were left out, because anyone knows them.")
KEYS_WERE_NOT_ADDED = Sentence("{count:key was|keys were} not added:")
FACES_FIND_THEIR_SUBJECTS = Sentence("Verified that {count:face finds its subject|faces find their subjects} first.")
NOTHING_WAS_CHANGED = Sentence("Everything that can be moved is in the gallery already. Nothing was changed.")
DRY_RUN = Sentence("Dry run: nothing was written.")
