"""From a recording to a capture that training accepts: so far its last step, telling what is wrong with one."""

from .validation import validate_capture
from .validation_report import Validation

__all__ = ["Validation", "validate_capture"]
