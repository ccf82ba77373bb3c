"""`make fuzz`: hand in files that atheris makes, guided by which lines of our code they reach, for as long as is asked.

What comes of each file is checked as in test_fuzz.py, twice over: by the bytes, beginning with valid files; and by the
grammar, where the bytes that atheris makes are the choices that Hypothesis draws by. What is found is kept in .fuzz/,
and the next run begins there. A file that something else than the documented error comes of ends the run, and is
kept too.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEPT = Path(__file__).resolve().parent.parent / ".fuzz"
MOST_BYTES = 2**16
MEGABYTES = 1024
TARGETS = ("transcripts", "logs", "policies")


def fuzz(target: str, way: str, seconds: int) -> None:
    """Hand in files until the time is over. Does not return."""
    import atheris  # here and not above, since what is imported from here on is watched

    with atheris.instrument_imports(include=["lastresort", "tomllib"]):
        from hypothesis import given, settings

        from lastresort import PROFILES

        from . import broken_files as of
        from .test_fuzz import PROFILE, take_log, take_policy, take_transcripts

    take, grammar, valid = {
        "transcripts": (take_transcripts, of.files(of.TRANSCRIPTS), [one.read_bytes() for one in of.TRANSCRIPTS]),
        "logs": (take_log, of.files(of.LOGS), [one.read_bytes() for one in of.LOGS]),
        "policies": (take_policy, of.policies(), ["\n".join(of.toml_of(p)).encode() for p in PROFILES.values()]),
    }[target]
    path = Path(tempfile.mkdtemp()) / "in"
    importable = {name.partition(":")[0] for name in of.NAMES} - set(sys.modules)
    corpus = KEPT / f"{target}-{way}"
    corpus.mkdir(parents=True, exist_ok=True)

    def hand_in(data: bytes) -> None:
        take(path, data)
        assert importable.isdisjoint(sys.modules), "a file had something imported"

    entry: Callable[[bytes], object] = hand_in
    if way == "grammar":
        generated: Any = settings(PROFILE)(given(grammar)(hand_in))
        entry = generated.hypothesis.fuzz_one_input
    else:
        for number, data in enumerate(valid):
            (corpus / f"valid-{number}").write_bytes(data)
    options = {
        "max_total_time": seconds, "max_len": MOST_BYTES, "rss_limit_mb": MEGABYTES, "print_final_stats": 1,
        "artifact_prefix": f"{KEPT}/{target}-{way}-",
    }  # fmt: skip
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)], entry)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description="Hand in files, guided by the lines of code that they reach.")
    parser.add_argument("--seconds", type=int, default=600, help="for each kind of file (default: %(default)s)")
    parser.add_argument("--target", action="append", choices=TARGETS, help="this kind only; may be repeated")
    parser.add_argument("--way", choices=("bytes", "grammar"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    targets = asked.target or TARGETS
    if asked.way:
        fuzz(targets[0], asked.way, asked.seconds)
    print(f"{'':12}{'by':10}{'executions':>12}{'places reached':>16}{'most memory':>14}", flush=True)
    failed = False
    for target in targets:
        for way in ("bytes", "grammar"):
            command = [
                sys.executable,
                "-m",
                "tests.fuzz",
                "--target",
                target,
                "--way",
                way,
                "--seconds",
                str(asked.seconds // 2),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
            told = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
            reached = re.findall(r" cov: (\d+) ", done.stderr)
            executions, peak = int(told.get("number_of_executed_units", 0)), told.get("peak_rss_mb", "?")
            print(f"{target:12}{way:10}{executions:>12,}{reached[-1] if reached else '?':>16}{peak:>11} MB", flush=True)
            if done.returncode != 0 or executions == 0:
                failed = True
                print(done.stdout[-2_000:], done.stderr[-4_000:], sep="\n", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
