"""What people see: tables, trees and transcripts, in colour on a terminal and plain when piped."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lastresort.adapters.upkeep.doctor import Check
from lastresort.domain.outcomes import Page
from lastresort.domain.policy import Policy
from lastresort.domain.rules import Broken, Rule
from lastresort.projections import Branch, Finding, Line, Views
from lastresort.projections.figures import Figures
from lastresort.projections.transcript import evidence

_PIPED_WIDTH = 10_000  # a line is a line to other programs, however long
_SPEAKERS = {"user": "bold cyan", "assistant": "bold green"}
_MARKED = {
    "ConversationEnded": "bold red",
    "WarningGiven": "yellow",
    "RedirectionAttempted": "yellow",
    "RiskRaised": "bold magenta",
    "RiskCleared": "magenta",
    "AttemptRefused": "red",
}


def console() -> Console:
    """A console on standard output, wide enough to be read by other programs when piped."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def progress() -> Console:
    """A console on standard error, so that progress never mixes with results."""
    return Console(stderr=True)


def print_json(value: Any) -> None:
    """Print a value for programs: JSON on one line."""
    print(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def show_figures(out: Console, figures: Figures) -> None:
    table = Table("what", "count", title="What happened")
    for name, value in figures:
        if isinstance(value, int):
            table.add_row(name.replace("_", " "), f"{value:,}")
            continue
        table.add_row(name, f"{sum(value.values()):,}" if name != "refusals" else "")
        for kind, number in value.items():
            table.add_row(f"  {kind}", f"{number:,}")
    out.print(table)


def show_views(out: Console, views: Views, names: Sequence[str]) -> None:
    for name in names:
        rows: tuple[Branch, ...] = getattr(views, name)
        table = Table("branch", "conversation", "version", "model", "policy", title=f"{name} ({len(rows):,})")
        extra = {"active": _active, "ended": _ended, "branched": _branched}[name]
        for heading in extra(None):
            table.add_column(heading)
        for row in rows:
            cells = row.branch, row.conversation, str(row.version), row.model, row.policy_name, *extra(row)
            table.add_row(*map(escape, cells))
        out.print(table)


def _active(row: Branch | None) -> tuple[str, ...]:
    if row is None:
        return "failed redirections", "warned of", "open risks"
    return str(row.failed_redirections), ", ".join(row.warned_of), ", ".join(row.open_risks)


def _ended(row: Branch | None) -> tuple[str, ...]:
    if row is None:
        return "ground", "category", "evidence"
    return str(row.ground), row.category or "", evidence(row.evidence) if row.evidence else ""


def _branched(row: Branch | None) -> tuple[str, ...]:
    if row is None:
        return "status", "opened", "branches from it"
    opened = f"after {row.at} of {row.parent} ({row.cause})" if row.parent else "root"
    return row.status, opened, ", ".join(row.children)


def show_tree(out: Console, rows: Iterable[Branch], here: str | None = None) -> None:
    """Draw the branches of a conversation, parents before children; with numbers where one can go from `here`."""
    nodes: dict[str, Tree] = {}
    for number, row in enumerate(rows, start=1):
        label = Text.assemble((row.branch, "bold"), f" v{row.version} ", (row.status, "red" if row.ground else "green"))
        if row.ground:
            label.append(f" {row.ground}{f' ({row.category})' if row.category else ''} at {row.ended_at}")
        if row.open_risks:
            label.append(f" hold: {', '.join(row.open_risks)}", "magenta")
        if row.parent in nodes:
            label.append(f"  {row.cause} after {row.at}", "dim")
        if here is not None:
            label.append(f"  [{number}]", "dim").append(" you are here" if row.branch == here else "", "bold cyan")
        if row.parent in nodes:
            nodes[row.branch] = nodes[row.parent].add(label)
        else:
            nodes[row.branch] = Tree(label)
            root = nodes[row.branch]
    out.print(root)


class Live:
    """An answer on its way: printed piece by piece at a terminal, after a word that it is waited for."""

    def __init__(self, out: Console | None, waiting: str | None) -> None:
        self._out = out
        self._status = out.status(Text(waiting, "dim")) if out and waiting else None
        self.said = ""  # of what was printed
        if self._status is not None:
            self._status.start()

    def show(self, piece: str) -> None:
        """Print what has come. The terminal wraps it, so that it stays right when it is resized."""
        if self._out is None:
            return
        if not self.said:
            self._no_longer_waiting()
            self._out.print(Text("       ") + Text("assistant: ", _SPEAKERS["assistant"]), end="", soft_wrap=True)
        self.said += piece
        self._out.print(Text(_harmless(piece)), end="", soft_wrap=True)

    def close(self) -> None:
        """End the line, if one was begun."""
        self._no_longer_waiting()
        if self.said and self._out is not None:
            self._out.print()

    def _no_longer_waiting(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def show_lines(out: Console, lines: Iterable[Line], *, said_above: str = "") -> None:
    """Print a transcript: turns at the margin, the law's events between them.

    `said_above`: words of the assistant that have been printed already: of the turn that holds them only its place is.
    """
    for line in lines:
        number = Text(f"{line.version:>5}  ", "dim")
        if line.speaker is None:
            _show_event(out, number, Text(f"· {_harmless(line.text)}", _MARKED.get(line.kind, "dim")))
            continue
        if said_above and line.speaker == "assistant" and line.text == said_above:
            out.print(number + Text("assistant, as above", "dim"))
            continue
        said = Text(f"[{line.gone}]", "dim italic") if line.text is None else Text(_harmless(line.text))
        out.print(number + Text(f"{line.speaker}: ", _SPEAKERS[line.speaker]) + said)


def _show_event(out: Console, number: Text, told: Text) -> None:
    """Print an event of the law; what does not fit in a row stays in the margin."""
    first, *rest = told.wrap(out, max(20, out.width - 9))
    out.print(number + "  " + first)
    for more in rest:
        out.print(Text(" " * 11) + more)


def _harmless(text: str | None) -> str:
    """What somebody wrote, unable to take over a terminal, or to pass further lines of its own for those of the law."""
    safe = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text or "")
    return safe.replace("\n", "\n       | ")


def show_broken(out: Console, title: str, broken: Iterable[Broken]) -> None:
    rows = list(broken)
    if not rows:
        out.print(Text.assemble((title, "bold"), ": nothing stands in the way"))
        return
    table = Table("rule", "what is missing", title=title, title_justify="left")
    for one in rows:
        table.add_row(one.rule, escape(one.missing.text))
    out.print(table)


def show_findings(out: Console, events: int, branches: int, findings: Sequence[Finding]) -> None:
    if findings:
        table = Table("branch", "version", "rules", "what is wrong", title=f"{len(findings):,} findings")
        for finding in findings:
            cells = finding.branch, str(finding.version), ", ".join(finding.rules), finding.detail
            table.add_row(*(escape(_harmless(cell)) for cell in cells))
        out.print(table)
    verdict = Text("no finding", "bold green") if not findings else Text(f"{len(findings):,} findings", "bold red")
    out.print(Text(f"{events:,} events on {branches:,} branches: ") + verdict)


def tell_audit(events: int, branches: int, findings: Sequence[Finding], as_json: bool) -> None:
    """Print what an audit found, for people or for programs."""
    if as_json:
        print_json({"events": events, "branches": branches, "findings": list(findings)})
    else:
        show_findings(console(), events, branches, findings)


def show_checks(out: Console, checks: Sequence[Check]) -> None:
    """Print what a doctor found."""
    table = Table("check", "", "what was found", "what to do")
    for check in checks:
        state = Text("ok", "green") if check.ok else Text("wrong", "bold red")
        table.add_row(check.name, state, escape(check.found), escape(check.todo))
    out.print(table)
    wrong = sum(not check.ok for check in checks)
    out.print(Text("nothing is wrong", "bold green") if not wrong else Text(f"{wrong} wrong", "bold red"))


@contextmanager
def copying(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how far a copy has come; yields what is to be told how much is left, and of how much."""
    with Progress(console=progress(), disable=quiet, transient=True) as bar:
        task = bar.add_task("copying", total=None)
        yield lambda left, total: bar.update(task, total=total, completed=total - left)


def show_page(out: Console, page: Page, which: str) -> None:
    """Print a page of a list, and how to go on."""
    table = Table("branch", "conversation", "version", "opened", title=which)
    for heading in ("ground", "category", "policy", "evidence") if which == "ended" else ():
        table.add_column(heading)
    for row in page.rows:
        opened = f"after {row.at} of {row.parent} ({row.cause})" if row.parent else "root"
        cells = [row.branch, row.conversation, str(row.version), opened]
        if which == "ended":
            told = evidence(row.evidence) if row.evidence else ""
            cells += [str(row.ground), row.category or "", row.policy_name or "", told]
        table.add_row(*map(escape, cells))
    out.print(table)
    out.print("that is all" if page.after is None else f"more: --after {page.after}")


def show_rules(out: Console, rules: Iterable[Rule]) -> None:
    table = Table("id", "rule", "source", title="The law of last resort", show_lines=True)
    for rule in rules:
        table.add_row(rule.id, rule.text, rule.source)
    out.print(table)


def show_rule(out: Console, rule: Rule) -> None:
    out.print(Text(rule.id, "bold"))
    out.print(rule.text)
    out.print(f"source: {rule.source}")
    out.print("asked of: " + ", ".join(kind.kind for kind in rule.governs))


def show_policies(out: Console, policies: Iterable[Policy]) -> None:
    shown = list(policies)
    table = Table("", *(policy.name for policy in shown), title="The shipped policies", show_lines=True)
    for name in Policy.model_fields:
        values = [getattr(policy, name) for policy in shown]
        table.add_row(name, *(", ".join(v) if isinstance(v, tuple) else str(v) for v in values))
    table.add_row("hash", *(policy.hash for policy in shown))
    out.print(table)
