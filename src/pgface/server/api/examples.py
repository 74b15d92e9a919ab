"""What examples of the API have in common, and an answer of every kind."""

from __future__ import annotations

from typing import Any, Final

PHOTO: Final = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA=="
"""The beginning of a JPEG in base64."""

_EARLIER, _NOW, _LATER = "2026-05-04T08:00:00Z", "2026-05-04T09:30:00Z", "2026-05-04T21:30:00Z"
_USER: Final = {
    "id": 12,
    "name": "Alice",
    "email": "alice@example.org",
    "created_at": _EARLIER,
    "photos": 1,
    "embeddings": 1,
}
_PHOTO: Final = {
    "id": 40,
    "user_id": 12,
    "filename": "alice.jpg",
    "width": 224,
    "height": 224,
    "created_at": _NOW,
}
_FACE: Final = {
    "box": {"x": 79.0, "y": 55.9, "width": 93.2, "height": 136.4},
    "landmarks": [[103.2, 113.1], [144.4, 109.7], [124.6, 133.9], [110.0, 157.2], [145.6, 154.0]],
    "detection_score": 0.8548,
    "quality": {"face_size": 93.2, "sharpness": 11.6, "brightness": 0.56, "yaw": -3.1, "pitch": 3.8, "roll": -4.7},
}
_MATCH: Final = {
    "user_id": 12,
    "name": "Alice",
    "email": "alice@example.org",
    "similarity": 0.71,
    "confidence": 99.9,
}
_COMPARISON: Final = {"match": True, "similarity": 0.71, "threshold": 0.32, "confidence": 99.9}
_LOGIN: Final = {"id": 7, "confidence": 1.0, "created_at": _NOW, "expires_at": _LATER, "current": True}
_KEY: Final = {
    "id": 3,
    "name": "door terminal",
    "scopes": ["identify"],
    "created_at": _EARLIER,
    "last_used_at": _NOW,
    "revoked_at": None,
}

ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "UserOut": _USER,
    "UserPage": {"next_cursor": "dXNlcnM6MTI", "users": [_USER]},
    "PhotoPage": {"next_cursor": None, "photos": [_PHOTO]},
    "EnrollmentOut": {"user": _USER, "photo_id": 40, "added": True, "face": _FACE, "left_aside": []},
    "FacesOut": {"faces": [_FACE]},
    "IdentificationOut": {
        "model": "dlib",
        "threshold": 0.45,
        "gallery_threshold": 0.45,
        "faces": [_FACE | {"identified": True, "matches": [_MATCH]}],
        "faces_found": 1,
    },
    "VerificationOut": _COMPARISON | {"user_id": 12},
    "ComparisonOut": _COMPARISON,
    "TokenOut": {
        "token": "mF_9.B5f-4.1JqM",
        "token_type": "Bearer",
        "user_id": 12,
        "confidence": 1.0,
        "expires_at": _LATER,
    },
    "ChallengeOut": {
        "token": "mF_9...",
        "pose": "left",
        "progress": 0.14,
        "seconds": 120,
        "policy": "password+face",
    },
    "HintOut": {"hint": "ok"},
    "MeOut": {"user": _USER, "administrator": False, "login": _LOGIN},
    "LoginsOut": {"logins": [_LOGIN]},
    "EndedOut": {"ended": 2},
    "IntrospectionOut": {
        "active": True,
        "sub": "12",
        "username": "alice@example.org",
        "name": "Alice",
        "token_type": "Bearer",
        "exp": 1777930200,
        "iat": 1777887000,
        "confidence": 1.0,
        "amr": ["pwd"],
    },
    "KeysOut": {"keys": [_KEY]},
    "NewKeyOut": {"key": "pgface_3q2-...", "about": _KEY | {"last_used_at": None}},
    "AuditPage": {
        "next_cursor": None,
        "entries": [
            {
                "id": 90,
                "at": _NOW,
                "event": "login by password",
                "outcome": "refused",
                "reason": "the password is wrong",
                "actor": None,
                "user_id": 12,
                "key_id": None,
                "address": "192.0.2.7",
                "similarity": None,
                "count": 3,
                "last_at": _NOW,
            }
        ],
    },
    "StatusOut": {
        "model": "dlib",
        "model_problem": None,
        "execution_provider": "dlib",
        "verify_threshold": 0.32,
        "identify_threshold": 0.45,
        "advised_identify_threshold": 0.45,
        "calibration_due": False,
        "users": 120,
        "photos": 480,
        "embeddings": 480,
        "search": "exact",
        "search_agreement": None,
        "search_due": False,
        "index": None,
        "schema_version": 11,
        "postgresql": "18.1",
        "pgvector": "0.8.1",
        "login_policy": "password+face",
    },
    "HealthOut": {"status": "ok"},
    "ReadinessOut": {"ready": True, "database": True, "schema_current": True, "model": True},
}
"""By the name of the schema."""
METRICS: Final = "pgface_users 120.0\npgface_embeddings 480.0\n"
