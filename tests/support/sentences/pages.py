"""The sentences of the pages of the service and of the examples. They are English, unless a name says otherwise."""

from __future__ import annotations

from support.sentences import Sentence

# Every page
NO_SUCH_PAGE = Sentence("There is no such page.")
CHECK_THE_ADDRESS = Sentence("Check the address, or continue from here.")
SHOW_PASSWORD = Sentence("Show Password")
HIDE_PASSWORD = Sentence("Hide Password")
SKIP_TO_CONTENT = Sentence("Skip to the content")
ONLY_ADMINISTRATORS = Sentence("Only administrators")

# The messages after an action
LOGGED_OUT = Sentence("You are logged out.")
LOGGED_OUT_EVERYWHERE = Sentence("You are logged out everywhere.")
PHOTO_ADDED = Sentence("The photo is added.")
PASSWORD_CHANGED = Sentence("The password is changed.")
PASSWORD_CHANGED_AND_SESSIONS_ENDED = Sentence("The password is changed. All other sessions are ended.")
FACE_DELETED = Sentence("Your photos, and everything that was computed from them, are deleted.")
ACCOUNT_DELETED = Sentence("Your account and all your data are deleted.")

# A form is refused
WRONG_PASSWORD = Sentence("The password is wrong.")

# My account
NO_PHOTO_YET = Sentence("There is no photo of you yet.")
FACE_FROM_FILE = Sentence("Face from {file}")
THIS_SESSION = Sentence("this session")
SESSION_BY_FACE = Sentence("By face, similarity")
SESSION_FROM = Sentence("from {address}")
TAKE_THE_LARGEST_FACE = Sentence("There are several people in the photo. Use the largest face.")
ADD_THIS_PHOTO = Sentence("Add this photo")
PHOTO_TO_ADD = Sentence("The photo to add")
LOG_OUT_EVERYWHERE = Sentence("Log out everywhere")
DOWNLOAD_MY_DATA = Sentence("Download my data")
DELETE_MY_FACE = Sentence("Delete my face")
DELETE_MY_ACCOUNT = Sentence("Delete my account")
DELETED_WITH_MY_FACE = Sentence("{photos} photos and everything")

# The camera
OPEN_THE_CAMERA = Sentence("Open the camera")
USE_THE_CAMERA = Sentence("Use the camera")
STOP_THE_CAMERA = Sentence("Stop the camera")
TAKE_THE_PICTURE = Sentence("Take the picture")
TAKE_THE_PHOTO = Sentence("Take the photo")
CAMERA_NOT_ALLOWED = Sentence("The browser does not allow the camera. Allow it, and try again.")
LIVENESS_ENDED = Sentence("Thank you. Return to the application that sent you here. You can close this page.")
NO_LIVENESS_SESSION = Sentence("There is no such liveness session, or it has ended. Start another one.")
FACE_NOT_RECOGNISED = Sentence(
    "You were not recognised. Try again in good light. Follow the arrow slowly, and stay until it changes."
)

# Lists of administrators
SHOW_ALL = Sentence("Show all")
NEXT_PAGE = Sentence("Next page")
FIRST_PAGE = Sentence("Back to the first page")
NO_USER_CONTAINS = Sentence("contains “{text}”")
GALLERY_IS_EMPTY = Sentence("The gallery is empty. Add photos of people above")
NO_SUCH_AUDIT_ENTRIES = Sentence("No entry of the log matches this filter.")
DELETED_PERSON = Sentence("deleted person")
USER_WITH_ID = Sentence("user {id}")
KEY_WITH_ID = Sentence("key {id}")
THE_PERSON_THEMSELVES = Sentence("the person")
WRONG_PASSWORD_IN_AUDIT_LOG = Sentence("wrong password")
SIMILARITY_IN_AUDIT_LOG = Sentence("similarity {similarity}")

# A person, as administrators see them
ORDINARY_USER = Sentence("ordinary user")
NO_PASSWORD_YET = Sentence("There is no password yet")
PASSWORD_IS_SET = Sentence("There is a password. A new one replaces it.")
PHOTO_WITHOUT_EMBEDDING = Sentence("No embedding")
ONLY_PHOTO_OF_A_PERSON = Sentence("It is the only photo")
PHOTO_DELETED = Sentence("The photo is deleted.")
OPEN_SESSIONS = Sentence("{logins} open session:")
SESSIONS_ENDED = Sentence("All sessions have ended.")
NO_OPEN_SESSION = Sentence("{name} has no open session.")
DELETE_PERSON = Sentence("Delete {name}?")
OWN_ACCOUNT = Sentence("This is your own account.")

# The status
THRESHOLDS = Sentence("Thresholds")
COPY = Sentence("Copy")
COPIED = Sentence("Copied")
NOTHING_TO_DO = Sentence("Nothing needs to be done.")
NOT_CALIBRATED = Sentence("The thresholds are the model's published ones.")
AGREEMENT_OF_SEARCH = Sentence("for {percent} % of {probes} probes")

# Keys
REVOKE_KEY = Sentence("Revoke the key “{name}”?")

# Enrolling from a browser
ADD_PEOPLE = Sentence("Add people")
ADD_PHOTOS = Sentence("Add photos")
CHOOSE_A_FOLDER = Sentence("Choose a folder")
CHOOSE_PHOTOS = Sentence("Choose photos")
EMAIL_OF_ONE_PERSON = Sentence("E-mail, if all photos show one person")
ENROLL_SIMILAR_FACE = Sentence("Enroll the face even if it looks like another person's")
CHOSEN = Sentence("Photos: {photos} · People: {people}")
ENROLLED = Sentence("Enrolled: {added} · Already enrolled: {there} · Refused: {refused} · Cancelled: {cancelled}")
SERVICE_IS_BUSY = Sentence("waiting, because the service is busy")
NO_CONNECTION = Sentence("waiting for a connection")
SHOW_THE_RESULT = Sentence("Show the result")

# Identifying in a browser
CHOOSE_A_PHOTO = Sentence("Choose a photo")
IDENTIFIED = Sentence("Faces: {faces} · Identified: {identified}")
FACE_OF = Sentence("Face {number}: {name}")
UNKNOWN_PERSON = Sentence("unknown person")
IDENTIFIED_FACE = Sentence("Identified")
NOT_IDENTIFIED_FACE = Sentence("Not identified")
BELOW_THE_THRESHOLD = Sentence("Below the threshold ({count})")
SIMILARITY = Sentence("Similarity")

# Bahasa Indonesia
INDONESIAN_TOO_MANY_ATTEMPTS = Sentence("percobaan yang gagal")
INDONESIAN_WRONG_PASSWORD = Sentence("kata sandi tidak benar")
INDONESIAN_WEAK_PASSWORD = Sentence("Kata sandi ini terlalu mudah ditebak")

# The Flask application whose people log in by face, of the examples
FLASK_LOG_IN_BY_PASSWORD = Sentence("Log in by password")
FLASK_LOG_IN_BY_FACE = Sentence("Log in by face")
FLASK_LOGGED_IN_BY_PASSWORD = Sentence("by your password")
FLASK_LOGGED_IN_BY_FACE = Sentence("by your face")
FLASK_FACE_REFUSED = Sentence("That did not work. Try again.")
FLASK_NO_CAMERA = Sentence("The camera cannot be used.")
FLASK_NOT_AT_THE_MOMENT = Sentence("This does not work at the moment.")
