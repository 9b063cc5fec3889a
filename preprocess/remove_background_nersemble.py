"""Mask the subject of a capture: python preprocess/remove_background_nersemble.py --help."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("remove-background", sys.argv[1:]))
