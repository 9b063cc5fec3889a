"""Stage 1, the mesh head: python train_meshhead.py --config config/train_meshhead_demo.yaml [key=value ...]."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("train-mesh", sys.argv[1:]))
