"""What the problems of the REST API say in their details."""

from __future__ import annotations

from support.sentences import Sentence

# Somebody else's face
FACE_OF_ANOTHER_USER = Sentence("This face already belongs to another user.")

# The service cannot answer
NOT_AT_THE_MOMENT = Sentence("This does not work at the moment. Try again later.")

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
