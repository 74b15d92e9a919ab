"""Faces: photos, engines, models, quality and liveness. This package contains no SQL."""
