"""``python -m gha`` is the command ``gha``."""

import sys

from gha.apps.cli import main

if __name__ == "__main__":
    sys.exit(main())
