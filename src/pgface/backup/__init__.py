"""Backup and recovery: a gallery, rows and photo files, in one archive that checks itself."""

from pgface.backup.check import Verified, verify
from pgface.backup.make import BackupReport, back_up
from pgface.backup.manifest import Manifest
from pgface.backup.recovery import RestoreReport, restore

__all__ = ["BackupReport", "Manifest", "RestoreReport", "Verified", "back_up", "restore", "verify"]
