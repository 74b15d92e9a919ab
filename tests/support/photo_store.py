"""The photo store of the tests' galleries: a folder, or another one for a run by hand.

`PGFACE_TEST_PHOTO_STORE=postgres` and `PGFACE_TEST_PHOTO_STORE=s3` create the galleries in another store. Then tests
that look for files in the photos folder fail. All others must pass.
"""

from __future__ import annotations

import os
from typing import Final

BUCKET: Final = "faces"
LOCATION: Final = f"s3://{BUCKET}/crops"
"""The place of crops in the tests' S3-compatible store, which `support.object_store` runs."""

_asked = os.environ.get("PGFACE_TEST_PHOTO_STORE")
PHOTO_STORE: Final = LOCATION if _asked == "s3" else _asked
"""The setting `photo_store` of new galleries."""
