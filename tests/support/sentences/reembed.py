"""Messages about changing the model of a gallery."""

from __future__ import annotations

from support.sentences import Sentence

EMBEDDED_WITH = Sentence("{faces:embedding} of {before}. Embedded with {model}: {new} (")
GALLERY_HAS_THE_MODEL_NOW = Sentence("The gallery has the model {model} now, with its published thresholds.")
GALLERY_HAD_THE_MODEL = Sentence("The gallery has the model {model} already. Nothing was changed.")
DRY_RUN = Sentence("Dry run: the gallery was not switched. The new embeddings wait for the next run.")
RIGHT_FIRST = Sentence("finds the right person first for {before} ({_}%) of {searches:photo} with")
NOT_SWITCHED = Sentence("The gallery was not switched. Give the original photos with `--photos`, or lose these")
WITHOUT_A_PHOTO = Sentence("{email}: {embeddings:embedding} without a photo")
FILE_OF_PHOTO_IS_NOT_HERE = Sentence("the crop of this photo is not in its photo store")
DELETED = Sentence("{deleted} new embeddings were deleted. The gallery is as before.")
ONLY_THE_OWNER = Sentence("Only the gallery's owner can change its model.")
ANOTHER_RUN = Sentence("Another `pgface reembed` of this gallery is running.")
ANOTHER_MODEL_WAITS = Sentence("{waiting} new embeddings of another model wait in this gallery ({model}, weights")
NOT_BOUND = Sentence("This gallery is not bound to a model yet. Run `pgface init`.")
NO_SUCH_FOLDER = Sentence("{folder}: this folder does not exist. Give the folder of the original photos.")
EMBEDDING_OF_AN_EARLIER_MODEL = Sentence("This gallery has got another model, and this embedding is of the earlier")
WAIT_FOR_A_CHANGE = Sentence("{waiting:new embedding waits|new embeddings wait} for a change to the model {model}.")
