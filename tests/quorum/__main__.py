"""PostgreSQL with a quorum, whose servers fail under load, and a checker that is told all that clients were told.

    python -m tests.quorum --count 50 --seed 1                      until the leader was replaced 50 times
    python -m tests.quorum --control async                          must lose something: nobody waits for standbys
    python -m tests.quorum --control barrier                        the same: answers from the log without a barrier
    python -m tests.quorum --count 3 --only leader_killed,disk_lost
    python -m tests.quorum --compare 1,4                            what it costs to wait for a standby; on real disks

It runs in network namespaces of its own where it may make some (as root), with disks in memory; else on the loopback,
without the faults that need them. It prints a line for each fault, a summary, and exits with 1 if it found anything.
"""

import argparse
import os
import sys
import tempfile

from .network import alone, is_alone, missing


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.quorum", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=2, help="how often the leader is to be replaced")
    parser.add_argument("--minutes", type=float, default=1e9, help="after which no more faults begin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--deadline", type=float, default=2, help="seconds that a call of a client may take")
    parser.add_argument("--only", default="", help="faults, by name, with commas between them")
    parser.add_argument("--control", choices=["async", "barrier"], help="what to take away: something must be found")
    parser.add_argument("--compare", default="", help="numbers of clients, with commas between them")
    parser.add_argument("--brief", action="store_true", help="do not mend the last fault")
    parser.add_argument("--loopback", action="store_true", help="no namespaces, even where there could be some")
    options = parser.parse_args()
    if (why := missing()) is not None:
        print(f"cannot run here: {why}")
        return 2
    if not (options.loopback or options.compare or is_alone()):
        command, environment = alone([sys.executable, "-m", "tests.quorum", *sys.argv[1:]])
        if command[0] == "unshare":
            os.execvpe(command[0], command, environment)
    from .run import run  # with all that is needed only now

    with tempfile.TemporaryDirectory() as own:
        os.environ.setdefault("XDG_RUNTIME_DIR", own)  # where there is none, the package that has PostgreSQL warns
        return run(options)


if __name__ == "__main__":
    sys.exit(main())
