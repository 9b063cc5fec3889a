"""The lock every parallel numba kernel of the library is called under."""

from __future__ import annotations

import threading

KERNEL_LOCK = threading.Lock()
"""Hold this around each call of a parallel kernel: numba's default threading layer aborts on concurrent calls."""
