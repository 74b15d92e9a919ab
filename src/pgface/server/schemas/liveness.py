"""The schemas of liveness sessions."""

from __future__ import annotations

from pydantic import Field

from pgface.accounts.frame_checks import MAX_FRAME_BYTES, MAX_FRAMES
from pgface.faces.liveness.head_turns import Pose
from pgface.server.camera_hints import MAX_HINT_BYTES
from pgface.server.schemas.base import EXAMPLE_PHOTO, PhotoField, RequestBody, ResponseBody, example


class LivenessHintRequest(RequestBody):
    """A frame of the camera before a session is answered."""

    model_config = example({"frame": EXAMPLE_PHOTO})

    max_file_bytes = MAX_HINT_BYTES

    frame: PhotoField = Field(description="A frame of the camera.")


class LivenessFramesRequest(RequestBody):
    """The next frames of the camera."""

    model_config = example({"frames": [EXAMPLE_PHOTO] * 2})

    max_file_bytes = MAX_FRAMES * MAX_FRAME_BYTES + 10_000

    frames: list[PhotoField] = Field(
        min_length=1,
        max_length=MAX_FRAMES,
        description="The frames since the last request, about ten a second, in order, not mirrored. Each has at most "
        "500 kB and one megapixel.",
    )


class LivenessStepResponse(ResponseBody):
    """The next step of a liveness session."""

    model_config = example({"pose": "left", "progress": 0.14, "done": False})

    pose: Pose = Field(
        description="Where to look, from the person's point of view. `centre` is straight ahead. Hold this pose until "
        "a response has another one."
    )
    progress: float = Field(ge=0, le=1, description="The share of the poses that is done.")
    done: bool = Field(description="Whether the session has ended. It does not say whether the person is live.")
