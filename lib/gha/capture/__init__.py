"""Recordings on disk: reading, writing, driving sequences, and what training draws from them."""

from .frame import Frame
from .info import CaptureInfo, Split
from .writer import CaptureWriter

__all__ = ["CaptureInfo", "CaptureWriter", "Frame", "Split"]
