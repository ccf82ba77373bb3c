"""Real conversations, as transcripts, played under the law: the table of docs/explanation/real-conversations.md.

    python -m bench.conversations train.jsonl valid.jsonl

Each file is played into a store of its own, which is thrown away, and audited.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lastresort import Policy
from lastresort.adapters.importers.simulate import Simulation
from lastresort.adapters.importers.transcripts import read_transcripts
from lastresort.domain.events import AttemptRefused, TurnAssessed
from lastresort.domain.values import Verdict
from lastresort.projections import audit

MODEL = "claude-opus-4-1"
_KINDS = {
    "user turns": "UserTurnTaken",
    "verdicts": "TurnAssessed",
    "redirections": "RedirectionAttempted",
    "warnings": "WarningGiven",
    "endings": "ConversationEnded",
    "holds": "RiskRaised",
}


def figures(path: Path) -> dict[str, int]:
    """Play the transcripts of a file under the default policy, and count what came of it."""
    transcripts = read_transcripts([path])
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(f"sqlite:///{folder}/log.db", model=MODEL, policy=Policy.default())
        try:
            for transcript in transcripts:
                simulation.play(transcript)
            log = list(simulation.conversations.store.log())
        finally:
            simulation.conversations.close()
    kinds = Counter(one.kind for one in log)
    harmful = (isinstance(one.event, TurnAssessed) and one.event.verdict is Verdict.HARMFUL for one in log)
    refused = (isinstance(one.event, AttemptRefused) and one.event.attempted == "ConversationEnded" for one in log)
    counted = {name: kinds[kind] for name, kind in _KINDS.items()}
    return {
        "conversations": len(transcripts),
        "user turns": counted.pop("user turns"),
        "verdicts": counted.pop("verdicts"),
        "of them harmful": sum(harmful),
        "redirections": counted.pop("redirections"),
        "warnings": counted.pop("warnings"),
        "refused attempts to end": sum(refused),
        **counted,
        "events": len(log),
        "findings of the audit": len(audit(log).findings),
    }


def table(columns: Mapping[str, Mapping[str, int]]) -> str:
    """Return figures as a table in Markdown, a column each."""
    names = list(next(iter(columns.values())))
    rows = [f"| {name} | {' | '.join(f'{column[name]:,}' for column in columns.values())} |" for name in names]
    return "\n".join([f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}", *rows])


def main(paths: Sequence[str]) -> None:
    """Print the table of some files."""
    print(table({Path(path).stem: figures(Path(path)) for path in paths}))


if __name__ == "__main__":
    main(sys.argv[1:])
