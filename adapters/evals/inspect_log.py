"""A log as Inspect has it: a sample for each branch, its turns as messages, the law's events between them, and a score
for each rule, which is how many findings an audit has under it.

Without words a message says that there is a digest in their place. A branch begins with a BranchEvent, which names the
branch that it is from.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
)
from inspect_ai.log import write_eval_log as write_log
from inspect_ai.model import ModelUsage
from inspect_ai.scorer import Score

from lastresort.domain.events import (
    AssistantTurnTaken,
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    RecordedEvent,
)
from lastresort.domain.law import RULES
from lastresort.projections import audit

from .turns import NOTHING, SOURCE, Said, events_of, messages_of, prompt_of, usage_of


def write_eval_log(log: Sequence[RecordedEvent], path: Path, said: Said = NOTHING) -> int:
    """Write a log as an eval log; return how many samples are in it.

    Args:
        log: all events of a log: it is in memory, as Inspect's own logs are.
        path: `.eval` or `.json`, which says the form.
        said: the words that are to be in it.

    Raises:
        ValueError: the log is empty.
    """
    if not log:
        raise ValueError("the log is empty: there is no branch to make a sample of")
    findings = _findings(log)
    samples = [
        _sample(branch, path_of, said, findings.get(branch, Counter())) for branch, path_of in _paths(log).items()
    ]
    models = list(dict.fromkeys(one.event.model for one in log if isinstance(one.event, ConversationStarted)))
    times = sorted(one.recorded_at for one in log)
    spec = EvalSpec(
        created=log[0].recorded_at,
        task=SOURCE,
        dataset=EvalDataset(name=SOURCE, samples=len(samples), sample_ids=[sample.id for sample in samples]),
        model=f"{SOURCE}/{models[0] if len(models) == 1 else len(models)}",  # Inspect knows one, with its provider
        config=EvalConfig(),
    )
    results = EvalResults(
        total_samples=len(samples), completed_samples=len(samples), scores=[_total(rule, findings) for rule in RULES]
    )
    stats = EvalStats(started_at=times[0], completed_at=times[-1], model_usage=_usage(log))
    found = EvalLog(version=2, status="success", eval=spec, results=results, stats=stats, samples=samples)
    with ThreadPoolExecutor(1) as apart:  # where a loop runs, Inspect would have all of asyncio do otherwise for good
        apart.submit(write_log, found, str(path)).result()
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


def _sample(branch: str, path: Sequence[RecordedEvent], said: Said, findings: Counter[str]) -> EvalSample:
    first = path[0].event
    conversation = first.conversation if isinstance(first, BranchOpened) else path[0].branch
    messages = [*prompt_of(conversation, said), *(message for one in path for message in messages_of(one, said))]
    ended = next((one.event for one in path if isinstance(one.event, ConversationEnded)), None)
    times = sorted(one.recorded_at for one in path)
    lasted = (datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0])).total_seconds()
    return EvalSample(
        id=branch,
        epoch=1,
        input=next((one.text for one in messages if one.role == "user"), ""),
        target="",
        messages=messages,
        events=list(events_of(path, said)),
        scores={rule: Score(value=findings.get(rule, 0)) for rule in RULES},
        model_usage=_usage(path),
        started_at=times[0],
        completed_at=times[-1],
        total_time=lasted,
        working_time=lasted,
        metadata={
            "conversation": conversation,
            "versions": path[-1].version,
            "ground": ended and ended.ground.value,
            "category": ended and ended.category,
        },
    )


def _usage(log: Iterable[RecordedEvent]) -> dict[str, ModelUsage]:
    """Return the tokens that answers took, by model."""
    found: dict[str, ModelUsage] = {}
    for one in log:
        if isinstance(one.event, AssistantTurnTaken) and (usage := usage_of(one)) is not None:
            model = one.event.model
            found[model] = found[model] + usage if model in found else usage
    return found


def _total(rule: str, findings: Mapping[str, Counter[str]]) -> EvalScore:
    number = sum(found[rule] for found in findings.values())
    return EvalScore(name=rule, scorer=rule, metrics={"findings": EvalMetric(name="findings", value=number)})
