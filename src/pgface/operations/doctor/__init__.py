"""What is wrong with an installation, and what mends it."""

from pgface.operations.doctor.finding import Finding, State
from pgface.operations.doctor.run import CHECKS, diagnose, mend

__all__ = ["CHECKS", "Finding", "State", "diagnose", "mend"]
