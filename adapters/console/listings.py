"""Lists as people read them: a name on a line of its own, never cut, and the details beneath it, within the width."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lastresort.adapters.importers.assess import Assessed
from lastresort.adapters.importers.chat_import import FileReport
from lastresort.adapters.importers.chat_writing import Brought
from lastresort.adapters.upkeep.checks import Check
from lastresort.application.directory import DirectoryPage, HoldRow, Metadata
from lastresort.application.outcomes import BranchRow, Page
from lastresort.domain.law import FORMS, Broken, Rule
from lastresort.domain.policy import Policy
from lastresort.projections import Branch, EditionReport, Finding, Report, Views
from lastresort.projections.figures import Figures
from lastresort.projections.transcript import evidence

from .display import NARROWEST, between, console, edition, harmless, moment, print_json

_INDENT = 4


def show_entry(out: Console, name: Text, *details: str, style: str = "") -> None:
    """Print one entry of a list; details that are empty are left out."""
    out.print(name, soft_wrap=True)
    for detail in filter(None, details):
        show_paragraph(out, detail, _INDENT, style)


def show_paragraph(out: Console, told: str, indent: int = 0, style: str = "") -> None:
    """Print a text in lines that fit, of whole words: an id that is too long for one has it to itself."""
    width = max(NARROWEST, out.width - indent)
    for line in wrap(told, width, break_long_words=False, break_on_hyphens=False):
        out.print(Text(" " * indent) + Text(line, style), soft_wrap=True)


def _counted(number: int, thing: str) -> str:
    several = "es" if thing.endswith("ch") else "s"
    return f"{number:,} {thing}{'' if number == 1 else several}"


# --- Branches ---------------------------------------------------------------------------------------------------------


def show_views(out: Console, views: Views, names: Sequence[str]) -> None:
    """Print the lists of branches that are called `names`: active, ended, branched."""
    for place, name in enumerate(names):
        rows: tuple[Branch, ...] = getattr(views, name)
        out.print(Text(f"{chr(10) * (place > 0)}{name} ({len(rows):,})", "bold"))
        for row in rows:
            when = between(row.first_event_at, row.last_event_at)
            about = {"active": _active, "ended": _ending, "branched": _status}[name](row)
            show_entry(
                out, _name(row, when), _terms(row), _origin(row), about, _children(row) if name == "branched" else ""
            )


def show_page(out: Console, page: Page, which: str) -> None:
    """Print a page of a list, and how to go on."""
    out.print(Text(which, "bold"))
    for row in page.rows:
        when = between(row.first_event_at, row.ending_recorded_at or row.first_event_at)
        show_entry(out, _name(row, when), _origin(row), _ending(row))
    out.print("that is all" if page.after is None else f"more: --after {page.after}")


def _name(row: Branch | BranchRow, when: str) -> Text:
    return Text.assemble((row.branch, "cyan"), f"  v{row.version}  ", (when, "dim"))


def _terms(row: Branch) -> str:
    return f"{row.model}, policy {row.policy_name}, {edition(row)}"


def _origin(row: Branch | BranchRow) -> str:
    """Say where a branch comes from, if it is not the root that bears its conversation's name."""
    if row.parent is None:
        return ""
    return f"opened after {row.at} of {row.parent} ({row.cause}), in conversation {row.conversation}"


def _active(row: Branch) -> str:
    told = [_counted(row.failed_redirections, "failed redirection")] if row.failed_redirections else []
    told += [f"warned of {', '.join(row.warned_of)}"] if row.warned_of else []
    return "; ".join([*told, *(f"hold: {risk}" for risk in row.open_risks)])


def _ending(row: Branch | BranchRow) -> str:
    if row.ground is None:
        return ""
    about = f" ({row.category})" if row.category else ""
    policy = f", policy {row.policy_name}" if isinstance(row, BranchRow) else ""
    told = f"ended at {row.ended_at}: {row.ground}{about}{policy}"
    return f"{told}; evidence: {evidence(row.evidence)}" if row.evidence else told


def _status(row: Branch) -> str:
    return row.status if row.parent else f"{row.status}; the root of its conversation"


def _children(row: Branch) -> str:
    return f"branches from it: {', '.join(row.children)}" if row.children else ""


def show_conversations(out: Console, page: DirectoryPage, metadata: Mapping[str, Metadata]) -> None:
    """Print a page of conversations, and how to go on."""
    for row in page.rows:
        title, tags = metadata[row.conversation]
        ended = f", {row.ended_branches:,} ended" if 0 < row.ended_branches < row.branches else ""
        show_entry(
            out,
            Text.assemble((row.conversation, "cyan"), "  ", (between(row.started, row.last_turn), "dim")),
            harmless(title),
            f"tags: {harmless(', '.join(tags))}" if tags else "",
            f"account {row.account}" if row.account else "no account",
            f"{row.status}, {row.model}, {_counted(row.branches, 'branch')}{ended}",
            f"arm {row.arm}" if row.arm else "",
        )
    last = "that is all" if page.rows else "no conversation"
    out.print(last if page.after is None else f"more: --after {page.after}", soft_wrap=True)


def show_holds(out: Console, rows: Sequence[HoldRow]) -> None:
    """Print the legal holds that stand, conversation by conversation."""
    for row in rows:
        whose = f"account {row.account}" if row.account else "no account"
        until = f"until {row.until}, for information" if row.until else ""
        set_at = f"{row.reason}, set by {row.by}, {moment(row.since)} UTC"
        show_entry(out, Text.assemble((row.conversation, "cyan"), "  ", (row.hold, "bold")), whose, set_at, until)
    out.print(f"{_counted(len(rows), 'legal hold')} in force")


# --- What the law says ------------------------------------------------------------------------------------------------


def show_broken(out: Console, title: str, broken: Iterable[Broken]) -> None:
    """Print each rule that stands in the way of an attempt, and what it lacks."""
    rows = list(broken)
    if not rows:
        out.print(Text.assemble((title, "bold"), ": nothing stands in the way"))
        return
    out.print(Text(title, "bold"), soft_wrap=True)
    for one in rows:
        show_entry(out, Text(f"  {one.rule}", "red"), one.missing.text)


def show_findings(out: Console, report: Report, findings: Sequence[Finding]) -> None:
    """Print what an audit found, and of how much."""
    for finding in findings:
        name = Text.assemble((harmless(finding.branch), "cyan"), f" at {finding.version}")
        show_entry(out, name, harmless(str(finding)))
    found = _counted(len(findings), "finding")
    verdict = Text("no finding", "bold green") if not findings else Text(found, "bold red")
    of = f"{_counted(report.events, 'event')} on {_counted(report.branches, 'branch')}: "
    out.print(Text(of) + verdict, soft_wrap=True)
    if report.read_twice < report.events:
        show_paragraph(out, f"{report.read_twice:,} of them were read twice; `audit --second-reading` reads all")
    if report.hindsight is not None:
        _show_hindsight(out, report.hindsight)


def _show_hindsight(out: Console, hindsight: EditionReport) -> None:
    edition, asked, would_say = hindsight
    for one in would_say:
        name = Text.assemble((harmless(one.branch), "cyan"), f" at {one.version}, edition {edition} would say")
        show_entry(out, name, harmless(str(one)))
    if not asked:
        show_paragraph(out, f"For information: no event was recorded under an edition before {edition}")
        return
    of = f"For information: edition {edition} would refuse {len(would_say):,}"
    show_paragraph(out, f"{of} of {_counted(asked, 'event')} recorded under an earlier edition")


def tell_audit(report: Report, findings: Sequence[Finding], as_json: bool) -> None:
    """Print what an audit found, for people or for programs."""
    if as_json:
        told = {"events": report.events, "branches": report.branches, "read_twice": report.read_twice}
        hindsight = {} if report.hindsight is None else {"hindsight": report.hindsight._asdict()}
        print_json({**told, "findings": list(findings), **hindsight})
    else:
        show_findings(console(), report, findings)


def show_rules(out: Console, rules: Iterable[Rule]) -> None:
    """Print the law."""
    for rule in rules:
        show_entry(out, Text(rule.id, "bold"), rule.text, f"source: {rule.source}", _since(rule))


def show_rule(out: Console, rule: Rule) -> None:
    """Print one rule of the law, and the kinds of events that it is asked of."""
    out.print(Text(rule.id, "bold"))
    asked_of = "asked of: " + ", ".join(kind.kind for kind in rule.governs)
    for told in (rule.text, f"source: {rule.source}", _since(rule), asked_of):
        show_paragraph(out, told)


def _since(rule: Rule) -> str:
    """Since which edition a rule stands, and whether it stood in another form before."""
    first = min(form.since for form in FORMS if form.id == rule.id)
    before = f", in another form since edition {first}" if first < rule.since else ""
    return f"since: edition {rule.since}{before}"


def show_policies(out: Console, policies: Iterable[Policy]) -> None:
    """Print policies field by field: the value that all have, or that of each."""
    shown = list(policies)
    out.print(Text(f"The shipped policies: {', '.join(policy.name for policy in shown)}", "bold"))
    for name in (*(field for field in Policy.model_fields if field != "name"), "hash"):
        values = [_told(getattr(policy, name)) for policy in shown]
        if len(set(values)) == 1:
            show_paragraph(out, f"{name}: {values[0]}")
        else:
            show_entry(
                out, Text(name, "cyan"), *(f"{one.name}: {value}" for one, value in zip(shown, values, strict=True))
            )


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} ({_told(members)})" for name, members in value.items()) or "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "as hold_on"  # the only fields that may be left open: those that set it apart
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- The rest ---------------------------------------------------------------------------------------------------------


def show_figures(out: Console, figures: Figures) -> None:
    """Print how often the law came into play."""
    table = Table("what", "count", title="What happened")
    for name, value in figures:
        if isinstance(value, int):
            table.add_row(name.replace("_", " "), f"{value:,}")
            continue
        table.add_row(name, f"{sum(value.values()):,}" if name != "refusals" or not value else "")
        for kind, number in value.items():
            table.add_row(f"  {kind}", f"{number:,}")
    out.print(table)


def show_checks(out: Console, checks: Sequence[Check], allowed: Sequence[str] = ()) -> None:
    """Print what a doctor found; of what is wrong, the names of the checks whose findings are `allowed`."""
    for check in checks:
        bad = ("allowed", "yellow") if check.name in allowed else ("wrong", "bold red")
        state = ("ok", "green") if check.ok else bad
        todo = f"to do: {check.todo}" if check.todo else ""
        show_entry(out, Text.assemble((check.name, "cyan"), "  ", state), check.found, todo)
    wrong = sum(not (check.ok or check.name in allowed) for check in checks)
    but = f", but for what is allowed: {', '.join(allowed)}" if allowed else ""
    show_paragraph(out, f"{wrong or 'nothing is'} wrong{but}", style="bold red" if wrong else "bold green")


# --- Chats that came in -----------------------------------------------------------------------------------------------


def show_imported(out: Console, reports: Iterable[FileReport]) -> None:
    """Print what came in of files, what became of the rest, and why."""
    for report in reports:
        found = report.brought
        models = _by_name(found.models)
        told = {
            "there before": (_counted(found.there, "conversation"), found.there),
            "answers by model": (models, len(found.models)),
            "changed since they came in, left as they were": (_counted(found.changed, "turn"), found.changed),
            "on branches that have ended, left out": (_counted(found.after_an_ending, "turn"), found.after_an_ending),
        }
        counts = {**report.became, **report.asides}
        show_entry(
            out,
            Text.assemble((report.file, "cyan"), (f"  {report.format}", "dim")),
            _came(found),
            *(f"{name}: {value}" for name, (value, number) in told.items() if number),
            *(f"{number:,}: {why} ({'; '.join(report.places[why])})" for why, number in counts.items()),
        )


def _came(found: Brought) -> str:
    turns = f"{_counted(found.user_turns, 'turn')} of users, {_counted(found.answers, 'answer')}"
    labels = f", {_counted(found.labels, 'verdict')} of classifiers" if found.labels else ""
    labels += f", {_counted(found.ratings, 'rating')} of answers" if found.ratings else ""
    came = f"{_counted(found.conversations, 'new conversation')}: {turns}{labels}"
    return f"{came}, on {_counted(found.branches, 'branch')} beside the first" if found.branches else came


def show_assessed(out: Console, name: str, done: Assessed) -> None:
    """Print what an assessor made of imported chats."""
    told = {
        "verdicts": _by_name(done.verdicts),
        "risks": _by_name(done.risks),
        "judged before": f"{done.there:,}" if done.there else "",
        "without an opinion": f"{done.silent:,}" if done.silent else "",
        "failed": f"{done.failed:,}" if done.failed else "",
        "words gone": f"{done.gone:,}" if done.gone else "",
    }
    judged = (
        f"{_counted(done.units, 'unit')} judged, in {_counted(done.conversations, 'shadow')}, {done.new:,} of them new"
    )
    show_entry(out, Text(name, "cyan"), judged, *(f"{what}: {said}" for what, said in told.items() if said))


def _by_name(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items()))
