"""What is wrong with an installation, and what mends it."""

from pgface.doctor.finding import Finding, State
from pgface.doctor.run import CHECKS, diagnose, mend

__all__ = ["CHECKS", "Finding", "State", "diagnose", "mend"]
