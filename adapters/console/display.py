"""What people see: tables, trees and transcripts, in colour on a terminal and plain when piped."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lastresort.adapters.upkeep.checks import Check
from lastresort.application.outcomes import Page
from lastresort.domain.law import Broken, Rule
from lastresort.domain.policy import Policy
from lastresort.projections import Branch, Finding, Line, Report, Views
from lastresort.projections.figures import Figures
from lastresort.projections.transcript import evidence

_PIPED_WIDTH = 10_000  # of a table: a row is a line to other programs
_MARGIN = "       | "  # of what goes on in the next line: no matter who wrote it, no line of the law begins so
_NARROWEST = 20  # columns for words, however narrow the terminal is
_SPEAKERS = {"user": "bold cyan", "assistant": "bold green"}
_MARKED = {
    "ConversationEnded": "bold red",
    "WarningGiven": "yellow",
    "RedirectionAttempted": "yellow",
    "RiskRaised": "bold magenta",
    "RiskCleared": "magenta",
    "AttemptRefused": "red",
}


class _Console(Console):
    """Shows names as they are, whatever markup or emoji they look like, and leaves a broken pipe to its caller."""

    def __init__(self, *, stderr: bool = False) -> None:
        there = (sys.stderr if stderr else sys.stdout).isatty()
        width = None if there else _PIPED_WIDTH
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        raise  # what is being handled


def console() -> Console:
    """A console on standard output, wide enough to be read by other programs when piped."""
    return _Console()


def progress() -> Console:
    """A console on standard error, so that progress never mixes with results."""
    return _Console(stderr=True)


def print_json(value: Any) -> None:
    """Print a value for programs: JSON on one line."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(value, default=_plain, ensure_ascii=not unicode))


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def show_figures(out: Console, figures: Figures) -> None:
    """Print how often the law came into play."""
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
    """Print the lists of branches that are called `names`: active, ended, branched."""
    for name in names:
        rows: tuple[Branch, ...] = getattr(views, name)
        table = Table("branch", "conversation", "version", "model", "policy", title=f"{name} ({len(rows):,})")
        extra = {"active": _active, "ended": _ended, "branched": _branched}[name]
        for heading in extra(None):
            table.add_column(heading)
        for row in rows:
            cells = row.branch, row.conversation, str(row.version), row.model, row.policy_name, *extra(row)
            table.add_row(*cells)
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
    # As wide as the labels are, or those of deep branches would be squeezed: the terminal wraps what is wider than it.
    for line in out.render_lines(root, out.options.update(width=_PIPED_WIDTH), pad=False):
        out.print(Text.assemble(*((part.text, part.style or "") for part in line)), soft_wrap=True)


class Live:
    """An answer on its way: printed piece by piece at a terminal, after a word that it is waited for."""

    def __init__(self, out: Console | None, waiting: str | None) -> None:
        self._out = out
        self._status = out.status(Text(waiting, "dim")) if out and waiting else None
        self._fitted = _Fitted()
        self.said = ""  # of what was printed
        if self._status is not None:
            self._status.start()

    def show(self, piece: str) -> None:
        """Print what has come, each word once it is whole."""
        if self._out is None:
            return
        if not self.said:
            self._no_longer_waiting()
            speaker = Text("       ") + Text("assistant: ", _SPEAKERS["assistant"])
            self._fitted.column = speaker.cell_len
            self._out.print(speaker, end="", soft_wrap=True)
        self.said += piece
        self._out.print(Text(self._fitted.more(_harmless(piece), _edge(self._out))), end="", soft_wrap=True)

    def close(self) -> None:
        """End the line, if one was begun."""
        self._no_longer_waiting()
        if self.said and self._out is not None:
            self._out.print(Text(self._fitted.rest(_edge(self._out))), soft_wrap=True)

    def _no_longer_waiting(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


class _Fitted:
    """Fits words that come in pieces between the margin and the edge of the terminal, as if they came at once."""

    def __init__(self) -> None:
        self.column = 0
        self._word = ""  # that may go on

    def more(self, piece: str, edge: int) -> str:
        """Return what of it can be shown, in lines."""
        fitted = ""
        for character in piece:
            if not character.isspace():
                if cell_len(self._word + character) > edge - len(_MARGIN):  # no line is as long as this word
                    fitted += self.rest(edge)
                self._word += character
                continue
            fitted += self.rest(edge)
            if character == "\n":
                fitted += self._next_line()
            elif self.column < edge:
                fitted += " "
                self.column += 1
        return fitted

    def rest(self, edge: int) -> str:
        """Return the word that the last piece ended with."""
        fitted = self._next_line() if self._word and self.column + cell_len(self._word) > edge else ""
        fitted += self._word
        self.column += cell_len(self._word)
        self._word = ""
        return fitted

    def _next_line(self) -> str:
        self.column = len(_MARGIN)
        return f"\n{_MARGIN}"


def _edge(out: Console) -> int:
    """The column that words reach to."""
    return len(_MARGIN) + max(_NARROWEST, out.width - len(_MARGIN) - 2)


def show_lines(out: Console, lines: Iterable[Line], *, said_above: str = "") -> None:
    """Print a transcript: turns at the margin, the law's events between them.

    `said_above`: words of the assistant that have been printed already: of the turn that holds them only its place is.
    """
    for line in lines:
        number = Text(f"{line.version:>5}  ", "dim")
        if line.speaker is None:
            _show_within(out, number + "  ", Text(f"· {_harmless(line.text)}", _MARKED.get(line.kind, "dim")))
            continue
        if said_above and line.speaker == "assistant" and line.text == said_above:
            out.print(number + Text("assistant, as above", "dim"))
            continue
        said = Text(f"[{line.gone}]", "dim italic") if line.text is None else Text(_harmless(line.text))
        _show_within(out, number, Text(f"{line.speaker}: ", _SPEAKERS[line.speaker]) + said)


def _show_within(out: Console, number: Text, told: Text) -> None:
    """Print a turn or an event of the law. What goes on in further lines does so behind a margin, so that no words can
    pass for a line of the law; but for the lines that they have themselves, there is one, unless a terminal wraps it.
    """
    lines = told.split("\n") if out.width >= _PIPED_WIDTH else told.wrap(out, _edge(out) - len(_MARGIN))
    for nth, line in enumerate(lines):
        out.print((number if nth == 0 else Text(_MARGIN, "dim")) + line, soft_wrap=True)


def _harmless(text: str | None) -> str:
    """What somebody wrote, unable to take over a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text or "")


def show_broken(out: Console, title: str, broken: Iterable[Broken]) -> None:
    """Print each rule that stands in the way of an attempt, and what it lacks."""
    rows = list(broken)
    if not rows:
        out.print(Text.assemble((title, "bold"), ": nothing stands in the way"))
        return
    table = Table("rule", "what is missing", title=title, title_justify="left")
    for one in rows:
        table.add_row(one.rule, one.missing.text)
    out.print(table)


def show_findings(out: Console, report: Report, findings: Sequence[Finding]) -> None:
    """Print what an audit found, and of how much."""
    if findings:
        table = Table("branch", "version", "rules", "what is wrong", title=f"{len(findings):,} findings")
        for finding in findings:
            cells = finding.branch, str(finding.version), ", ".join(finding.rules), finding.detail
            table.add_row(*map(_harmless, cells))
        out.print(table)
    verdict = Text("no finding", "bold green") if not findings else Text(f"{len(findings):,} findings", "bold red")
    out.print(Text(f"{report.events:,} events on {report.branches:,} branches: ") + verdict)
    if report.read_twice < report.events:
        out.print(f"{report.read_twice:,} of them were read twice; `audit --second-reading` reads all")


def tell_audit(report: Report, findings: Sequence[Finding], as_json: bool) -> None:
    """Print what an audit found, for people or for programs."""
    if as_json:
        told = {"events": report.events, "branches": report.branches, "read_twice": report.read_twice}
        print_json({**told, "findings": list(findings)})
    else:
        show_findings(console(), report, findings)


def show_checks(out: Console, checks: Sequence[Check], allowed: Sequence[str] = ()) -> None:
    """Print what a doctor found; of what is wrong, the names of the checks whose findings are `allowed`."""
    table = Table("check", "", "what was found", "what to do")
    for check in checks:
        bad = Text("allowed", "yellow") if check.name in allowed else Text("wrong", "bold red")
        table.add_row(check.name, Text("ok", "green") if check.ok else bad, Text(check.found), Text(check.todo))
    out.print(table)
    wrong = sum(not (check.ok or check.name in allowed) for check in checks)
    but = f", but for what is allowed: {', '.join(allowed)}" if allowed else ""
    out.print(Text(f"{wrong or 'nothing is'} wrong{but}", "bold red" if wrong else "bold green"))


@contextmanager
def copying(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how far a copy has come; yields what is to be told how much is left, and of how much."""
    out = progress()
    with Progress(console=out, disable=quiet or not out.is_terminal, transient=True) as bar:
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
        table.add_row(*map(Text, cells))
    out.print(table)
    out.print("that is all" if page.after is None else f"more: --after {page.after}")


def show_rules(out: Console, rules: Iterable[Rule]) -> None:
    """Print the law."""
    table = Table("id", "rule", "source", title="The law of last resort", show_lines=True)
    for rule in rules:
        table.add_row(rule.id, rule.text, rule.source)
    out.print(table)


def show_rule(out: Console, rule: Rule) -> None:
    """Print one rule of the law, and the kinds of events that it is asked of."""
    out.print(Text(rule.id, "bold"))
    out.print(rule.text)
    out.print(f"source: {rule.source}")
    out.print("asked of: " + ", ".join(kind.kind for kind in rule.governs))


def show_policies(out: Console, policies: Iterable[Policy]) -> None:
    """Print policies side by side, field by field."""
    shown = list(policies)
    table = Table("", *(policy.name for policy in shown), title="The shipped policies", show_lines=True)
    for name in Policy.model_fields:
        values = [getattr(policy, name) for policy in shown]
        table.add_row(name, *(", ".join(v) if isinstance(v, tuple) else str(v) for v in values))
    table.add_row("hash", *(policy.hash for policy in shown))
    out.print(table)
