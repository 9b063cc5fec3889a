"""Import calibrated photographs of a static object as a capture of one frame.

    python preprocess/import_static_photos.py FOLDER captures/skull [--front 001]

FOLDER holds photographs and ``cameras.json`` (K, one world-to-camera matrix per photograph, surface points).
"""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("import-photos", sys.argv[1:]))
