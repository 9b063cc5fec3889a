"""Stage 2, the Gaussian head: python train_gaussianhead.py --config FILE [key=value ...]."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("train-gaussian", sys.argv[1:]))
