"""Measure an avatar on what was held out: python evaluate.py --config FILE [key=value ...]."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("evaluate", sys.argv[1:]))
