"""Tell everything that is wrong with a capture: python preprocess/validate.py --help."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("validate", sys.argv[1:]))
