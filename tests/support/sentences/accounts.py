"""The texts of accounts, sessions, keys, the audit log and the liveness checks."""

from __future__ import annotations

from support.sentences import Sentence

# A new password is refused
PASSWORD_LENGTH = Sentence("A password has {least} to {most} characters")
PASSWORD_EASY_TO_GUESS = Sentence("This password is too easy to guess.")
PASSWORD_IS_NOT_TEXT = Sentence("This password contains characters that are not text")

# A login is refused
WRONG_EMAIL_OR_PASSWORD = Sentence("Wrong e-mail or password.")
LOGIN_BY_FACE_REFUSED = Sentence("This login by face was refused.")
TOO_MANY_ATTEMPTS = Sentence("There were too many failed attempts. Try again in {seconds:second}.")

# Reasons of refusals in the audit log
REASON_WRONG_PASSWORD = Sentence("wrong password")
REASON_UNKNOWN_EMAIL = Sentence("no account has this e-mail")
REASON_EMAIL_TAKEN = Sentence("another account has this e-mail")
REASON_TOO_MANY_ATTEMPTS = Sentence("too many attempts")
REASON_PASSWORD_CHANGED = Sentence("The password was changed meanwhile.")
REASON_ANOTHER_FACE = Sentence("another face")
REASON_NO_SIMILAR_USER = Sentence("no face is similar enough")
REASON_ANOTHER_USER_NEARLY_AS_SIMILAR = Sentence("user {user_id} is nearly as similar")

# Challenges
CHALLENGE_UNKNOWN = Sentence("The challenge is unknown: it is too old, was used, or is being answered.")
LOGIN_NEEDS_NETWORK = Sentence("PGFACE_LOGIN_POLICY={policy} logs people in without a password, and no network against")

# The frames that answer a challenge
WRONG_NUMBER_OF_FRAMES = Sentence("A request has {frames} frames and not 1 to {most}.")
REASON_FRAME_CANNOT_BE_READ = Sentence("a frame cannot be read")
FRAME_SENT_TWICE = Sentence("Frame {number} is sent more than once.")
FRAME_SHOWS_FACES = Sentence("A frame shows {faces} faces and not one.")
FRAMES_OF_TWO_PEOPLE = Sentence("do not show the same person")
FRAME_OF_ANOTHER_PERSON = Sentence("does not show the person of the frontal frame")
FRAME_USED_BEFORE = Sentence("A frame was used for an earlier login.")
FRAMES_ARE_COPIES = Sentence("frames are copies of frames of an earlier login.")

# The turns of the head
HEAD_TURNS_OTHERWISE = Sentence("The head turns {turn} and not {asked}.")
HEAD_DOES_NOT_TURN = Sentence("The head does not turn {asked} and stay there.")
HEAD_JUMPS = Sentence("the head jumps")
HEAD_NOT_STRAIGHT_AT_BEGINNING = Sentence("The head does not look straight ahead at the start")
TOO_MANY_FRAMES = Sentence("There are more than {most} frames.")

# The motion inside the face
FACE_TOO_SMALL_TO_FOLLOW = Sentence("The face is {pixels} pixels wide or high, and must be at least {least}.")
FACE_NOT_FOLLOWED = Sentence("Only {share} of the face could be followed in the turn to the {side}")
FACE_MOVES_LIKE_FLAT_PICTURE = Sentence("The face moves like a flat picture in the turn to the {side}: ...")
FACE_MOVES_LIKE_BENT_PICTURE = Sentence("The face moves like a bent picture: ...")
FACE_NOT_MEASURED_TO_BOTH_SIDES = Sentence("The motion of the face was not measured to both sides.")
FACE_MOTION_NOT_READABLE = Sentence("The motion of the face so far cannot be read: ...")
OPENCV_NEEDED = Sentence("A login by face needs OpenCV, which cannot be imported. ...")

# Networks for liveness
TAKEN_FOR_A_PICTURE = Sentence("{network} classifies the face as a picture: {score} over {frames} frames")
FACE_TOO_NEAR_TO_EDGE = Sentence("too near to the edge of the picture")
CORNERS_OF_MOUTH_NEEDED = Sentence("needs the corners of the mouth")
NETWORK_GAVE_NO_NUMBER = Sentence("returned no number")
NETWORK_FOLDER_IS_EMPTY = Sentence("contains no ONNX file")
NETWORK_IS_DAMAGED = Sentence("{file} cannot be loaded: it is damaged")
NETWORK_IS_OF_ANOTHER_KIND = Sentence("{file} is neither MiniFASNet nor InsightFace's addon")
NETWORK_TAKES_ONE_PICTURE = Sentence("Those take one picture")
NETWORK_NAME_WITHOUT_SCALE = Sentence("The name {file} does not say how much")
NOTHING_WAS_INSTALLED = Sentence("Nothing was installed")

# The commands
LOGINS_ENDED = Sentence("Ended {logins:session}.")
ENDED_LOGINS_REMOVED = Sentence("Deleted {logins:expired session}.")
AUDIT_ROWS_REMOVED = Sentence("Deleted {rows:event} older than {days:day}.")
ROLE_OF_THE_SERVICE = Sentence("{role} may do what a service does")
ROLE_HAS_OTHER_RIGHTS = Sentence("The role {role} has rights to other tables on this server")

# Keys
KEY_NEEDS_A_SCOPE = Sentence("A key needs a scope")
UNKNOWN_SCOPE = Sentence("There is no scope '{scope}'. Choose from {scopes}.")
NO_KEYS = Sentence("There are no keys.")

# A key for a client of CompreFace
NO_SUCH_SERVICE = Sentence("There is no service 'x'. Choose from recognition, verification, detection.")
