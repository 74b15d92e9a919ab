"""Backup and restore of a gallery: its rows and photo files, in one archive with checksums."""

from pgface.operations.backup.archive import Verified
from pgface.operations.backup.check import verify
from pgface.operations.backup.create import BackupReport, back_up
from pgface.operations.backup.manifest import Manifest

__all__ = ["BackupReport", "Manifest", "Verified", "back_up", "verify"]
