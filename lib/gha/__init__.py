"""Gaussian head avatars: from a multi-view recording of a person to a head any expression can drive.

The rooms of the library, in the order in which they may import each other:
``geometry``, ``rendering``, ``networks``, ``faces``, ``capture``, ``avatars``, ``training``, ``apps``.
"""

__version__ = "0.1.0"
