"""What the problems of the REST API say in their details."""

from __future__ import annotations

from support.sentences import Sentence

# Somebody else's face
FACE_OF_ANOTHER_USER = Sentence("This face already belongs to another user.")

# The service cannot answer
NOT_AT_THE_MOMENT = Sentence("This does not work at the moment; try again later.")

# A request cannot be understood
WHOSE_PHOTO = Sentence("Give email or name: whose photo is it?")
