"""`python -m gridgate` is the `gridgate` command."""

import sys

from gridgate.pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
