"""Turn calibrated photographs of a static object into a capture: python preprocess/import_photos.py --help."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("import-photos", sys.argv[1:]))
