"""Fit a parametric face model to the landmarks of a capture or a video: python preprocess/fit_3dmm.py --help."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("fit-3dmm", sys.argv[1:]))
