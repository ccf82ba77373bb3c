"""A log as Inspect has it: a sample for each branch, its turns as messages, the law's events between them, and a score
for each rule, which is how many findings an audit has under it.

Without words a message says that there is a digest in their place. A branch begins with a BranchEvent, which names the
branch that it is from.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from inspect_ai.event import BranchEvent, Event, InfoEvent
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalMetric, EvalResults, EvalSample, EvalScore, EvalSpec
from inspect_ai.log import write_eval_log as write_log
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser
from inspect_ai.scorer import Score

from lastresort.domain.events import (
    AssistantTurnTaken,
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    RecordedEvent,
    UserTurnTaken,
    content_of,
)
from lastresort.domain.law import RULES
from lastresort.domain.turn_text import readable
from lastresort.projections import audit
from lastresort.projections.transcript import describe

TASK = "lastresort"
NO_WORDS = "[words are not in this log]"


def write_eval_log(log: Sequence[RecordedEvent], path: Path, words: Mapping[str, str] | None = None) -> int:
    """Write a log as an eval log; return how many samples are in it.

    Args:
        log: all events of a log: it is in memory, as Inspect's own logs are.
        path: `.eval` or `.json`, which says the form.
        words: by digest, if they are to be in it.

    Raises:
        ValueError: the log is empty.
    """
    if not log:
        raise ValueError("the log is empty: there is no branch to make a sample of")
    findings = _findings(log)
    samples = [
        _sample(branch, path_of, words or {}, findings.get(branch, Counter()))
        for branch, path_of in _paths(log).items()
    ]
    models = list(dict.fromkeys(one.event.model for one in log if isinstance(one.event, ConversationStarted)))
    spec = EvalSpec(
        created=log[0].recorded_at,
        task=TASK,
        dataset=EvalDataset(name=TASK, samples=len(samples), sample_ids=[sample.id for sample in samples]),
        model=f"{TASK}/{models[0] if len(models) == 1 else len(models)}",  # Inspect knows one, with its provider
        config=EvalConfig(),
    )
    results = EvalResults(
        total_samples=len(samples), completed_samples=len(samples), scores=[_total(rule, findings) for rule in RULES]
    )
    found = EvalLog(version=2, status="success", eval=spec, results=results, samples=samples)
    write_log(found, str(path))
    return len(samples)


def _findings(log: Iterable[RecordedEvent]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for finding in audit(log).findings:
        found.setdefault(finding.branch, Counter()).update(finding.rules)
    return found


def _paths(log: Iterable[RecordedEvent]) -> dict[str, list[RecordedEvent]]:
    """Return the path of each branch: what it inherits of its parent, and its own."""
    paths: dict[str, list[RecordedEvent]] = {}
    for one in log:
        if isinstance(one.event, BranchOpened) and one.branch not in paths:
            paths[one.branch] = paths.get(one.event.parent, [])[: one.event.at]
        paths.setdefault(one.branch, []).append(one)
    return paths


def _sample(branch: str, path: Sequence[RecordedEvent], words: Mapping[str, str], findings: Counter[str]) -> EvalSample:
    messages = [message for one in path if (message := _message(one, words)) is not None]
    ended = next((one.event for one in path if isinstance(one.event, ConversationEnded)), None)
    return EvalSample(
        id=branch,
        epoch=1,
        input=next((one.text for one in messages if one.role == "user"), ""),
        target="",
        messages=messages,
        events=list(_events(path)),
        scores={rule: Score(value=findings.get(rule, 0)) for rule in RULES},
        metadata={
            "conversation": path[0].branch
            if not isinstance(path[0].event, BranchOpened)
            else path[0].event.conversation,
            "versions": path[-1].version,
            "ground": ended and ended.ground.value,
            "category": ended and ended.category,
        },
    )


def _message(one: RecordedEvent, words: Mapping[str, str]) -> ChatMessage | None:
    event = one.event
    said = words.get(content_of(event) or "")
    text = NO_WORDS if said is None else readable(one, said)
    told: dict[str, Any] = {"branch": one.branch, "version": one.version, "at": one.recorded_at}
    if isinstance(event, UserTurnTaken):
        return ChatMessageUser(id=str(one.event_id), content=text, metadata=told)
    if isinstance(event, AssistantTurnTaken):
        return ChatMessageAssistant(id=str(one.event_id), content=text, model=event.model, metadata=told)
    return None


def _events(path: Iterable[RecordedEvent]) -> Iterator[Event]:
    for one in path:
        at = datetime.fromisoformat(one.recorded_at)
        told = {"branch": one.branch, "version": one.version, "command_id": one.command_id}
        common: dict[str, Any] = {"uuid": str(one.event_id), "timestamp": at, "working_start": 0.0, "metadata": told}
        if isinstance(one.event, BranchOpened):
            yield BranchEvent(from_anchor=f"{one.event.parent}@{one.event.at}", **common)
        else:
            data = {"kind": one.kind, "told": describe(one.event), "event": one.event.model_dump(mode="json")}
            yield InfoEvent(source=TASK, data=data, **common)


def _total(rule: str, findings: Mapping[str, Counter[str]]) -> EvalScore:
    number = sum(found[rule] for found in findings.values())
    return EvalScore(name=rule, scorer=rule, metrics={"findings": EvalMetric(name="findings", value=number)})
