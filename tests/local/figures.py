"""The figures of the card: `python -m tests.local.figures ../shared/data/convabuse/valid.jsonl`."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

from lastresort.adapters.assessors.local import UNSURE
from lastresort.adapters.assessors.local_model import shipped_model
from lastresort.adapters.importers.measuring import Rate
from lastresort.adapters.importers.transcripts import Turn, read_transcripts

from .train import HERE, Judged, judged_turns, lines

LEET = str.maketrans("oieast", "01345$"[:6])
LOOKS_LIKE = str.maketrans("aeop", "\u0430\u0435\u043e\u0440")
FILLER = "We talked about the garden, the weather and the train to the sea. " * 14
WAYS: dict[str, Callable[[str], str]] = {
    "as it was written": str,
    "digits and signs for letters": lambda text: text.lower().translate(LEET),
    "Cyrillic letters that look alike": lambda text: text.translate(LOOKS_LIKE),
    "letters apart": " ".join,
    "each word's letters dotted": lambda text: " ".join(".".join(word) for word in text.split()),
    "emoji after it": lambda text: text + " \U0001f621\U0001f621",
    "within a program": lambda text: f'for name in names:\n    print("{text}", name)\n',
    "after 900 characters of something else": lambda text: FILLER + text,
}


def main(path: Path) -> None:
    """Print them."""
    model, turns = shipped_model(), judged_turns(path)
    harmful = [one for one in turns if one.verdict == "harmful"]
    for way, written in WAYS.items():
        print(f"recall, {way}: {_called([written(one.text) for one in harmful])}")
    trained = {one.text.strip().lower() for one in judged_turns(path.with_name("train.jsonl"))}
    fresh = [one for one in turns if one.text.strip().lower() not in trained]
    print(f"recall, texts that do not stand in train: {_called(_texts(fresh, True))}")
    print(f"called harmful, not harmful and not in train: {_called(_texts(fresh, False))}")
    for hand in ("another", "a_third"):
        no_abuse = lines(f"not_abuse_by_{hand}_hand.txt")
        print(f"called harmful, no abuse, by {hand.replace('_', ' ')} hand: {_called(no_abuse)}")
        unsure = sum(model.probability(line) >= UNSURE and not model.hears_abuse(line) for line in no_abuse)
        print(f"called ambiguous, of these: {unsure}")
    examples = read_transcripts(sorted((HERE.parents[1] / "examples").glob("*.jsonl")))
    said = [turn for told in examples for turn in told.turns if isinstance(turn, Turn) and turn.role == "user"]
    for verdict in ("harmful", None):
        text = sorted({turn.text for turn in said if (turn.verdict == "harmful") is (verdict == "harmful")})
        print(f"called harmful, {verdict or 'other'} turns of examples/, by other hands: {_called(text)}")
    words = ["".join(random.Random(n).choices("abcdefghijklmnop", k=6)) for n in range(143)]
    began = process_time()
    for _ in range(100):
        model.score(" ".join(words))
    print(f"1,000 characters, all words different: {(process_time() - began) * 10:.2f} ms of CPU")


def _texts(turns: list[Judged], harmful: bool) -> list[str]:
    return [one.text for one in turns if (one.verdict == "harmful") is harmful]


def _called(texts: list[str]) -> Rate:
    model = shipped_model()
    return Rate(sum(map(model.hears_abuse, texts)), len(texts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
