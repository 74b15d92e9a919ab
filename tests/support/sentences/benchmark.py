"""The messages of `pgface bench` and of the other benchmarks of search."""

from __future__ import annotations

from pgface.system.extras import how_to_install
from support.sentences import Sentence

# Before and after a run.
TOO_LITTLE_MEMORY = Sentence("GiB of memory in this program")
FILE_CANNOT_BE_WRITTEN = Sentence("cannot be written")
DROP_THE_SCHEMA_YOURSELF = Sentence("run DROP SCHEMA {schema} CASCADE")
MATPLOTLIB_IS_NOT_INSTALLED = Sentence(f"Install it with {how_to_install('plots')}")
FAISS_IS_NOT_INSTALLED = Sentence(
    f"faiss is not installed, so there is no comparison with it. Install it with {how_to_install('bench')}."
)
HNSWLIB_IS_NOT_INSTALLED = Sentence(
    "hnswlib is not installed, so there is no comparison with it. Install it with `pip install hnswlib`, which needs a "
    "C++ compiler."
)

# The table of a gallery's figures: its title, the names of its rows, and their contents.
HOW_LONG_IT_TAKES = Sentence("This takes about")
GALLERY = Sentence("{people} people × 5 photos, {kind}")
AGREEMENT_OF_MATED_PROBES = Sentence("rank-1 agreement, mated probes")
AGREEMENT_OF_NON_MATED_PROBES = Sentence("rank-1 agreement, non-mated probes")
RECALL = Sentence("recall above {threshold} (FPIR {fpir} %)")
SEARCHES_COMPARED = Sentence("identify_embedding, {probes} probes")
SEARCH_WITH_TWO_EFFORTS = Sentence("identify_embedding, {method}, effort {first} then {second}")
DISK_FOR_EACH_FACE = Sentence("disk for each face")
CLIENTS_FLAT_OUT = Sentence("{clients} clients flat out")
CLIENTS_AT_A_PACE = Sentence("{clients} clients at {searches}/s each")
FOUND_AT_ONCE = Sentence("enrolled, then identified at once")
SHARE_WITH_ITS_INTERVAL = Sentence("{share} ({low} to {high}), {missed} of {trials} missed")
PEER_AND_ITS_AGREEMENT = Sentence("{peer} {effort} (agreement {agreement})")
EXACT_SCAN_IN_POSTGRESQL = Sentence("exact scan in PostgreSQL")

# Advice: the method of search.
EXACT_SCAN_IS_QUICK_ENOUGH = Sentence("Up to {people} people ({faces} faces) an exact scan is fast enough here")
INDEX_BESIDE_EXACT_SCAN = Sentence("{gallery}: {method} takes {index_ms} ms, and an exact scan {scan_ms} ms.")

# Advice: agreement with the exact answer.
AGREEMENT_MET_EVERYWHERE = Sentence("0.999 or better everywhere.")
FEW_PROBES_SHOW_LITTLE = Sentence("{probes} probes only show that it is above {low}. Use more `probes`")
AGREEMENT_MISSED = Sentence("below 0.999")

# Advice: memory and disk.
MEMORY_HOLDS_WHAT_IS_SEARCHED = Sentence("shared_buffers ({there} MB) holds what a search reads {searched}")
MEMORY_DOES_NOT_HOLD_WHAT_IS_SEARCHED = Sentence(
    "shared_buffers ({there} MB) does not hold what a search reads {searched}"
)
SET_MORE_MEMORY = Sentence("set it to {wanted} MB or more")
SEARCHED_BYTES = Sentence("({needed} MB for {faces} faces)")
DISK_FOR_A_MILLION_FACES = Sentence("a million of them {size} GB")

# Advice: concurrent clients.
CLIENTS_WAIT_LONGER = Sentence("{clients} clients that never pause wait {ratio} times as long")
FACES_NOT_IDENTIFIED_AT_ONCE = Sentence("{missed} of {enrolled} new faces were not identified")

# The plot.
PANEL = Sentence("{people} people, {faces} faces, {kind}")
PEER_IN_PROCESS = Sentence("{peer}, in process")
SEARCH_AS_PGFACE_CHOSE = Sentence("pgface as it chose to search")

# The program of `make bench-search`: its steps, the titles of its tables, and their contents.
EXACT_ANSWERS_OF_A_GALLERY = Sentence("s  {people} people × 5 photos, {kind}: exact answers")
BESIDE_THE_SPECIFICATIONS_SCRIPT = Sentence("beside the specification's own script")
EVERY_KIND_OF_INDEX = Sentence("every kind of index")
FROM_A_PHOTO_TO_NAMES = Sentence("From a photo to names")
FROM_A_FILE_OF_EMBEDDINGS = Sentence("From a file of embeddings")
AGREEMENT_OF_THE_SPECIFICATIONS_SCRIPT = Sentence("the specification's script: {share}")
LOADING_FACES = Sentence("loading {faces} faces")

# Engines.
ENGINES_TAKE_ABOUT = Sentence("This takes about {seconds} seconds.")
NO_MODEL_IS_INSTALLED = Sentence("No model is installed.")
NO_FACE_IN_THE_PHOTO = Sentence("{model} finds no face in the photo.")
