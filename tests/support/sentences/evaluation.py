"""What pgface says of evaluating a model, of calibrating thresholds, and of auditing a gallery."""

from __future__ import annotations

from support.sentences import Sentence

# What cannot be evaluated.
NOBODY_IS_ENROLLED_YET = Sentence("No person is enrolled in this gallery yet")
THERE_IS_ONLY_ONE_PERSON = Sentence("There is only one person")
EVERYBODY_HAS_ONE_PHOTO_ONLY = Sentence("Every person has only one photo")
NO_PHOTO_HAS_A_USABLE_FACE = Sentence("No photo of {photos} has a usable face. The first: ")
THERE_IS_ONLY_ONE_FOLD = Sentence("Accuracy over folds needs at least two folds, got one.")

# `pgface evaluate`.
REMEMBERED_EMBEDDINGS_WERE_REMOVED = Sentence("Deleted the embeddings of all evaluated photos.")
ACCURACY_OVER_FOLDS = Sentence("folds: {mean} ± {standard_error} %")
FNMR_COUNTS_REFUSED_PAIRS = Sentence("FNMR counts {pairs} mated pairs with a refused photo as not matching")
FNMR_LEAVES_OUT_REFUSED_PAIRS = Sentence("FNMR leaves out {pairs} mated pairs with a refused photo")
OF_TOO_LOW_QUALITY = Sentence("{pairs} of too low quality ({share})")
ANY_QUALITY_IS_AN_OPTION = Sentence("`pgface evaluate --no-quality` takes photos of any quality.")
OPTION_GOES_WITH_A_FOLDER_OF_PHOTOS = Sentence("{option} needs a folder of photos")
OPTION_GOES_WITH_A_FOLDER_OF_PEOPLE = Sentence("{option} cannot be used with --pairs")
MAKE_A_GALLERY_OR_NAME_A_MODEL = Sentence("Run `pgface init`. Or name a model with --model, which needs no gallery.")
CACHE_CANNOT_BE_WRITTEN = Sentence("it cannot be written .... Free some disk space, ..., or use `remember=False`")

# The page of an evaluation.
THE_PAGE_SHOWS_FACES_AND_NAMES = Sentence("The page, which shows faces and names: ")
THE_FILE_IS_NO_PAGE_OF_PGFACE = Sentence("exists and is not a page of pgface")
THE_PAGE_CANNOT_BE_WRITTEN = Sentence("it cannot be written")
MOST_SIMILAR_PHOTOS_OF_TWO_PEOPLE = Sentence("similar photos of two people")
MIN_SIMILAR_PHOTOS_OF_ONE_PERSON = Sentence("similar photos of one person")
TRADE_OFF = Sentence("Detection error trade-off (1:1)")
NO_TRADE_OFF = Sentence(
    "every one of the {mated} mated pairs is more similar than every one of the {non_mated} non-mated pairs"
)
WHAT_THE_WORDS_MEAN = Sentence("What the words mean")
GROUPS_AT_THE_THRESHOLDS_IN_USE = Sentence("{attribute}: groups at the thresholds in use")
GROUP_AND_ITS_PEOPLE = Sentence("{group}, {people} people")

# Folders of people, and lists of pairs.
THE_FOLDER_HOLDS_NO_FOLDER_OF_PHOTOS = Sentence("there is no folder of photos in it. Give the folder that")
THE_FOLDER_CANNOT_BE_READ = Sentence("the folder cannot be read ({reason})")
THE_LIST_CANNOT_BE_READ = Sentence("the list cannot be read ({reason})")
IT_IS_NOT_UTF8 = Sentence("it is not UTF-8")
THE_LIST_SAYS_ANOTHER_NUMBER_OF_PAIRS = Sentence(
    "says {promised} pairs (folds: {folds}, pairs of each kind in one: {size}), and there are {found}."
)
THE_FIRST_LINE_SHOULD_SAY_HOW_MANY_FOLDS = Sentence("the first line should say how many folds there are")
THE_LINE_SHOULD_BE_A_MATED_PAIR = Sentence("line {line} should be a mated pair")
THE_LINE_SHOULD_BE_A_NON_MATED_PAIR = Sentence("line {line} should be a non-mated pair")
THE_LINE_IS_NO_LINE_OF_A_TABLE = Sentence("is not a line of a CSV table")
THE_LIST_NAMES_MISSING_PHOTOS = Sentence("it names photos that are not in ...: {photos}.")
THE_TABLE_LACKS_A_COLUMN = Sentence("there is no column {column}, only {columns}. It needs ... with commas")
THE_DECISION_IS_NEITHER_YES_NOR_NO = Sentence("the Decision of line {line} is neither yes nor no")
THERE_ARE_NO_PAIRS = Sentence("there are no pairs in it")
THERE_IS_NO_NON_MATED_PAIR = Sentence("there is no non-mated pair in it. Both kinds are needed")
THE_PAIR_IS_ONE_PHOTO = Sentence("pair {pair}, are one photo and not a pair")
THE_PAIR_IS_OF_ONE_PERSON_AND_OF_TWO = Sentence("pair {pair}, are said to be one person's, and two people's")

# Attributes of people and photos.
THE_FIRST_LINE_SHOULD_NAME_THE_COLUMNS = Sentence("the first line should name the columns")
THE_ROW_HAS_OTHER_COLUMNS = Sentence("row {row} has {columns} columns and not {wanted}")
THE_NAME_IS_THERE_TWICE = Sentence("{name} is there twice")
THE_FOLDER_HAS_NO_SUCH_PERSON = Sentence("the folder has no person {people} and {more} more. Correct the table")
THE_TABLE_CANNOT_BE_READ = Sentence("the table cannot be read ({reason})")

# Too little to tell rare errors by.
COMPARISONS_DO_NOT_TELL_OF_SUCH_AN_ERROR = Sentence(
    "{comparisons} comparisons of a photo with another person are too few for one error in {wanted}"
)
WHAT_THE_COMPARISONS_TELL_OF = Sentence("these suffice for one in {told}")
A_TARGET_IS_A_SHARE = Sentence("A target must be between 0 and 1, got {target}")
CALIBRATION_TAKES_MORE_PEOPLE = Sentence("A calibration needs {needed} people or more, .... There are {people}")

# `pgface calibrate`.
NEW_THRESHOLD_MISSES_TOO_MANY = Sentence("of the photos. Some photos may have a wrong label")
THRESHOLD_NOW = Sentence("threshold now")
EXTRAPOLATED_FROM_THE_TAIL = Sentence("extrapolated from the tail")
MAY_THE_THRESHOLDS_BE_SET = Sentence("Set these thresholds?")
THE_THRESHOLDS_ARE_SET = Sentence("The thresholds are set. `pgface thresholds --history`")
JSON_NEEDS_YES_OR_DRY_RUN = Sentence("add --yes or --dry-run")
FOLLOWING_GOES_WITH_NO_FOLDER = Sentence("cannot be used with a folder")
THERE_IS_NOTHING_TO_FOLLOW = Sentence("Nothing to change.")
NOTHING_WAS_MEASURED_HERE = Sentence("published with the model, not measured here")
RATE_AT_THE_NEW_THRESHOLD = Sentence("{rate} with it")
SOURCE_OF_PUBLISHED_FIGURES = Sentence("the model's published figures")
VERIFY_THRESHOLD_HAS_BEEN_CHANGED = Sentence(
    "The threshold to verify was changed to {threshold} in the meantime. Calibrate again"
)

# `pgface thresholds`.
PUBLISHED_WITH_A_MODEL = Sentence("published with {model}")
NO_THRESHOLD_WAS_CALIBRATED_YET = Sentence("Calibration has not set a threshold of this gallery yet.")
TARGET_AMONG_PEOPLE = Sentence("FPIR {target} among {people}")
CALIBRATED_ON = Sentence("calibrated {date}")
WHAT_A_SIMILARITY_MEANS = Sentence("What a similarity means")
RECOMMENDED_FOR_PRODUCTION = Sentence("recommended for production")
THRESHOLD_IS_TOO_LOW = Sentence("is too low for FPIR {target}: {advised} is advised")

# What an audit says of a photo.
SMALL_FACE = Sentence("a small face, {pixels} pixels")
BLURRED = Sentence("blurred, sharpness {sharpness}")
DARK = Sentence("dark, {brightness}")
OVEREXPOSED = Sentence("overexposed, {brightness}")
TURNED_ASIDE_AND_TILTED = Sentence("turned aside by {yaw}°; tilted by {pitch}°")
