"""The sentences in the details of the REST API's problems."""

from __future__ import annotations

from support.sentences import Sentence

# The face of another user
FACE_OF_ANOTHER_USER = Sentence("This face already belongs to another user.")

# A failure of the service
NOT_AT_THE_MOMENT = Sentence("This does not work at the moment. Try again later.")

# There is nothing at a path
WHERE_THE_DOCUMENT_IS = Sentence(
    "`{root}/api/v1/openapi.json` describes all operations, and `{root}/problems` all error"
)

# A user registers with the e-mail of another user
EMAIL_EXISTS = Sentence("A user with this e-mail exists already. Log in, or ask an administrator to set your password.")

# A request cannot be understood
WHOSE_PHOTO = Sentence("Give the email or the name of the person in the photo.")

# A field of a request
NOT_BASE64 = Sentence("This must be a file, or its bytes in base64.")
WHOLE_NUMBER = Sentence("This must be a whole number.")
AT_MOST_1 = Sentence("This must be at most 1.0.")
NO_SUCH_FIELD = Sentence("There is no such field.")
UNUSABLE_VALUE = Sentence("This value cannot be used.")

# A photo with several faces
SEND_LARGEST = Sentence("Crop the photo to one person, or send the field `face` with the value `largest`.")
SEVERAL_ON_A_PAGE = Sentence("Crop the photo to one person, or choose to take the largest below.")

# Replicas.
SERVICE_ONLY_READS = Sentence(
    "This service only reads, because its database is a replica. Nothing was changed. Send this request to the "
    "service of the primary."
)
REPLICA_IS_BEHIND = Sentence("its database is a replica, and has not followed the primary for longer than")
