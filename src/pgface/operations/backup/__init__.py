"""Backup and recovery: a gallery, rows and photo files, in one archive that checks itself."""

from pgface.operations.backup.check import Verified, verify
from pgface.operations.backup.create import BackupReport, back_up
from pgface.operations.backup.manifest import Manifest

__all__ = ["BackupReport", "Manifest", "Verified", "back_up", "verify"]
