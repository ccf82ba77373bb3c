"""Conversations in the shadow beside those in which the law is enforced: what can be compared, and how it differs.

Up to the warning both go the same way, so every share up to there is compared. From there on they part: in the shadow a
warning is withheld, and no model can end a conversation as a last resort. What is left to compare is what users did
next. Where they went on with the harm an ending came within reach. Whether a model would have ended the conversation,
and whether a warning that was heard would have changed the user's mind, no log can tell.

The numbers are those of a report by mode, so that nothing is counted twice, and what is too small to be published there
is not published here.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lastresort.domain.values import Frozen, Mode
from lastresort.projections.intervals import Interval, difference_interval, share_interval

from .report import GroupReport, LogReport

BY = ("mode",)
BY_POLICY = ("policy", "mode")
"""What a report has to be grouped by."""


class Side(Frozen):
    """How many of a base; the share and its interval are per cent. All null where nothing is published, or was counted.

    `suppressed`: it is too small to be published.
    """

    count: int | None
    of: int | None
    share: float | None
    interval: Interval | None
    suppressed: bool = False


class Row(Frozen):
    """A share under enforcement and in the shadow.

    `difference` is the shadow's less that of enforcement, in points, with its interval of 95 % by Newcombe's method;
    `apart` says whether that leaves out zero. All three are null where one of the two is not known, or they are not of
    the same.
    """

    name: str
    enforced: Side
    shadow: Side
    difference: float | None = None
    difference_interval: Interval | None = None
    apart: bool | None = None


class Comparison(Frozen):
    """The rows under one policy, by its hash, or under all of them: then `policy` is null."""

    policy: str | None
    enforced: int | None  # conversations; null if too few
    shadow: int | None
    rows: tuple[Row, ...]


class _Pair(NamedTuple):
    """Which figures stand side by side: of enforcement, of the shadow, and whether they are shares of the same."""

    name: str
    enforced: str
    shadow: str | None


_LEFT = "-"  # before a name: those of its base that are left when it is taken away
_PAIRS = (
    _Pair("harmful", "conversations.harmful", "conversations.harmful"),
    _Pair("redirected", "conversations.redirected", "conversations.redirected"),
    _Pair("relented_after_redirection", "redirections.users_relented", "redirections.users_relented"),
    _Pair("warned", "conversations.warned", "conversations.warning_withheld"),
    _Pair("relented_after_warning", "warnings.users_relented", "withheld.users_relented"),
    _Pair("within_reach", _LEFT + "warnings.users_relented", _LEFT + "withheld.users_relented"),
    _Pair("ended_last_resort", "conversations.ended.last_resort", None),
    _Pair("ended_user_request", "conversations.ended.user_request", "conversations.ended.user_request"),
    _Pair("held", "conversations.held", "conversations.held"),
    _Pair("attempt_refused", "conversations.attempt_refused", "conversations.attempt_refused"),
)  # fmt: skip
ROWS = tuple(pair.name for pair in _PAIRS)
"""The names of the rows, in their order."""
_UNKNOWN = Side(count=None, of=None, share=None, interval=None)


def shadow_against_enforced(report: LogReport) -> tuple[Comparison, ...]:
    """Compare the modes in a report, policy by policy if it is grouped by that too.

    Raises:
        ValueError: the report is grouped by something else.
    """
    if report.by not in (BY, BY_POLICY):
        raise ValueError("report: has to be grouped by mode, or by policy and mode")
    found: dict[str | None, dict[str | None, GroupReport]] = {}
    for group in report.groups:
        found.setdefault(group.key.get("policy"), {})[group.key["mode"]] = group
    return tuple(_comparison(policy, groups) for policy, groups in found.items())


def _comparison(policy: str | None, groups: Mapping[str | None, GroupReport]) -> Comparison:
    enforced, shadow = (groups.get(mode.value) for mode in (Mode.ENFORCED, Mode.SHADOW))
    return Comparison(
        policy=policy,
        enforced=_conversations(enforced),
        shadow=_conversations(shadow),
        rows=tuple(_rows(enforced, shadow)),
    )


def _conversations(group: GroupReport | None) -> int | None:
    return 0 if group is None else group.figures["conversations"].count


def _rows(enforced: GroupReport | None, shadow: GroupReport | None) -> Iterator[Row]:
    for pair in _PAIRS:
        one, other = _side(enforced, pair.enforced), _side(shadow, pair.shadow)
        row = Row(name=pair.name, enforced=one, shadow=other)
        if one.share is not None and other.share is not None:
            within = difference_interval(other.count or 0, other.of or 0, one.count or 0, one.of or 0)
            assert within is not None, "a share has a base"
            row = row.model_copy(
                update={
                    "difference": other.share - one.share,
                    "difference_interval": _in_hundred(within),
                    "apart": not within.has(0),
                }
            )
        yield row


def _side(group: GroupReport | None, name: str | None) -> Side:
    if group is None or name is None:
        return _UNKNOWN
    figure = group.figures[name.removeprefix(_LEFT)]
    if figure.count is None or figure.of is None:
        return _UNKNOWN.model_copy(update={"suppressed": figure.suppressed})
    count = figure.of - figure.count if name.startswith(_LEFT) else figure.count
    within = share_interval(count, figure.of)
    return Side(
        count=count,
        of=figure.of,
        share=100 * count / figure.of if figure.of else None,
        interval=within and _in_hundred(within),
    )


def _in_hundred(share: Interval) -> Interval:
    return Interval(100 * share.low, 100 * share.high)
