"""Messages about the evaluation of a model, the calibration of thresholds, and the audit of a gallery."""

from __future__ import annotations

from support.sentences import Sentence

# Photos that cannot be evaluated.
NO_PERSON_IS_ENROLLED_YET = Sentence("No person is enrolled in this gallery yet")
THERE_IS_ONLY_ONE_PERSON = Sentence("There is only one person")
EVERY_PERSON_HAS_ONLY_ONE_PHOTO = Sentence("Every person has only one photo")
NO_PHOTO_HAS_A_USABLE_FACE = Sentence("No photo of {photos} has a usable face. The first: ")
THERE_IS_ONLY_ONE_FOLD = Sentence("Accuracy over folds needs at least two folds, got one.")

# `pgface evaluate`.
CACHED_EMBEDDINGS_WERE_DELETED = Sentence("Deleted the embeddings of all evaluated photos.")
ACCURACY_OVER_FOLDS = Sentence("folds: {mean} ± {standard_error} %")
FNMR_COUNTS_REFUSED_PAIRS = Sentence("FNMR counts {pairs} mated pairs with a refused photo as not matching")
FNMR_LEAVES_OUT_REFUSED_PAIRS = Sentence("FNMR leaves out {pairs} mated pairs with a refused photo")
OF_TOO_LOW_QUALITY = Sentence("{pairs} of too low quality ({share})")
ANY_QUALITY_IS_AN_OPTION = Sentence("`pgface evaluate --no-quality` takes photos of any quality.")
OPTION_NEEDS_A_FOLDER_OF_PHOTOS = Sentence("{option} needs a folder of photos")
OPTION_CANNOT_BE_USED_WITH_PAIRS = Sentence("{option} cannot be used with --pairs")
CREATE_A_GALLERY_OR_NAME_A_MODEL = Sentence("Run `pgface init`. Or name a model with --model, which needs no gallery.")
CACHE_CANNOT_BE_WRITTEN = Sentence("it cannot be written .... Free some disk space, ..., or use `remember=False`")

# The page of an evaluation.
THE_PAGE_SHOWS_FACES_AND_NAMES = Sentence("The page, which shows faces and names: ")
THE_FILE_IS_NOT_A_PAGE_OF_PGFACE = Sentence("exists and is not a page of pgface")
THE_PAGE_CANNOT_BE_WRITTEN = Sentence("it cannot be written")
MOST_SIMILAR_PHOTOS_OF_TWO_PEOPLE = Sentence("similar photos of two people")
LEAST_SIMILAR_PHOTOS_OF_ONE_PERSON = Sentence("similar photos of one person")
TRADE_OFF = Sentence("Detection error trade-off (1:1)")
NO_TRADE_OFF = Sentence(
    "every one of the {mated} mated pairs is more similar than every one of the {non_mated} non-mated pairs"
)
GLOSSARY = Sentence("Glossary")
GROUPS_AT_THE_THRESHOLDS_IN_USE = Sentence("{attribute}: groups at the thresholds in use")
GROUP_AND_ITS_PEOPLE = Sentence("{group}, {people} people")

# Folders of people, and lists of pairs.
THE_FOLDER_HAS_NO_PHOTOS_OF_PEOPLE = Sentence("it contains no photos of people. Give a folder")
THE_FOLDER_CANNOT_BE_READ = Sentence("the folder cannot be read ({reason})")
THE_LIST_CANNOT_BE_READ = Sentence("the list cannot be read ({reason})")
IT_IS_NOT_UTF8 = Sentence("it is not UTF-8")
THE_LIST_PROMISES_ANOTHER_NUMBER_OF_PAIRS = Sentence(
    "promises {promised} pairs (folds: {folds}, pairs of each kind in one: {size}), but there are {found}."
)
THE_FIRST_LINE_SHOULD_BE_THE_NUMBER_OF_FOLDS = Sentence("the first line should be the number of folds")
THE_LINE_SHOULD_BE_A_MATED_PAIR = Sentence("line {line} should be a mated pair")
THE_LINE_SHOULD_BE_A_NON_MATED_PAIR = Sentence("line {line} should be a non-mated pair")
THE_LINE_IS_NOT_CSV = Sentence("is not a line of a CSV table")
THE_LIST_NAMES_MISSING_PHOTOS = Sentence("it names photos that are not in ...: {photos}.")
THE_TABLE_HAS_NO_SUCH_COLUMN = Sentence("there is no column {column}, only {columns}. It needs ... with commas")
THE_DECISION_IS_NEITHER_YES_NOR_NO = Sentence("the Decision of line {line} is neither yes nor no")
THERE_ARE_NO_PAIRS = Sentence("it contains no pairs")
THERE_IS_NO_NON_MATED_PAIR = Sentence("it contains no non-mated pair. Give a list with pairs of both kinds")
THE_PAIR_IS_ONE_PHOTO = Sentence("pair {pair}, ... and ..., is one photo twice")
THE_NON_MATED_PAIR_IS_OF_ONE_PERSON = Sentence(
    "pair {pair}, ... and ..., is non-mated, but both photos show one person"
)

# Attributes of people and photos.
THE_FIRST_LINE_SHOULD_NAME_THE_COLUMNS = Sentence("the first line should name the columns")
THE_ROW_HAS_OTHER_COLUMNS = Sentence("row {row} has {columns} columns and not {wanted}")
THE_NAME_HAS_TWO_ROWS = Sentence("{name} has two rows")
THE_FOLDER_HAS_NO_SUCH_PERSON = Sentence("the folder has no person {people} and {more} more. Correct the table")
THE_TABLE_CANNOT_BE_READ = Sentence("the table cannot be read ({reason})")

# Too few comparisons for rare errors.
TOO_FEW_COMPARISONS = Sentence(
    "{comparisons} comparisons of a photo with another person are too few for one error in {wanted}"
)
RATE_THAT_THE_COMPARISONS_SUFFICE_FOR = Sentence("these suffice for one in {trials}")
A_TARGET_IS_BETWEEN_0_AND_1 = Sentence("A target must be between 0 and 1, got {target}")
CALIBRATION_NEEDS_MORE_PEOPLE = Sentence(
    "A calibration needs photos of {needed} people or more, .... There are {people}"
)

# `pgface calibrate`.
NEW_THRESHOLD_MISSES_TOO_MANY = Sentence("of the photos. Some photos may have a wrong label")
THRESHOLD_NOW = Sentence("threshold now")
EXTRAPOLATED_FROM_THE_TAIL = Sentence("extrapolated from the tail")
SET_THESE_THRESHOLDS = Sentence("Set these thresholds?")
THE_THRESHOLDS_ARE_SET = Sentence("The thresholds are set. `pgface thresholds --history`")
JSON_NEEDS_YES_OR_DRY_RUN = Sentence("add --yes or --dry-run")
FOLLOW_CANNOT_BE_USED_WITH_A_FOLDER = Sentence("cannot be used with a folder")
NOTHING_TO_CHANGE = Sentence("Nothing to change.")
NOT_MEASURED_HERE = Sentence("published with the model, not measured here")
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

# Poor photos in an audit.
SMALL_FACE = Sentence("a small face, {pixels} pixels")
BLURRED = Sentence("blurred, sharpness {sharpness}")
DARK = Sentence("dark, {brightness}")
OVEREXPOSED = Sentence("overexposed, {brightness}")
TURNED_ASIDE_AND_TILTED = Sentence("turned aside by {yaw}°; tilted by {pitch}°")
