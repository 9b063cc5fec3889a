"""Film a parametric head into a capture: python preprocess/make_capture.py --help."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("make-capture", sys.argv[1:]))
