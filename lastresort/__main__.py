"""The command line, as `python -m lastresort`."""

import sys

from lastresort import _HIDDEN

try:
    from lastresort.adapters.console import main
except ModuleNotFoundError as error:
    if error.name != "lastresort.adapters":
        raise
    print(f"lastresort: {_HIDDEN}", file=sys.stderr)
    sys.exit(2)

main()
