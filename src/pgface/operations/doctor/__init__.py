"""Checks of an installation, with a fix or a remedy for each problem."""

from pgface.operations.doctor.checks import CHECKS, apply_fixes, diagnose
from pgface.operations.doctor.finding import Finding, State

__all__ = ["CHECKS", "Finding", "State", "apply_fixes", "diagnose"]
