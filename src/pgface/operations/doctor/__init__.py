"""Checks of an installation, with a fix or a remedy for each problem."""

from pgface.operations.doctor.finding import Finding, State
from pgface.operations.doctor.run import CHECKS, apply_fixes, diagnose

__all__ = ["CHECKS", "Finding", "State", "apply_fixes", "diagnose"]
