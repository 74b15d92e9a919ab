"""What pgface says about photos that it cannot read or use, and about the faces in them."""

from __future__ import annotations

from pgface.system.extras import how_to_install
from support.sentences import Sentence

# Where a photo comes from
FILE_CANNOT_BE_READ = Sentence(
    "{photo}: the file cannot be read ({reason}). Give the path of a photo that you may read."
)
FOLDER_IS_NO_PHOTO = Sentence("{photo}: this is a folder, not a photo. Give the path of one file.")
DEVICE_IS_NO_PHOTO = Sentence("{photo}: this is a device or a pipe, not a photo. Give the path of one file.")

# What cannot be decoded
EMPTY_FILE = Sentence("{photo}: the file is empty (0 bytes). Use the original file.")
EMPTY_PICTURE = Sentence("{photo}: a picture of {size} pixels is empty. Choose another photo.")
NOT_A_PHOTO = Sentence(
    "{photo}: these {size:,} bytes are not a photo that can be decoded. "
    "Give a JPEG, PNG, WebP, GIF, TIFF, BMP or HEIC file."
)
ARRAY_IS_NOT_RGB = Sentence(
    "{photo}: an array of shape {shape} and type {type} is not RGB pixels. "
    "Give one of shape height×width×3 and type uint8."
)
DAMAGED_FILE = Sentence(
    "{photo}: this {kind} file is damaged or incomplete and cannot be decoded. Use the original file."
)
AVIF_IS_NOT_ACCEPTED = Sentence("{photo}: AVIF is not accepted. Save the photo as JPEG or PNG.")
RUN_LENGTH_CODED_BMP_IS_NOT_ACCEPTED = Sentence(
    "{photo}: run-length coded BMP is not accepted. Save the photo as JPEG or PNG."
)
HEIC_NEEDS_ITS_PACKAGE = Sentence(
    f"{{photo}}: HEIC needs the package pillow-heif. Run {how_to_install('heif')}, or save the photo as JPEG."
)
WIDE_SAMPLES_HAVE_NO_RANGE = Sentence(
    "{photo}: samples of more than 16 bits have no known range. Save the photo with 8 or 16 bits."
)
FLOATING_POINT_SAMPLES_HAVE_NO_RANGE = Sentence(
    "{photo}: floating-point samples have no known range. Save the photo with 8 or 16 bits."
)
SIGNED_SAMPLES_HAVE_NO_RANGE = Sentence(
    "{photo}: signed samples have no known range. Save the photo with 8 or 16 bits, unsigned."
)
ZERO_HAS_NO_MEANING = Sentence("{photo}: this TIFF does not say whether 0 is black or white")
KIND_OF_TIFF_IS_NOT_ACCEPTED = Sentence(
    "this kind of TIFF is not accepted (photometric interpretation {photometric}, {samples} samples of {bits} bits)"
)
CMYK_WITHOUT_ADOBES_MARKER = Sentence("{photo}: this CMYK JPEG has no Adobe marker")
NO_PICTURES_GAMMA = Sentence("{photo}: its gamma ... is out of range")

# Limits
TOO_MANY_BYTES = Sentence(
    "{photo}: the file has {size:,} bytes and the limit is {limit:,}. "
    "Make the photo smaller, or raise PGFACE_MAX_PHOTO_BYTES."
)
TOO_MANY_PIXELS = Sentence(
    "{photo}: {size} pixels are {megapixels} megapixels and the limit is {limit}. "
    "Make the photo smaller, or raise PGFACE_MAX_PHOTO_PIXELS."
)
MORE_PIXELS_THAN_ANY_PHOTO = Sentence(
    "{photo}: this {kind} file declares more pixels than any photo has. Make the photo smaller."
)
TOO_MUCH_MEMORY = Sentence(
    "{photo}: decoding {size} pixels takes {needed} MB of memory and the limit is {limit}. "
    "Make the photo smaller, or raise PGFACE_MAX_DECODED_BYTES."
)
SIDE_TOO_LONG = Sentence("{photo}: of {size} pixels, the longer side is over {limit:,}. Crop the photo to the face.")
TOO_MANY_SCANS = Sentence(
    "{photo}: this JPEG has more than {limit} scans, which no camera writes. Save it again as JPEG."
)
SHARE_LARGER_THAN_BUDGET = Sentence("a share cannot be larger than the budget")

# Faces
NO_FACE = Sentence("{photo}: no face was found")
SEVERAL_FACES = Sentence("{count} faces were found (... pixels). Crop the photo to one person")
LEFT_ASIDE_IN_THE_BACKGROUND = Sentence("left aside in the background: ... pixels")

# Quality
CANNOT_BE_ENROLLED = Sentence(
    "{photo}: the face cannot be enrolled: {measurements}. "
    "Choose a photo in which it is larger, sharper, better lit or more frontal."
)
FACE_TOO_SMALL = Sentence("size {size} pixels (at least {limit})")
TOO_BLURRED = Sentence("sharpness {sharpness} (at least {limit})")
TOO_DARK = Sentence("brightness {brightness} (at least {limit})")
TOO_BRIGHT = Sentence("brightness {brightness} (at most {limit})")
TURNED_TOO_FAR = Sentence("yaw {yaw}° (at most {limit}° to either side)")
RAISED_TOO_FAR = Sentence("pitch {pitch}° (at most {limit}° up or down)")

# A photo that is sent to the service
MAX_UPLOAD_PIXELS = Sentence("the limit is 25.0. Make the photo smaller, or raise PGFACE_MAX_UPLOAD_PIXELS.")
