"""From a recording to a capture that training accepts: extraction, masks, fitting, and telling what is wrong."""

from .validation import validate_capture
from .validation_report import Validation

__all__ = ["Validation", "validate_capture"]
