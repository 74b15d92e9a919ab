"""What the pages say, in English unless a name says otherwise: those of the service, and those of the examples."""

from __future__ import annotations

from support.sentences import Sentence

# Every page
NO_SUCH_PAGE = Sentence("There is no such page.")
CHECK_THE_ADDRESS = Sentence("Check the address, or go on from here.")
SHOW_PASSWORD = Sentence("Show Password")
HIDE_PASSWORD = Sentence("Hide Password")
SKIP_TO_CONTENT = Sentence("Skip to the content")
ONLY_ADMINISTRATORS = Sentence("Only administrators")

# What a page reports as done
LOGGED_OUT = Sentence("You are logged out.")
LOGGED_OUT_EVERYWHERE = Sentence("You are logged out everywhere.")
PHOTO_ADDED = Sentence("The photo is added.")
PASSWORD_CHANGED = Sentence("The password is changed.")
PASSWORD_CHANGED_AND_SESSIONS_ENDED = Sentence("The password is changed. All other sessions are ended.")
FACE_DELETED = Sentence("Your photos, and everything that was computed from them, are deleted.")
ACCOUNT_DELETED = Sentence("Your account and all your data are deleted.")

# A form is refused
WRONG_PASSWORD = Sentence("The password is not right.")

# My account
NO_PHOTO_YET = Sentence("There is no photo of you yet.")
FACE_FROM_FILE = Sentence("Face from {file}")
THIS_SESSION = Sentence("this session")
SESSION_BY_FACE = Sentence("By face, similarity")
SESSION_FROM = Sentence("from {address}")
TAKE_THE_LARGEST_FACE = Sentence("Several people are in the photo. Take the largest face.")
ADD_THIS_PHOTO = Sentence("Add this photo")
PHOTO_TO_BE_ADDED = Sentence("The photo that you are about to add")
LOG_OUT_EVERYWHERE = Sentence("Log out everywhere")
DOWNLOAD_MY_DATA = Sentence("Download my data")
DELETE_MY_FACE = Sentence("Delete my face")
DELETE_MY_ACCOUNT = Sentence("Delete my account")
WHAT_GOES_WITH_MY_FACE = Sentence("{photos} photos and everything")

# The camera
OPEN_THE_CAMERA = Sentence("Open the camera")
USE_THE_CAMERA = Sentence("Use the camera")
STOP_THE_CAMERA = Sentence("Stop the camera")
TAKE_THE_PICTURE = Sentence("Take the picture")
TAKE_THE_PHOTO = Sentence("Take the photo")
CAMERA_NOT_ALLOWED = Sentence("The camera may not be used. Allow it in the browser, and try again.")
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
ONLY_PHOTO_OF_A_PERSON = Sentence("It is the only one")
PHOTO_DELETED = Sentence("The photo is deleted.")
LOGINS_THAT_ARE_OPEN = Sentence("{logins} open session:")
LOGINS_ENDED = Sentence("All sessions have ended.")
LOGGED_IN_NOWHERE = Sentence("{name} has no open session.")
DELETE_PERSON = Sentence("Delete {name}?")
OWN_ACCOUNT = Sentence("This is your own account.")

# The status
THRESHOLDS = Sentence("Thresholds")
COPY = Sentence("Copy")
COPIED = Sentence("Copied")
NOTHING_TO_DO = Sentence("Nothing needs to be done.")
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
