"""The words that the tests are written in: those of the kit, some more, and anything at all, for properties."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from lastresort.adapters.testing.given import Given
from lastresort.adapters.testing.vocabulary import *  # noqa: F403  # the kit says by __all__ what it lends
from lastresort.adapters.testing.vocabulary import ABUSED, MODEL, REDIRECTED, STARTED, policy, started
from lastresort.domain import commands as ask
from lastresort.domain import events as log
from lastresort.domain.events import EVENTS, Event
from lastresort.domain.policy import Policy
from lastresort.domain.values import (
    EDITIONS,
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    ErasureCause,
    ForkCause,
    Ground,
    HoldReason,
    LegalHold,
    Mode,
    OpenRisk,
    Rating,
    Risk,
    SecondOpinion,
    Usage,
    Verdict,
)

Tell = Callable[..., Given]
"""What the fixture `given` is: it tells a history of `Step`s, each of which must be lawful."""

DATED = Actor(kind=ActorKind.MODEL, id="claude-opus-4-1-20250805")
"""MODEL, by the name of its snapshot."""
DRESSED = Actor(kind=ActorKind.MODEL, id="us.anthropic.claude-opus-4-1-20250805-v1:0")
"""MODEL, by the name that a platform gives its snapshot."""
INELIGIBLE = Actor(kind=ActorKind.MODEL, id="claude-haiku-4-5")
"""A model that no shipped policy lets end anything."""
OTHER_USER = Actor(kind=ActorKind.USER, id="other")
FIRST = started(law=1)
"""Begun in edition 1, for rules in the form that they have there; `test_rules_second.py` has the form since."""
SECOND = started(law=2)
SHADOWED = started(law=2, mode=Mode.SHADOW)
"""Begun in edition 2, and in shadow mode."""

AN_EPISODE = (STARTED, ABUSED, REDIRECTED)
"""One unit of harm, answered by the redirection at 5."""

STRICT = policy(min_failed_redirections=5, productive_to_close=1, min_severity=3)
LENIENT = policy(min_failed_redirections=2, productive_to_close=3, min_severity=1)

_ids = st.sampled_from(["~" * 128, "claude", '"\\"']) | st.characters(min_codepoint=33, max_codepoint=126)
_few_ids = st.sampled_from(["a", "b", "c"])
_digests = st.integers(0, 2**256 - 1).map("sha256:{:064x}".format)
_versions = st.integers(1, 40) | st.integers(1, 2**53)
_categories = st.sampled_from(["abuse", "threats", "a", "z" + 63 * "-", "z_9"])
_actors = st.builds(Actor, kind=st.sampled_from(ActorKind), id=st.sampled_from([MODEL.id, "a"]) | _ids)
_dates = st.none() | st.dates().map(str)
_tuples_of_versions = st.lists(_versions, max_size=4).map(tuple)


def numbered_names(count: int, length: int) -> tuple[str, ...]:
    return tuple(f"n{number:0{length - 1}}" for number in range(count))


LARGE: dict[str, Any] = {
    "name": "large",
    "categories": numbered_names(100, 64),
    "eligible_models": numbered_names(100, 128),
    "may_clear_risk": numbered_names(100, 128),
}
"""The fields of a policy of 33,056 bytes, each of them within its own limit."""


def _tuples(of: st.SearchStrategy[Any], **options: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=3, **options).map(tuple)


policies = st.builds(
    Policy,
    name=_ids,
    min_failed_redirections=st.integers(2, 4),
    productive_to_close=st.integers(1, 3),
    categories=_tuples(_categories),
    min_severity=st.integers(1, 3),
    eligible_models=_tuples(st.sampled_from(["claude-*", "*"]) | _ids),
    handshake=st.booleans(),
    hold_on=st.sets(st.sampled_from([Risk.POSSIBLE, Risk.UNKNOWN])).map(lambda more: (Risk.IMMINENT, *more)),
    trusted_for_risk=_tuples(st.sampled_from([ActorKind.ASSESSOR, ActorKind.OPERATOR, ActorKind.SYSTEM])),
    may_clear_risk=_tuples(_ids),
    second_opinion=st.sampled_from(SecondOpinion),
    min_redirections_to_warn=st.integers(2, 4),
    relapse_step=st.integers(0, 2),
    relapse_cap=st.integers(0, 3),
    groups=st.sampled_from([{}, {"malice": ("abuse", "threats")}, {"a": ("a", "z_9"), "threats": ("threats",)}]),
    hold_on_self=st.none() | st.just((Risk.IMMINENT,)),
    hold_on_others=st.none() | st.just((Risk.IMMINENT, Risk.UNKNOWN)),
    leaving_voids_warnings=st.booleans(),
)
"""Any policy that can be, with numbers small enough to be reached."""

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "about": st.sampled_from(About),
    "account": st.none() | _ids,
    "answers": _versions,
    "arm": st.none() | _ids,
    "at": _versions,
    "attempted": _ids,
    "by": _actors,
    "category": _categories,
    "child": _few_ids,
    "content": _digests,
    "contents": _tuples(_digests),
    "conversation": _few_ids,
    "evidence": st.builds(
        log.Evidence,
        redirections=_tuples_of_versions,
        **{
            name: st.none() | _versions for name in ("warning", "tested_by", "hope", "request", "confirmation")
        },
    ),
    "ground": st.sampled_from(Ground),
    "law": st.sampled_from(EDITIONS),
    "mode": st.sampled_from(Mode),
    "absolved": st.booleans(),
    "handshake": st.booleans(),
    "hold": _few_ids,
    "holds": _tuples(st.builds(LegalHold, hold=_few_ids, reason=st.sampled_from(HoldReason), until=_dates)),
    "id": _ids,
    "model": st.sampled_from([MODEL.id, "m"]) | _ids,
    "names_behaviour": st.booleans(),
    "outcome": st.sampled_from(AppealOutcome),
    "parent": _few_ids,
    "policy": policies,
    "policy_hash": _digests,
    "rating": st.none() | st.sampled_from(Rating),
    "reason": st.sampled_from(HoldReason),
    "redirects": st.booleans(),
    "risk": _few_ids,
    "risks": _tuples(st.builds(OpenRisk, risk=_few_ids, about=st.sampled_from(About))),
    "rules": _tuples(_ids, min_size=1),
    "seen": _versions,
    "states_consequence": st.booleans(),
    "stop_reason": st.none() | _ids,
    "turn": _versions,
    "until": _dates,
    "usage": st.none() | st.builds(Usage, input_tokens=st.integers(0, 2**53), output_tokens=st.integers(0, 2**53)),
}  # fmt: skip


@st.composite
def _any_of(draw: st.DrawFn, kind: type[Any]) -> Any:
    fields = {name: draw(_FIELDS[name]) for name in kind.model_fields if name in _FIELDS}
    if "cause" in kind.model_fields:
        fields["cause"] = draw(st.sampled_from(ErasureCause if "contents" in fields else ForkCause))
    if "verdict" in kind.model_fields:
        verdict = draw(st.sampled_from(Verdict))
        harm = verdict is Verdict.HARMFUL
        fields |= {"verdict": verdict, "risk": draw(st.sampled_from(Risk))}
        fields |= {
            "category": fields["category"] if harm else None,
            "severity": draw(st.integers(1, 3)) if harm else None,
        }
    if "category" in fields and fields.get("ground") is Ground.USER_REQUEST:
        fields["category"] = None
    if "policy" in fields and "policy_hash" in fields:
        fields["policy_hash"] = fields["policy"].hash
    return kind(**fields)


def events_of(kind: str) -> st.SearchStrategy[Event]:
    """Any event of a kind that can be written, lawful or not."""
    return _any_of(EVENTS[kind])


any_event = st.sampled_from(sorted(EVENTS)).flatmap(events_of)
any_command = st.sampled_from(ask.Command.__args__).flatmap(_any_of)
