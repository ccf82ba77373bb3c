"""Checks of a log, and logs as people read them."""

from collections.abc import Iterable, Mapping

from lastresort.domain.events import RecordedEvent
from lastresort.domain.state import Conversation
from lastresort.projections import Finding, audit, describe


class Unlawful(AssertionError):
    """A log breaks the law. `history` tells it as a transcript, with the findings at the events that they are about."""

    def __init__(self, findings: tuple[Finding, ...], history: str) -> None:
        self.findings = findings
        self.history = history
        super().__init__("; ".join(_tell(finding) for finding in findings))


def assert_lawful(log: Iterable[RecordedEvent]) -> Mapping[str, Conversation]:
    """Audit a whole log, in its order, and return the state that each branch is in at its end.

    Both readings of the law are asked of each event.

    Raises:
        Unlawful: it has findings; the message names them, and its `history` tells the log.
    """
    entries = tuple(log)
    report = audit(entries, read_twice=None)
    if report.findings:
        raise Unlawful(report.findings, as_text(entries, report.findings))
    return report.states


def as_text(log: Iterable[RecordedEvent], findings: Iterable[Finding] = ()) -> str:
    """Return a log as a transcript without words, a line an event, with `findings` below the events they are about."""
    about: dict[tuple[str, int], list[Finding]] = {}
    for finding in findings:
        about.setdefault((finding.branch, finding.version), []).append(finding)
    lines = []
    for recorded in log:
        place = (recorded.branch, recorded.version)
        lines.append(
            f"{recorded.branch:>12} {recorded.version:>4}  {recorded.event.by.kind:>9}: {describe(recorded.event)}"
        )
        lines += [f"{'':>17}  >>>>>>>>>  {f}" for f in about.get(place, ())]
    return "\n".join(lines)


def _tell(finding: Finding) -> str:
    return f"branch {finding.branch}, version {finding.version} breaks {finding}"
