"""The main job, end to end: play transcripts that take every path of the law, look at what became of them, audit.

Run by `make demo`. It fails if a conversation does not end as its name promises.
"""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from lastresort import EVENTS, Actor, HoldReason, Mode, Refused, Risk, Verdict, open_conversations

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(".demo")
STORE = f"sqlite:///{FOLDER}/demo.db"
LASTRESORT = Path(sys.executable).with_name("lastresort")

EXPECTED = {
    "ends-as-last-resort": "last_resort",
    "relents-after-a-redirection": "active",
    "relents-after-the-warning": "active",
    "changes-the-kind-of-abuse": "last_resort",
    "mild-rudeness-never-ends-it": "active",
    "crisis-amid-abuse": "active",
    "crisis-after-the-ending": "last_resort",
    "crisis-after-the-ending~*": "active",
    "asked-and-confirmed": "user_request",
    "asked-and-not-confirmed": "active",
    "goodbye": "active",
    "edits-before-the-offence": "last_resort",
    "edits-before-the-offence~*": "active",
    "edits-after-the-offence": "last_resort",
    "edits-after-the-offence~*": "active",
    "edits-the-first-turn": "last_resort",
    "edits-the-first-turn~*": "active",
    "nested-branches": "active",
    "nested-branches~*": "active",
    "frustration-is-not-abuse": "active",
    "ineligible-model": "active",
    "policy-change": "active",
    "hold-is-lifted": "active",
    "after-the-ending": "last_resort",
    "retry": "active",
    "words-are-held": "active",
    "in-the-shadow": "active",
}
"""What becomes of each conversation, and (`~*`) of the branches opened from it."""


def run(arguments: str, *, stdin: str | None = None, expect: int = 0) -> None:
    """Show a command, and run it as a user would."""
    print(f"\n$ lastresort {arguments}{f' < {stdin}' if stdin else ''}", flush=True)
    with open(stdin or "/dev/null", encoding="utf-8") as source:
        words = [word for part in shlex.split(arguments) for word in (sorted(glob(part)) or [part])]
        done = subprocess.run([LASTRESORT, *words], stdin=source, check=False)
    if done.returncode != expect:
        sys.exit(f"demo: exit status {done.returncode}, expected {expect}")


def in_python() -> None:
    """Do what no command does: end too soon, in shadow mode, where no warning is given. And hold words from erasure."""
    print("\nIn Python: words that are held from erasure, and an ending refused in shadow mode", flush=True)
    with open_conversations(STORE) as chats:
        operator = Actor(kind="operator", id="legal-team")
        held = chats.start(model="claude-opus-4-1", conversation="words-are-held")
        held.user_turn("My name is Ada.")
        held.hold("case-12", reason=HoldReason.LITIGATION, by=operator)
        if not isinstance(held.erase(2), Refused):
            sys.exit("demo: words were erased that are held")
        held.release_hold("case-12", by=operator)
        held.erase(2)

        shadow = chats.start(model="claude-opus-4-1", conversation="in-the-shadow", mode=Mode.SHADOW)
        for insult in ("You are useless.", "Useless, I say.", "Still useless.", "More useless by the minute."):
            shadow.user_turn(insult)
            shadow.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE)
            shadow.assistant_turn("I would rather help. What can I do for you?")
            shadow.redirect()
        shadow.withhold_warning("abuse")
        if not isinstance(shadow.end(category="abuse"), Refused):
            sys.exit("demo: a conversation was ended without a warning")


def glob(part: str) -> list[str]:
    return [str(path) for path in Path().glob(part)] if "*" in part else []


def check() -> None:
    """Hold what became of each branch against what its name promises."""
    shown = subprocess.run([LASTRESORT, "views", "--json", "--store", STORE], check=True, capture_output=True)
    views = json.loads(shown.stdout)
    rows = [*views["active"], *views["ended"]]
    wrong, seen = [], set()
    for row in rows:
        root = row["branch"] == row["conversation"]
        name = row["conversation"] if root or row["conversation"] == "retry" else row["conversation"] + "~*"
        seen.add(name)
        status = row["ground"] or "active"
        if EXPECTED.get(name) != status:
            wrong.append(f"{row['branch']} is {status}, expected {EXPECTED.get(name)}")
    wrong += [f"{name} is missing" for name in EXPECTED if name not in seen]
    if wrong:
        sys.exit("demo: " + "; ".join(wrong))
    print(f"\n{len(rows)} branches came to the end that their names promise.")


def check_kinds() -> None:
    """Hold the log against the law: no kind of event is left out."""
    exported = subprocess.run([LASTRESORT, "export", STORE], check=True, capture_output=True, text=True)
    seen = {json.loads(line)["kind"] for line in exported.stdout.splitlines()}
    if missing := sorted(set(EVENTS) - seen):
        sys.exit(f"demo: nothing of this kind happened: {', '.join(missing)}")
    print(f"All {len(seen)} kinds of events happened.")


def main() -> None:
    if Path.cwd() != ROOT:
        sys.exit(f"demo: run it from {ROOT}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    run(f"simulate examples/*.jsonl --store {STORE}")
    run(f"simulate examples/other-model/*.jsonl --model claude-haiku-4-5 --store {STORE}")
    run(f"chat --offline --conversation policy-change --store {STORE}", stdin="examples/policy-change.txt")
    run(f"chat --offline --conversation hold-is-lifted --store {STORE}", stdin="examples/hold-is-lifted.txt")
    after = f"chat --offline --conversation after-the-ending --policy 2026-07 --store {STORE}"
    run(after, stdin="examples/after-the-ending.txt")
    run(f"chat --offline --conversation retry --store {STORE}", stdin="examples/retry.txt")
    in_python()
    run(f"show words-are-held --store {STORE}")
    run(f"show in-the-shadow --store {STORE}")
    run(f"views --store {STORE}")
    run(f"tree nested-branches --store {STORE}")
    run(f"show ends-as-last-resort --store {STORE}")
    run(f"show crisis-amid-abuse --store {STORE}")
    run(f"why ineligible-model --store {STORE}", expect=1)  # rules stand in the way
    run(f"audit {STORE}")
    check()
    check_kinds()


if __name__ == "__main__":
    main()
