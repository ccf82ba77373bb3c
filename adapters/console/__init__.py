"""What people use: the command line, what it shows, and the chat in the terminal."""

import os
import signal
import sys
from types import FrameType

from lastresort.adapters import missing

INTERRUPTED = 130  # as shells have it: 128 and the number of the signal


def main() -> None:
    """Run the command line, or say what it needs where only the core is installed."""
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a job in the background may be deaf to it
    if heeded:
        signal.signal(signal.SIGINT, _leave)
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        try:
            missing(error, "the command line", "cli")
        except ModuleNotFoundError as said:
            print(f"lastresort: {said}", file=sys.stderr)
            sys.exit(2)
    try:
        if heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:  # before the command began, or after its end
        sys.exit(INTERRUPTED)


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave at once on Ctrl-C while modules are imported: nothing has been done that could be lost.

    An exception would come up in the middle of somebody's module, which may show it, or go on as if it had not been.
    """
    os._exit(INTERRUPTED)
