"""Recordings on disk: reading, writing, driving sequences, and what training draws from them."""

from .check import check_capture
from .frame import Frame
from .info import CaptureInfo, Split
from .loader import FrameLoader, collate
from .opening import open_capture
from .reader import Capture
from .sampling import SampleSchedule
from .sequence import ExpressionSequence
from .sequence_io import read_sequence, write_sequence
from .smoothing import smooth_sequence
from .writer import CaptureWriter

__all__ = [
    "Capture",
    "CaptureInfo",
    "CaptureWriter",
    "ExpressionSequence",
    "Frame",
    "FrameLoader",
    "SampleSchedule",
    "Split",
    "check_capture",
    "collate",
    "open_capture",
    "read_sequence",
    "smooth_sequence",
    "write_sequence",
]
