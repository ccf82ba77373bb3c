"""What people use: the command line, what it shows, and the chat in the terminal."""

import sys

from lastresort.adapters import missing


def main() -> None:
    """Run the command line, or say what it needs where only the core is installed."""
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        try:
            missing(error, "the command line", "cli")
        except ModuleNotFoundError as said:
            print(f"lastresort: {said}", file=sys.stderr)
            sys.exit(2)
    run()
