"""Gaussian head avatars: from a multi-view recording of a person to a head any expression can drive.

The rooms of the library, in the order in which they may import each other:
``geometry``, ``rendering``, ``networks``, ``faces``, ``capture``, ``avatars``, ``training``, ``apps``.
"""

import os

# Read once, when torch loads OpenMP. Threads that wait for work sleep, after some 50 us in which the next piece mostly
# comes: waiting for milliseconds, as is usual, slows everything else on a small machine down, and a training step on it
# tenfold when other programs run; sleeping at once lets the scheduler move both threads to one core.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    os.environ["OMP_WAIT_POLICY"] = "passive"
# Read once, when Pillow is loaded: so many pieces of memory, of up to 16 MB, are kept for the next pictures. What is
# handed back after every picture has to be mapped anew, page by page, and all threads that decode wait for each other.
os.environ.setdefault("PILLOW_BLOCKS_MAX", "32")

__version__ = "0.1.0"
