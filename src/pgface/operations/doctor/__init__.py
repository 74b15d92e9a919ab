"""What is wrong with an installation, and what mends it."""

from pgface.operations.doctor.finding import Finding, State
from pgface.operations.doctor.run import CHECKS, apply_fixes, diagnose

__all__ = ["CHECKS", "Finding", "State", "apply_fixes", "diagnose"]
