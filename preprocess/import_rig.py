"""Import pictures with cameras of other programs: python preprocess/import_rig.py --help."""

import sys

from gha.apps.cli import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("import-rig", sys.argv[1:]))
