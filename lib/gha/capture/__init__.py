"""Recordings on disk: reading, writing, driving sequences, and what training draws from them."""

from .check import check_capture
from .frame import Frame
from .info import CaptureInfo, Split
from .loader import FrameLoader, collate
from .opening import open_capture
from .reader import Capture
from .sampling import SampleSchedule
from .writer import CaptureWriter

__all__ = [
    "Capture",
    "CaptureInfo",
    "CaptureWriter",
    "Frame",
    "FrameLoader",
    "SampleSchedule",
    "Split",
    "check_capture",
    "collate",
    "open_capture",
]
