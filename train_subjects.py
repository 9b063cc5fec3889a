"""Many subjects, one per GPU: python train_subjects.py CAPTURE ... --mesh FILE --gaussian FILE."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("train-subjects", sys.argv[1:]))
