"""The sentences about photo stores."""

from __future__ import annotations

from support.sentences import Sentence

ANOTHER_STORE = Sentence(
    "PGFACE_PHOTO_STORE is {asked}, but the gallery's photo store is {present}. Set it to {present}, or move "
    "the photos: pgface photos move --to {asked}"
)
STORE_NOT_REACHED = Sentence("The photo store {location} could not be read or written (")
CROPS_NOT_DELETED = Sentence("{count:crop of a deleted photo is|crops of deleted photos are} not deleted yet, since ")
BUCKET_KEEPS_VERSIONS = Sentence("The bucket of {location} keeps versions, so deleted crops still exist.")
STORE_CHANGES_BYTES = Sentence(
    "The photo store {location} returned other bytes than were written. New photos go to {location} already. Run this "
    "command again to move the rest, or move all photos back with `pgface photos move --to {before}`."
)
