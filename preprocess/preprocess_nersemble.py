"""Extract the videos of a NeRSemble download into captures: python preprocess/preprocess_nersemble.py --help."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("preprocess-nersemble", sys.argv[1:]))
