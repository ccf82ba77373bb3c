"""The words of the law, for the second reading: unit, judgement, warning, episode, as the law defines them.

(2) marks what is so since edition 2 of it. This module and the others of the second reading (`second_path`,
`second_reading`) are written from the law alone. They import the types of events, values and policies
and nothing else of the domain, so a mistake in what an audit folds and asks cannot be in what it is compared with.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from lastresort.domain.policy import Policy
from lastresort.domain.values import ActorKind, Verdict

Judge = tuple[ActorKind, str]

RECALLED = 100
"""An ending lists at most so many failed redirections, the latest ones; and no policy asks for more."""

# --- Unit, verdict, judgement -----------------------------------------------------------------------------------------

MILDEST_FIRST = (Verdict.PRODUCTIVE, Verdict.UNPRODUCTIVE, Verdict.AMBIGUOUS, Verdict.HARMFUL)


class Opinion(NamedTuple):
    """What a verdict says of a unit, but for risk."""

    verdict: Verdict
    category: str | None
    severity: int | None


class WarningRecord(NamedTuple):
    """A warning that was given, to whom, and the user turn that tested it first."""

    version: int
    category: str
    is_complete: bool
    user: Judge
    tested_by: int | None = None


class Request(NamedTuple):
    """Where a user asked to end, or confirmed it."""

    version: int
    user: Judge


class Terms(NamedTuple):
    """What governs: the numbers of a policy, the policy itself for all else, and the edition of the law."""

    law: int
    policy: Policy
    min_failed_redirections: int
    min_redirections_to_warn: int
    productive_to_close: int
    relapse_step: int
    relapse_cap: int
    min_severity: int

    @classmethod
    def of(cls, policy: Policy, law: int) -> "Terms":
        return cls(
            law,
            policy,
            policy.min_failed_redirections,
            policy.min_redirections_to_warn,
            policy.productive_to_close,
            policy.relapse_step,
            policy.relapse_cap,
            policy.min_severity,
        )

    def or_stricter(self, policy: Policy, law: int) -> "Terms":
        """The stricter value of each number. An episode that closes sooner voids warnings sooner."""
        return Terms(
            law,
            policy,
            max(self.min_failed_redirections, policy.min_failed_redirections),
            max(self.min_redirections_to_warn, policy.min_redirections_to_warn),
            min(self.productive_to_close, policy.productive_to_close),
            min(self.relapse_step, policy.relapse_step),
            min(self.relapse_cap, policy.relapse_cap),
            max(self.min_severity, policy.min_severity),
        )

    def to_close(self, relapses: int) -> int:
        """How many productive units in a row close an episode. (2) More after each one that closed under a warning."""
        if self.law == 1:
            return self.productive_to_close
        return self.productive_to_close + min(self.relapse_step * relapses, self.relapse_cap)


class _Unit(NamedTuple):
    first: int
    name: int  # the latest of its turns
    users: frozenset[Judge]  # whose turns they are
    user: Judge  # whose the latest is
    terms: Terms  # that governed since its first turn
    since_verdict: Terms | None = None  # and since its first verdict
    first_verdict: int = 0
    opinions: frozenset[Opinion] = frozenset()
    latest: Mapping[Judge, Opinion] = {}  # of each judge; never changed
    judged: int = 0  # the latest of its turns that a verdict is about
    no_risk_by: frozenset[Judge] = frozenset()  # whose last word on its latest turn is that there is none
    at_risk: bool = False  # somebody saw a risk in one of its turns
    unsure: frozenset[tuple[Judge, int]] = frozenset()  # who said so, and of which turn, and has not said more since
    was_unsure: bool = False
    redirection: int | None = None
    warnings: tuple[WarningRecord, ...] = ()
    withheld: bool = False  # a warning was
    request: "Request | None" = None  # the latest
    absolved: bool = False


class Unit(_Unit):
    """The user turns since the last assistant turn, and all that was said and done about them.

    What is worked out of it is worked out once.
    """

    @cached_property
    def words(self) -> frozenset[Opinion]:
        """What counts of all that was said: every verdict; (2) the latest of each judge."""
        return self.opinions if self.terms.law == 1 else frozenset(self.latest.values())

    @cached_property
    def judgement(self) -> Verdict | None:
        """The mildest verdict; None as long as there is none."""
        given = {opinion.verdict for opinion in self.words}
        return next((verdict for verdict in MILDEST_FIRST if verdict in given), None)

    def is_harm_of(self, category: str | None) -> bool:
        """Judged harmful, its latest turn included, and every verdict names this category; (2) or one of its group."""
        if self.judgement is not Verdict.HARMFUL or self.judged != self.name:
            return False
        named = {opinion.category for opinion in self.words}
        if self.terms.law == 1:
            return named == {category}
        return all(is_same_harm(one, category, self.terms.policy) for one in named)

    def is_as_grave_as(self, least: int) -> bool:
        """Only harm is grave, and only if nobody thinks it mild."""
        return self.judgement is Verdict.HARMFUL and all((one.severity or 0) >= least for one in self.words)

    def counts_in(self, terms: Terms) -> bool:
        """Whether harm in it makes what was pending in an episode fail: any; (2) if it is grave, of `categories`."""
        named = {opinion.category for opinion in self.words}
        return terms.law == 1 or (named <= {*terms.policy.categories} and self.is_as_grave_as(terms.min_severity))

    @property
    def is_free_of_risk(self) -> bool:
        """Somebody trusted saw none in its latest turn, and nobody saw any, or was unsure; (2) or is unsure still."""
        in_doubt = self.was_unsure if self.terms.law == 1 else bool(self.unsure)
        trusted = self.terms.policy.trusted_for_risk
        return not self.at_risk and not in_doubt and any(kind in trusted for kind, _ in self.no_risk_by)

    def has(self, turn: int) -> bool:
        return self.first <= turn <= self.name


# --- Episode ----------------------------------------------------------------------------------------------------------


class Episode(NamedTuple):
    """A run of harm."""

    opened: int = 0  # at which version; 0 where none is open
    terms: Terms | None = None  # that governed in it
    productive: int = 0  # units in a row
    attempted: int = 0  # redirections
    pending: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    warnings: tuple[WarningRecord, ...] = ()
    withheld: bool = False  # a warning was
    relapses: int = 0  # episodes on the path that closed while a warning stood

    def warning_of(self, category: str | None) -> WarningRecord | None:
        return next((warning for warning in self.warnings if warning.category == category), None)

    def after(self, unit: Unit, judgement: Verdict | None) -> "Episode":
        """What a unit that is judged like this makes of it."""
        if judgement is not Verdict.HARMFUL:
            succeeded = judgement is Verdict.PRODUCTIVE
            episode = self._replace(productive=self.productive + 1, pending=()) if succeeded else self
            return episode.closed_if_it_can_be()
        if unit.absolved:
            return self
        # Any harm keeps it open; what was pending failed if the harm counts; a warning of this very harm was tested.
        # (2) It is governed from the beginning of its first unit, not from the first verdict.
        opened, since = (unit.first, unit.terms) if unit.terms.law != 1 else (unit.first_verdict, unit.since_verdict)
        terms = self.terms or since or unit.terms
        counts = unit.counts_in(terms)
        return self._replace(
            opened=self.opened or opened,
            terms=terms,
            productive=0,
            pending=() if counts else self.pending,
            failed=(*self.failed, *self.pending)[-RECALLED:] if counts else self.failed,
            warnings=tuple(_tested(warning, unit) for warning in self.warnings),
        )

    def closed_if_it_can_be(self) -> "Episode":
        """It closes after enough productive units in a row: redirections and warnings are void."""
        if self.terms is None or self.productive < self.terms.to_close(self.relapses):
            return self
        return Episode(relapses=self.relapses + (self.terms.law >= 2 and bool(self.warnings)))

    def going_on_from(self, unit: Unit) -> "Episode":
        """What was done about a unit of harm counts from the next unit on: what was tried is pending, a warning stands.

        A warning takes the place of an incomplete one of its category, never of a complete one.
        """
        standing = {warning.category: warning for warning in self.warnings}
        for warning in unit.warnings:
            if warning.category not in standing or not standing[warning.category].is_complete:
                standing[warning.category] = warning
        # (2) What counts toward an ending is grave: one unit of grave harm answers one redirection, the latest.
        tried = () if unit.redirection is None else (unit.redirection,)
        return self._replace(
            attempted=self.attempted + len(tried), pending=tried or self.pending, warnings=tuple(standing.values())
        )


def _tested(warning: WarningRecord, unit: Unit) -> WarningRecord:
    """Return a warning as a unit of harm leaves it. (2) Only the user to whom it was given can test it."""
    if warning.tested_by is not None or not unit.is_harm_of(warning.category):
        return warning
    if unit.terms.law != 1 and unit.users != {warning.user}:
        return warning
    return warning._replace(tested_by=unit.name)


# --- Names: which are the same model, which the same harm -------------------------------------------------------------

VOCABULARY = frozenset({
    "abuse", "harassment", "hate", "threats", "sexual_content", "sexual_minors", "violence", "terrorism", "weapons",
    "self_harm", "child_safety", "harmful_content", "privacy", "fraud", "spam", "other",
})  # fmt: skip
"""The categories of edition 2."""


def is_named(category: str | None, policy: Policy) -> bool:
    """Whether a category is one of the policy's or of the vocabulary. What has no category names none that is not."""
    return category is None or category in VOCABULARY or category in policy.categories


def is_same_harm(one: str | None, other: str | None, policy: Policy) -> bool:
    """Whether two categories are one, or in one group of the policy's."""
    return one == other or any(one in group and other in group for group in policy.groups.values())


_PLATFORMS = frozenset({
    "anthropic", "azure", "azure_ai", "bedrock", "bedrock_converse", "converse", "databricks", "github_copilot",
    "google", "invoke", "litellm_proxy", "openai", "openrouter", "vercel_ai_gateway", "vertex", "vertex_ai",
})  # fmt: skip
_PLACE = re.compile(r"[a-z]{2}(-gov)?-[a-z]+-\d|\d-month-commitment")
_ARN = re.compile(r"arn:aws[a-z-]*:bedrock:.*:(foundation-model|inference-profile)")
_BEDROCKS = frozenset({"", "us.", "us-gov.", "eu.", "apac.", "jp.", "au.", "ca.", "global."})
_VARIANT = re.compile(r"\[\d+[km]\]$|:(beta|exacto|extended|floor|free|nitro|online|thinking)$")
_DRESS = re.compile(r"(?<=\d)-v\d+(:\d+)*(:\d+k)?$")
_DATED_DRESS = re.compile(r"(claude-.+-20\d{6})-v\d+(:\d+)*(:\d+k)?")
_CLAUDE_2 = re.compile(r"claude-v2(:\d)?(:\d+k)?")
_FAMILIES = frozenset({"haiku", "opus", "sonnet", "fable"})
_SNAPSHOT = re.compile(r"@(\d{8}|latest|default)$|-(20\d{6}|20\d\d-\d\d-\d\d|latest)$")


def same_model(one: str | None, other: str) -> bool:
    """Whether two names differ only in a dated snapshot or in a platform's dress."""
    return one is not None and (one == other or undressed(one) == undressed(other))


def undressed(name: str) -> str:
    """Take off where a model is served, then in which variant, then which snapshot of it.

    anthropic.claude-opus-4-1-20250805-v1:0, anthropic/claude-opus-4.1:beta and claude-opus-4-1@20250805 are
    claude-opus-4-1. What cannot be told from a part of the model's own name stays: acme-2-v1 is not acme-2-v2.
    """
    bare = _SNAPSHOT.sub("", _without_vendor(_VARIANT.sub("", _without_place(name.lower()))))
    bare = "claude-3-5-sonnet" if bare == "claude-3-5-sonnet-v2" else bare  # Vertex's name of its second snapshot
    return (_in_anthropic_order(bare) if bare.startswith("claude-") else bare) or name.lower()


def _without_place(name: str) -> str:
    parts = name.split("/")
    while len(parts) > 1 and (parts[0] in _PLATFORMS or _PLACE.fullmatch(parts[0])):
        del parts[0]
    match parts:
        case ["projects", _, "locations", _, "publishers", _, "models", *rest] | ["publishers", _, "models", *rest]:
            parts = rest
        case ["azureml:", "", "registries", _, "models", *rest]:
            parts = rest
        case [arn, _, *_] if _ARN.fullmatch(arn):
            parts = parts[1:]
    return "/".join(parts[:-2] if len(parts) > 2 and parts[-2] == "versions" else parts)


def _without_vendor(name: str) -> str:
    region, maker, bare = name.partition("anthropic.")
    if not maker or region not in _BEDROCKS:
        name = name.removeprefix("databricks-") if name.startswith("databricks-claude-") else name
        dated = _DATED_DRESS.fullmatch(name)
        return dated[1] if dated else name
    bare = _DRESS.sub("", bare)
    if second := _CLAUDE_2.fullmatch(bare):
        return "claude-2-" + (second[1] or ":0")[1:]
    return bare


def _in_anthropic_order(name: str) -> str:
    """claude-4.1-opus is claude-opus-4-1. The first of a family has two names: claude-opus-4-0 is claude-opus-4."""
    words = name.replace(".", "-").split("-")
    match words:
        case ["claude", *numbers, family] if (
            family in _FAMILIES and len(numbers) in (1, 2) and numbers[0] >= "4" and all(map(_is_digit, numbers))
        ):
            words = ["claude", family, *numbers]
    match words:
        case ["claude", number, "0"] if number.isdecimal():
            del words[-1]
        case ["claude", family, number, "0"] if family.isalpha() and number.isdecimal():
            del words[-1]
    return "-".join(words)


def _is_digit(word: str) -> bool:
    return len(word) == 1 and word.isdecimal()
