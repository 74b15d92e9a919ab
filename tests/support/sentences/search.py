"""Messages about the search and the indexes."""

from __future__ import annotations

from support.sentences import Sentence

# Fitting the search
UNKNOWN_SEARCH_METHOD = Sentence("There is no search method {method}. Choose one of {methods}")
EMPTY_GALLERY_CANNOT_BE_FITTED = Sentence("The gallery is empty, so {method} cannot be fitted. Enroll people first")
COMPARES_WITH_EVERY_EMBEDDING = Sentence("Identification compares with every embedding")

# Options of an index
UNKNOWN_INDEX = Sentence("There is no index {method}. Choose one of {methods}")
NUMBER_OUT_OF_RANGE = Sentence("{name} must be from {least} to {most}, got {given}")
EF_CONSTRUCTION_TOO_SMALL = Sentence("ef_construction must be at least twice m. Give {least} or more")
OPTIONS_OF_HNSW = Sentence("m and ef_construction are options of hnsw")
OPTION_OF_IVFFLAT = Sentence("lists is an option of ivfflat")
FEWER_EMBEDDINGS_THAN_LISTS = Sentence("{embeddings} of them are fewer than {lists} lists")
SIZE_SUCH_AS = Sentence("such as 512MB or 2GB")

# Building an index
INDEX_BUILT = Sentence("{index} is now {method} of {embeddings:,} embeddings")
INDEX_DROPPED = Sentence("{index} was dropped")
GRAPH_OUTGREW_MEMORY = Sentence("its graph no longer fitted into {memory}")
IVFFLAT_NEEDS_MORE_MEMORY = Sentence("memory to learn {lists} lists, and may use {memory}")
PGVECTOR_NEEDS_MORE_MEMORY = Sentence("pgvector needs more memory")
BUILD_ENDED_ON_SERVER = Sentence("ended on the server")
BUILD_LOST_CONNECTION = Sentence("connection ... was lost")
OLD_INDEX_IS_THERE = Sentence(". The old index is unchanged.")
UNFINISHED_INDEX_IS_DROPPED_LATER = Sentence("or `pgface init` drops the unfinished index {index}.")
BUILD_INTERRUPTED = Sentence("Interrupted. `pgface index status` shows which indexes exist.")

# Status of the indexes
HNSW_WITH = Sentence("hnsw (m {m}, ef_construction {ef_construction})")
IVFFLAT_WITH = Sentence("ivfflat (lists {lists})")
SERVES_SQL_BY_DISTANCE = Sentence("for your own SQL that orders by distance")
SERVES_IDENTIFICATION = Sentence("Identification's own index (pgface identify, find_similar_faces)")
NO_INDEX_AS_CHOSEN = Sentence("none (`exact` was chosen)")
BEING_BUILT = Sentence("being built")
PLANNER_TAKES_INDEX = Sentence("uses {index} for ORDER BY embedding <=> probe LIMIT 10")
PLANNER_COMPARES_WITH_EVERY_ROW = Sentence("compares with every row")

# Advice
LEFT_FROM_A_BUILD = Sentence("{index} is left from an interrupted build")
OTHER_DISTANCE = Sentence("{operators} and cannot serve ORDER BY embedding <=> probe")
USERS_WAIT_FOR_TEMPLATES = Sentence("{users} users wait for their templates")
TOO_FEW_FOR_LISTS = Sentence("There are {embeddings} embeddings for {lists} lists: too few to learn them from.")
LISTS_BUILT_ON_TOO_LITTLE = Sentence("probably built on too little data")
LISTS_LEARNED_FROM_FEWER = Sentence("learned from {before} embeddings, and there are {now} now")
LISTS_FAR_FROM_RULE = Sentence(
    "{lists} lists for {embeddings} embeddings are far from the specification's rule: {advised}"
)

# Checking an index
CHECKED_WITH_EFFORT = Sentence("{method}, effort {effort}")
EMPTY_GALLERY_CANNOT_BE_MEASURED = Sentence(
    "The gallery is empty, so the search cannot be measured. Enroll people first"
)
