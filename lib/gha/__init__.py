"""Gaussian head avatars: from a multi-view recording of a person to a head any expression can drive.

The rooms of the library, in the order in which they may import each other:
``geometry``, ``rendering``, ``networks``, ``faces``, ``capture``, ``avatars``, ``training``, ``apps``.
"""

import os

# Read once, when torch loads OpenMP. Threads that spin while they wait slow everything else on a small machine down,
# the compiled kernels of this library included; sleeping costs nothing measurable.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
