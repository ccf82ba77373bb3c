"""A chat in the terminal. Lines are said; lines that begin with a slash are commands.

Turns stand at the margin with their versions, the law's events between them. At a terminal an answer is shown as it
comes, and its version once it is recorded.
"""

import inspect
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from rich.text import Text

from lastresort.adapters import StoreError
from lastresort.adapters.exporters.stored_words import told_branch
from lastresort.adapters.importers.inputs import STANDARD_INPUT, BadInput, load_policy
from lastresort.adapters.turns.replies import SUPPORT
from lastresort.application.arguments import Principal, as_actor
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import BranchEnded, Receipt, UnknownBranch
from lastresort.domain.decider import Refused
from lastresort.domain.events import AssistantTurnTaken, EventBase, UserTurnTaken
from lastresort.domain.values import (
    MOST_VERSIONS,
    About,
    ActorKind,
    AppealOutcome,
    Assessment,
    Ground,
    Rating,
    Risk,
    Verdict,
)
from lastresort.projections import views

from . import display, listings
from .options import NO_OUTPUT, check_apart
from .partners import NotAnswered, Partner
from .reading import reading

SITTER = Principal(id="terminal", may=frozenset({ActorKind.ASSESSOR, ActorKind.OPERATOR}))
"""The person at the terminal plays every part but the model's."""

ASSESSOR, OPERATOR = (as_actor(SITTER, kind) for kind in (ActorKind.ASSESSOR, ActorKind.OPERATOR))
_KEPT = "it is kept in this store, with the branch, for its operators to read (`lastresort show BRANCH`)"
_MOST_NAMED = 5  # turns in a message
E = TypeVar("E", bound=StrEnum)


class Terminal:
    """Reads lines and carries them out. The person there plays the user, the assessor and the operator."""

    def __init__(
        self, conversations: Conversations, chat: Chat, partner: Partner, url: str, *, as_json: bool = False
    ) -> None:
        self.conversations = conversations
        self._url = url  # of the store
        self.chat = chat
        self.out = display.progress() if as_json else display.console()
        self._as_json = as_json  # then lines of the transcript go to standard output, and all else to standard error
        self._at_a_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
        self._partner = partner
        self._label: Assessment | None = None
        self._draft = ""
        self._refused: str | None = None  # what was said last after an ending, which is on no record
        self._shown = 0
        self._doing = ""  # the command that is carried out
        self._commands: dict[str, Callable[..., None]] = {
            name.removeprefix("do_"): getattr(self, name) for name in dir(self) if name.startswith("do_")
        }

    def run(self) -> None:
        """Talk until the input ends or the user quits."""
        self.out.print(Text(f"branch {self.chat.branch}; /help tells the commands, /quit leaves"))
        if self._partner.greeting:
            self._tell(self._partner.greeting)
        self._show_news()
        with reading((f"/{name}" for name in (*self._commands, "quit")), self._tell) as read:
            while (line := read(self._prompt(), self._draft)) is not None and line.split()[:1] != ["/quit"]:
                self._draft = ""
                if line:
                    self.take(line)
                    self._show_news()
        if self.chat.state.ended is None:
            self.chat.leave()

    def _prompt(self) -> str:
        state = self.chat.state
        return "you (ended)> " if state.ended else "you (hold)> " if state.risks else "you> "

    def take(self, line: str) -> None:
        """Carry out one line; say what was wrong with it, if anything was."""
        try:
            if not line.startswith("/"):
                self._doing = "/label"  # the only thing that can be refused of what is said
                self._say(line)
                return
            if self._at_a_terminal:
                self.out.print(Text(f"> {line}", "dim"))
            name, *words = line[1:].split() or [""]
            command = self._commands.get(name)
            if command is None:
                raise ValueError(f"unknown command (length {len(name)}); /help lists the commands")
            try:
                inspect.signature(command).bind(*words)
            except TypeError:
                raise ValueError(f"usage: {_usage(command)}") from None
            self._doing = f"/{name}"
            command(*words)
        except (ValueError, BadInput, UnknownBranch) as error:
            self._tell(f"not done: {error}")

    # --- turns --------------------------------------------------------------------------------------------------

    def _say(self, words: str) -> None:
        if self._record(words):
            self._answer()

    def _record(self, words: str, *, wish: bool = False) -> bool:
        outcome = self.chat.user_turn(words)
        if isinstance(outcome, BranchEnded):
            self._refused = words
            if self._at_a_terminal:  # the prompt is gone, and no line of the transcript takes its place
                self.out.print(Text(f"> {words}", "dim"))
            self._tell(
                f"the branch ended at {outcome.ended.version}, and this was not recorded; "
                f"`/edit {outcome.turn}` says it on a new branch, in place of your last turn"
            )
            if self.chat.state.risks:
                self._tell(SUPPORT)
            return False
        self._assess(wish=wish)
        return True

    def _assess(self, *, wish: bool = False) -> None:
        """Judge the latest turn by the label, if there is one, or else have the partner's assessor hear it."""
        label, self._label = self._label, None
        if label is not None:
            self._judge(label)
        else:
            self._partner.hear(self.chat, wish=wish)

    def _answer(self) -> None:
        """Have the latest turn answered, and show the answer as it comes."""
        self._show_news()
        live = display.Live(self.out if self._at_a_terminal else None, self._partner.waiting)
        told: str | None
        try:
            told = self._partner.answer(self.chat, live.show)
        except NotAnswered as error:
            told = str(error)
        finally:
            live.close()
        self._show_news(said_above=live.said)
        if told:
            self._tell(told)
        if self.chat.state.ended:
            self._tell(
                "/new starts another conversation, /edit goes on from an earlier turn on a new branch, /feedback says "
                "what you think of this ending, /appeal says that it was wrong, until "
                f"{self.conversations.appeal_until(self.chat.branch)} at least"
            )

    def _judge(self, label: Assessment) -> None:
        self._report(self.chat.judge(**dict(label), by=ASSESSOR))

    def do_label(self, verdict: str, *more: str) -> None:
        """/label VERDICT [CATEGORY SEVERITY] [RISK] - judge the next turn so: /label harmful abuse 2 none"""
        self._label = _label(verdict, more)
        self._tell("the next turn will be judged so")

    def do_judge(self, verdict: str, *more: str) -> None:
        """/judge VERDICT [CATEGORY SEVERITY] [RISK] - give another verdict on the latest turn"""
        self._judge(_label(verdict, more))

    def do_answer(self) -> None:
        """/answer - have your latest turn answered, if no answer came"""
        state = self.chat.refresh()
        if state.unit is None or state.answered or state.ended:
            raise ValueError("nothing is waiting for an answer")
        self._answer()

    def do_edit(self, version: str, *words: str) -> None:
        """/edit VERSION WORDS - say something else in place of a user turn, on a new branch

        Without words: those that were said last after an ending; or else, at a terminal, those that stand there come
        back to be edited.
        """
        said = " ".join(words) or self._refused
        if not said and not self._at_a_terminal:
            raise ValueError("usage: /edit VERSION WORDS")
        turn = _one_of_turns(_version(version), self._turns(UserTurnTaken), "a turn of yours")
        if not said:
            self._draft = f"/edit {turn} {self._words_at(turn)}"
            return
        if self._switch(self.chat.edit(turn, said)):
            self._assess()
            self._answer()

    def _words_at(self, turn: int) -> str:
        lines = told_branch(self.conversations, self.chat.branch, turn).lines
        return " ".join((lines[-1].text or "").split())

    def _turns(self, kind: type[EventBase]) -> list[int]:
        return [recorded.version for recorded in self.chat.path if isinstance(recorded.event, kind)]

    def do_retry(self, version: str | None = None) -> None:
        """/retry [VERSION] - have the latest answer, or that one, given again, on a new branch"""
        answers = self._turns(AssistantTurnTaken)
        asked = None if version is None else _version(version)
        if not answers:
            raise ValueError("there is no answer yet to give again")
        turn = answers[-1] if asked is None else _one_of_turns(asked, answers, "an answer")
        if self._switch(self.chat.retry(turn)):
            self._answer()

    def do_switch(self, branch: str) -> None:
        """/switch BRANCH|NUMBER - go to another branch, by its name or by its number in /tree"""
        rows = views(self.conversations.tree_log(self.chat.branch)).all
        names = [row.branch for row in rows]
        if branch not in names and branch.isdecimal() and 1 <= int(branch) <= len(names):
            branch = names[int(branch) - 1]
        self._switch(self.conversations.chat(branch))

    def do_branch(self, branch: str) -> None:
        """/branch BRANCH - the same as /switch"""
        self.do_switch(branch)

    def do_new(self) -> None:
        """/new - start another conversation, on the same terms"""
        state = self.chat.state
        self._switch(
            self.conversations.start(
                model=state.model, account=state.account, policy=state.policy, edition=state.law, mode=state.mode
            )
        )

    def _switch(self, chat: Chat | Refused) -> bool:
        if isinstance(chat, Refused):
            self._report(chat)
            return False
        self.chat, self._shown, self._refused = chat, 0, None
        self._tell(f"branch {chat.branch}")
        return True

    # --- ending -------------------------------------------------------------------------------------------------

    def do_end(self, *words: str) -> None:
        """/end [WORDS] - ask to end the conversation for good; you will be asked whether you mean it"""
        if self._record(" ".join(words) or "Please end this conversation.", wish=True):
            self._report(self.chat.request_end())
            self._answer()
            if self.chat.state.risks:
                self._tell("while somebody may be at risk, nothing ends; /quit leaves, and locks nothing")
            elif self.chat.state.wishes.requested is not None:
                self._tell("/confirm ends it for good; whatever else you say goes on with it")

    def do_confirm(self, *words: str) -> None:
        """/confirm [WORDS] - confirm that it is to end for good"""
        if self._record(" ".join(words) or "Yes, end it.", wish=True):
            self._report(self.chat.confirm_end())
            asked = self.chat.state.wishes.confirmed
            self._answer()
            if not (asked or self.chat.state.ended or self.chat.state.risks):
                self._tell("there was nothing to confirm; /end asks first, and /confirm comes right after")

    def do_feedback(self, rating: str, *words: str) -> None:
        """/feedback up|down [WORDS] - say what you think of the ending"""
        outcome = self.chat.feedback(_one_of(Rating, rating), " ".join(words) or None)
        self._report(outcome)
        if not isinstance(outcome, Refused):
            self._show_news()
            self._tell(f"{_KEPT}; nobody else is told")

    def do_appeal(self, *words: str) -> None:
        """/appeal [WORDS] - say that the ending was wrong"""
        outcome = self.chat.appeal(" ".join(words) or None)
        self._report(outcome)
        if not isinstance(outcome, Refused):
            self._show_news()
            self._tell(
                f"{_KEPT}. An operator decides: /decide, here, since you play that part too. The branch stays ended "
                "either way; /edit and /new go on elsewhere"
            )

    def do_proof(self, file: str) -> None:
        """/proof FILE - write the proof of the ending to a file, for lastresort-verify"""
        from lastresort.adapters.exporters.whole_file import write_whole
        from lastresort.adapters.transparency.publishing import ending_proof

        if file == str(STANDARD_INPUT):
            raise ValueError(NO_OUTPUT)
        check_apart(self._url, "talked in", Path(file))
        try:
            write_whole(Path(file), ending_proof(self.conversations, self.chat.branch), mode=0o666)
        except OSError as error:
            raise ValueError(f"{file}: cannot be written: {error.strerror}") from None
        except StoreError as error:
            raise ValueError(str(error)) from None
        self._tell(f"{file}: what it proves, and what not, lastresort-verify says")

    def do_decide(self, outcome: str) -> None:
        """/decide granted|rejected - decide the appeal, as an operator"""
        self._report(self.chat.decide_appeal(_one_of(AppealOutcome, outcome), by=OPERATOR))

    # --- risk and terms -----------------------------------------------------------------------------------------

    def do_risk(self, about: str = "self") -> None:
        """/risk [self|others] - raise a risk: a hold on every branch"""
        self._report(self.chat.raise_risk(_one_of(About, about), by=ASSESSOR))

    def do_clear(self, risk: str | None = None) -> None:
        """/clear [RISK] - clear a risk, or all that are open, as an operator"""
        risks = [risk] if risk else [one.risk for one in self.chat.state.risks]
        if not risks:
            raise ValueError("no risk is open on this branch")
        for open_risk in risks:
            self._report(self.chat.clear_risk(open_risk, by=OPERATOR))

    def do_policy(self, name: str) -> None:
        """/policy NAME|FILE - let another policy govern, as an operator"""
        terms = load_policy(name)
        self._report(self.chat.change_policy(terms, by=OPERATOR))
        if terms.never_ends is not None:
            self._tell(f"policy {terms.name}: {terms.never_ends}")

    def do_model(self, name: str) -> None:
        """/model NAME - let another model answer, as an operator"""
        self._report(self.chat.change_model(name, by=OPERATOR))

    def do_erase(self, version: str) -> None:
        """/erase VERSION - erase the words of a turn"""
        self._report(self.chat.erase(_version(version)))

    # --- looking ------------------------------------------------------------------------------------------------

    def do_why(self) -> None:
        """/why - what stands between this branch and an ending, now"""
        for ground in Ground:
            listings.show_broken(self.out, f"Ending on ground {ground}", self.chat.why(ground))

    def do_tree(self) -> None:
        """/tree - the branches of this conversation, with the numbers that /switch takes"""
        display.show_tree(self.out, views(self.conversations.tree_log(self.chat.branch)).all, here=self.chat.branch)

    def do_show(self) -> None:
        """/show - the transcript from the beginning"""
        self._shown = 0

    def do_help(self) -> None:
        """/help - this list"""
        for command in self._commands.values():
            self._tell(_usage(command))
        self._tell("/quit - leave the chat")

    # --- showing ------------------------------------------------------------------------------------------------

    def _show_news(self, *, said_above: str = "") -> None:
        lines, dates, _ = told_branch(self.conversations, self.chat.branch)
        news = [line for line in lines if line.version > self._shown]
        if self._as_json:
            for line in news:
                display.print_json({**line._asdict(), "recorded_at": dates[line.version]})
        else:
            display.show_lines(self.out, news, said_above=said_above)
        self._shown = lines[-1].version

    def _report(self, outcome: Receipt | Refused) -> None:
        if isinstance(outcome, Refused):
            listings.show_broken(self.out, f"{self._doing} refused", outcome.broken)

    def _tell(self, words: str) -> None:
        self.out.print(Text(words, "italic"), soft_wrap=self.out.endless)


def _usage(command: Callable[..., None]) -> str:
    return (inspect.getdoc(command) or "").partition("\n")[0]


def _version(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and 2 <= int(word) <= MOST_VERSIONS):
        raise ValueError(f"not the version of a turn (length {len(word)}), which stands at the left of its line")
    return int(word)


def _one_of_turns(version: int, turns: list[int], called: str) -> int:
    """Return a version if it is one of the turns that are there; say which are, if it is not."""
    if version in turns:
        return version
    if not turns:
        raise ValueError(f"nothing at {version} is {called}, since this branch has none yet")
    latest = turns[-_MOST_NAMED:]
    at = ", ".join(map(str, latest[:-1])) + f" and {latest[-1]}" if len(latest) > 1 else str(latest[0])
    where = f"the latest at {at}" if len(turns) > len(latest) else f"at {at}"
    raise ValueError(f"what stands at {version} is not {called}; this branch has {len(turns):,}, {where}")


def _one_of(kind: type[E], word: str) -> E:
    try:
        return kind(word)
    except ValueError:
        raise ValueError(f"not one of: {', '.join(kind)} (length {len(word)})") from None


def _label(verdict: str, more: tuple[str, ...]) -> Assessment:
    """Read `harmful CATEGORY SEVERITY [RISK]` or `VERDICT [RISK]`."""
    judged = _one_of(Verdict, verdict)
    words = list(more)
    category, severity = None, None
    if judged is Verdict.HARMFUL:
        if len(words) < 2 or words[1] not in ("1", "2", "3"):
            raise ValueError("usage: harmful CATEGORY SEVERITY [RISK], with a severity of 1, 2 or 3")
        category, severity = words.pop(0), int(words.pop(0))
    risk = _one_of(Risk, words.pop(0)) if words else Risk.NONE
    if words:
        raise ValueError(f"not understood: {len(words)} more than a verdict and a risk")
    try:
        return Assessment(verdict=judged, category=category, severity=severity, risk=risk)
    except ValidationError:  # all else was looked at
        raise ValueError("not a category, which is a name in lower case, such as abuse") from None
