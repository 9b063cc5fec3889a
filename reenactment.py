"""Drive an avatar and write a video: python reenactment.py --config FILE [key=value ...]."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("reenact", sys.argv[1:]))
