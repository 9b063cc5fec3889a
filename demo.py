"""Make a small capture, train both stages on it, evaluate and reenact: python demo.py."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("demo", sys.argv[1:]))
