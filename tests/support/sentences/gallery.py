"""Messages about the gallery: its model, users, photos, enrollment and folders of people."""

from __future__ import annotations

from support.sentences import Sentence

# Missing gallery
RUN_INIT = Sentence("`pgface init`")

# Model
BOUND_TO_ANOTHER_MODEL = Sentence("bound to {bound} ({dimension}-D, alignment {alignment_size}...this is {given}")
BOUND_TO_ANOTHER_ALIGNMENT_SIZE = Sentence("alignment {bound}...alignment {given}...cannot be compared")
MODELS_CANNOT_BE_COMPARED = Sentence("Embeddings of two models cannot be compared")
NOT_BOUND_TO_A_MODEL = Sentence("not bound to a model yet")

# Users and photos
NO_USER_WITH_ID = Sentence("There is no user with the id {id}")
NO_USER_WITH_EMAIL = Sentence("There is no user with the e-mail {email}")
NO_PHOTO_WITH_ID = Sentence("There is no photo {id}")
EMAIL_IS_TAKEN = Sentence("{email} is already in the gallery")
NO_USER_OF_THIS_NAME = Sentence("There is no user named {name}. `pgface users list` shows")
SEVERAL_USERS_OF_THIS_NAME = Sentence("{count} users are named {name}: {listed}. Give the id or e-mail of")
NOT_AN_EMAIL = Sentence("is not an e-mail")
NOT_A_NAME = Sentence("{name} is not a name. Give 1 to {longest} printable characters.")
MERGED_WITH_ITSELF = Sentence("cannot be merged with itself. Name two users")
FILE_IS_LEFT_FOR_NEXT_TIME = Sentence("pgface tries again the next time")

# External ids, labels and metadata
NOT_AN_EXTERNAL_ID = Sentence("An external id must have 1 to 255 printable characters, without spaces at its ends.")
EXTERNAL_ID_IS_TAKEN = Sentence("Another user of the gallery has this external id.")
NO_USER_WITH_EXTERNAL_ID = Sentence("There is no user with the external id {external_id}")
NOT_A_LABEL = Sentence("A label must have 1 to 64 printable characters.")
TOO_MANY_LABELS = Sentence("A user can have at most 32 labels, got {count}.")
LABELS_ARE_A_LIST = Sentence("Give a list of labels")
METADATA_IS_AN_OBJECT = Sentence("Metadata must be a JSON object")
METADATA_TOO_LARGE = Sentence("Metadata can have at most 8,192 bytes as JSON, got")
METADATA_TOO_DEEP = Sentence("Metadata can have at most 8 levels")
NUMBER_IN_METADATA = Sentence("A number in metadata must be finite and below 2^53.")
TEXT_IN_METADATA = Sentence("Metadata contains a zero byte or half of a surrogate pair")
KEY_IN_METADATA = Sentence("A key in metadata must be a text of 1 to 128 characters.")
TYPE_IN_METADATA = Sentence("Metadata contains a value of type")

# Enrollment
FACE_OF_ANOTHER_USER = Sentence("already belongs to {name} (similarity")
OTHER_NUMBER_OF_FACES_THAN_USERS = Sentence("there are {faces:face} and {users:user}. Name one user for each face")
TWO_FACES_ONE_USER = Sentence(
    "faces {first} and {second} from the left are both for {email}. Give a different user for each face."
)

# Embeddings
EMBEDDING_OF_ANOTHER_SHAPE = Sentence("An embedding must be {dimension} numbers")
EMBEDDING_IS_ALL_ZERO = Sentence("Row {row} is all zero")
EMBEDDING_IS_NOT_FINITE = Sentence("Row {row} contains NaN or infinity")
USER_OF_EMBEDDING_IS_UNKNOWN = Sentence("A user id is not in the gallery, so nothing was loaded")
OTHER_NUMBER_OF_USERS_THAN_EMBEDDINGS = Sentence(
    "User ids of shape {ids} and embeddings of shape {embeddings} do not match"
)

# Identification
THRESHOLD_OUT_OF_RANGE = Sentence("A threshold must be between -1 and 1, got ")
TOP_OUT_OF_RANGE = Sentence("`top` must be at least 1, got ")

# Folders of people
NO_PEOPLE_IN_FOLDER = Sentence("contains no folder of a person. Give a folder that has a folder of photos for each")
NO_PHOTOS_IN_FOLDERS = Sentence("{folder}: the folders of people contain no photos.")
PHOTO_OUTSIDE_OF_A_FOLDER = Sentence("The photo is not in a person's folder. Move it into one.")
FOLDER_CANNOT_BE_READ = Sentence("{folder}: the folder cannot be read ({reason}). Give a folder that you may read.")
TWO_FOLDERS_ONE_PERSON = Sentence("would both be {email}. Rename one of them")

# Audit of a gallery
NOTHING_WAS_FOUND = Sentence("Nothing was found.")
NO_PICTURE = Sentence("no picture")
