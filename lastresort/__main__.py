"""The command line, as `python -m lastresort`."""

from lastresort.adapters.console import main

main()
