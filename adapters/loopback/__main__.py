"""Serve the loopback Messages API by hand: `python -m lastresort.adapters.loopback --port 8765`."""

import argparse
import signal
import sys

from .answers import Script
from .models import Adversary, always_calls, never_calls
from .server import loopback


def main() -> None:
    """Serve until interrupted; print the address."""
    prog = "python -m lastresort.adapters.loopback"
    parser = argparse.ArgumentParser(prog, description=__doc__, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--port", type=int, default=0, help="the port; a free one if none is given")
    parser.add_argument("--model", choices=["never", "always", "adversary"], default="never", help="what answers")
    parser.add_argument("--tool", default="end_conversation", help="the tool that the model `always` calls")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the adversary")
    parser.add_argument("--enforce", action="store_true", help="refuse what breaks a promise, not only report it")
    chosen = _parsed(parser)
    models: dict[str, Script] = {
        "never": never_calls(), "always": always_calls(chosen.tool), "adversary": Adversary(chosen.seed),
    }  # fmt: skip
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # for the threads as well: it is waited for here
    try:
        with loopback(models[chosen.model], enforce=chosen.enforce, port=chosen.port) as api:
            print(f"ANTHROPIC_BASE_URL={api.url} ANTHROPIC_API_KEY=loopback", flush=True)
            signal.sigwait(stops)
    except OSError as error:
        sys.exit(f"cannot serve on port {chosen.port}: {error.strerror}; name another with --port")
    for report in api.reports:
        print(f"{report.kind}: call {report.request}: {report.detail}", file=sys.stderr)


def _parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the arguments. What was typed by mistake is not repeated: it may end up in a log."""
    try:
        chosen, more = parser.parse_known_args()
    except argparse.ArgumentError as error:
        parser.error(f"argument {error.argument_name}: this is not what it takes: see --help")
    if more:
        parser.error(f"no such option, or more arguments than it takes: {len(more)} too many")
    return chosen


if __name__ == "__main__":
    main()
