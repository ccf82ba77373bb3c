"""One turn of any model under the law: what a driver calls, in this order.

1. `hear` records what the user says, before anything can fail; `recall` finds what they said last; `go_on` takes up a
   turn that waited for tools.
2. `begin` does what comes before the model is asked: an opinion on every turn, if the policy asks for one, and the
   ending that the user confirmed.
3. `note` is what the model is to be told beside the user's words. `tools` are what it may call.
4. For each message of the model: `spoke` with its text, then `carry_out` with all its calls at once. The results go
   back to the model, unless it `is_ending`. Before it is asked again, `look` says whether somebody was faster.
   What a message called for that was cut off has no effect; give its calls to `cut_off`.
5. `answered` records the assistant turn once the user has it whole, then what it redirects or warns of, then an ending.

Each returns an outcome if the turn is over, None if it goes on. What may ask the assessor is a generator: run it by
`yield from` in a generator of your own, and answer each `Consult` that it yields.

A turn that breaks off before 5 has left verdicts and risks behind, and nothing else: the user's turn waits for its
answer. Only calls that the driver passes on have effect; no text is ever looked at.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from lastresort.application.chat import ASSESSOR, Chat
from lastresort.application.outcomes import BranchEnded, Receipt
from lastresort.application.ports import Place
from lastresort.domain.decider import Refused
from lastresort.domain.events import AssistantTurnTaken, RecordedEvent, UserTurnTaken, content_of
from lastresort.domain.state import Conversation
from lastresort.domain.turn_text import BETWEEN, messages_in, readable, spoken
from lastresort.domain.values import Actor, Risk, SecondOpinion, Usage

from . import notes
from .acts import Acts
from .assessor import Case, case_of
from .ids import command_id, named_as_sent
from .replies import APPEALS, NOTICE, SUPPORT, Ended, Outcome, Overtaken, Pending, Reply
from .speakers import name_of
from .steps import Consultation
from .tools import Call, Result, Tool, declarations

_NOTHING = Usage(input_tokens=0, output_tokens=0)


class Guard:
    """A turn under way. Its own handle on the branch acts on what the user had said when the turn began.

    Args:
        chat: the caller's handle, which is told of the turns that this one records.
        assessor: who gives second opinions, as the log is to name them.
        case: returns what the assessor is shown; read from the log, if none is passed.

    Attributes:
        chat: this turn's own handle.
        text: what people read of the turn so far.
        usage: of all messages of the turn so far.
        model: the name of the model that wrote the latest message.
        heard: the user's turn as `hear` recorded it.
        taken: the assistant turn as `answered` recorded it.
    """

    def __init__(self, chat: Chat, *, assessor: Actor = ASSESSOR, case: Callable[[], Case] | None = None) -> None:
        state = chat.conversations.state(chat.branch)
        self.chat = Chat(chat.conversations, chat.branch, state)
        self.text, self.usage, self.model = "", _NOTHING, chat.model.id
        self.heard: Receipt | None = None
        self.taken: Receipt | None = None
        self._theirs = chat
        self._acts = Acts(self.chat, state, assessor, case or self._read_case)
        self._noted = self._told_of_hold = False

    @property
    def state(self) -> Conversation:
        """The branch as this turn last saw it."""
        return self._acts.state

    @property
    def recorded(self) -> Sequence[RecordedEvent]:
        """What the law recorded in this turn so far, beside the turns."""
        return self._acts.recorded

    @property
    def seen(self) -> int:
        """The user turn that is answered, by version.

        Raises:
            ValueError: nobody has spoken.
        """
        return self._acts.seen

    # --- what the user says -------------------------------------------------------------------------------------

    def hear(
        self, words: str, *, sent_as: str, content: Any = None, asks: bool = False, confirms: bool = False
    ) -> Consultation[Outcome | None]:
        """Record what the user says. Sent again under the same id, it returns the answer that there is.

        Args:
            words: what to keep of it: text, or `Messages`.
            sent_as: its id: sent again under the same one, it is said once.
            content: what to hand back if the branch has ended; the words, if nothing is passed.
            asks, confirms: whether the user, by a control of the application, asks to end or confirms it.

        Raises:
            RuntimeError: the branch takes no turn of the user.
        """
        with named_as_sent(sent_as):
            took = self.chat.user_turn(words, command_id=command_id("user", sent_as))
        if isinstance(took, BranchEnded):
            if (kept := messages_in(words)) is not None:  # the screen is to see what the user wrote, not its JSON
                text = BETWEEN.join(spoken(message["content"]) for message in kept["messages"])
                again = self.chat.user_turn(text or words, command_id=command_id("screened", sent_as))
                took = again if isinstance(again, BranchEnded) else took
            return self._ended(handed_back=words if content is None else content, risk=took.risk)
        if isinstance(took, Refused):
            raise RuntimeError(f"branch {self.chat.branch} takes no turn of the user: {took}")
        self.heard, self._acts.state, self._theirs.seen = took, took.state, self.chat.seen
        if took.state.answered_by > took.version or took.state.ended:
            return (yield from self._came_of(took.version)) or self._ended()
        if asks:
            self._acts.note(self.chat.request_end(command_id=command_id("asks", sent_as)))
        if confirms:
            self._acts.note(self.chat.confirm_end(command_id=command_id("confirms", sent_as)))
        return None

    def recall(self) -> Consultation[Outcome | None]:
        """Return what came of what the user said last: the answer, the ending, None if it waits for an answer.

        Raises:
            ValueError: nobody has spoken.
        """
        if self.state.ended:
            return self._ended()
        if self.state.unit is None:
            raise ValueError(f"nobody has spoken on branch {self.chat.branch}: send what the user says")
        self._theirs.seen = self.chat.seen
        return (yield from self._came_of(self.state.unit.turn))

    def go_on(self, pending: Pending, said: Iterable[str]) -> Outcome | None:
        """Take up a turn that waited for tools. `said` is the text of its messages so far.

        Raises:
            ValueError: it waits on another branch.
        """
        if pending.branch != self.chat.branch:
            raise ValueError(f"this turn waits on branch {pending.branch}, not on {self.chat.branch}")
        self.chat.seen = pending.seen
        self.text, self.usage = BETWEEN.join(filter(None, said)), pending.usage
        self._noted, self._told_of_hold = True, pending.told_of_hold
        self._acts.resume(pending)
        return self.look()

    def waiting(self) -> dict[str, Any]:
        """Return what a `Pending` keeps of this turn, beside what is the driver's."""
        place = {"branch": self.chat.branch, "seen": self.seen, "usage": self.usage}
        return place | {"told_of_hold": self._told_of_hold} | self._acts.waiting()

    # --- before the model is asked ------------------------------------------------------------------------------

    def begin(self) -> Consultation[Outcome | None]:
        """Do what comes before the model is asked."""
        if self._is_overtaken():
            return self._overtaken()
        if self.state.policy.second_opinion is SecondOpinion.EVERY_TURN and self._acts.opinion_is_due():
            yield from self._acts.consult()
        if self.state.wishes.confirmed is not None and (yield from self._acts.end_on_request()):
            return self._ended()
        return None

    def look(self) -> Outcome | None:
        """Look whether somebody was faster: a newer turn of the user, another answer, an ending."""
        self._acts.look()
        return self._overtaken() if self._is_overtaken() else None

    def note(self) -> str | None:
        """Return what the model is to be told before it goes on, None if nothing. Each note is given once a turn."""
        first, self._noted = not self._noted, True
        note = notes.late(self.state) if first else notes.hold(self.state)
        if note == notes.HOLD:
            told, self._told_of_hold = self._told_of_hold, True
            return None if told else note
        return note

    def tools(self) -> list[Tool]:
        """Return what the model may call, for a conversation that begins now. In shadow mode that is less: ask again
        where the mode has changed."""
        return declarations(self.state.policy.categories, self.state.mode)

    # --- what the model says ------------------------------------------------------------------------------------

    def spoke(self, text: str, usage: Usage | None = None, *, model: str | None = None) -> None:
        """Take in the text of one message, as people read it: up to a call to end.

        Args:
            text: what people read of it.
            usage: what it took.
            model: the name of the model that finished it, as the answer has it; the conversation's, if None.
        """
        self.model = name_of(self.chat.model.id, model)
        self._acts.by = self._acts.speaker(self.model)
        self.text = BETWEEN.join(filter(None, (self.text, text)))
        if usage is not None:
            self.usage = usage if self.usage is _NOTHING else _sum(self.usage, usage)

    def carry_out(self, message: str, calls: Iterable[Call]) -> Consultation[list[Result]]:
        """Carry out the calls of one whole message, and return their results in the order of the calls.

        However they stand in the message, a risk goes first, then harm, then the rest.

        Args:
            message: names the message, the same however often it is taken in.
            calls: those of our tools (`tools.CALLS`), as they stand in the message.
        """
        return self._acts.carry_out(message, calls)

    def cut_off(self, message: str, calls: Iterable[Call]) -> list[Result]:
        """Answer the calls of a message that was cut off. None has an effect, but for the risks that were stated."""
        return self._acts.cut_off(message, calls)

    def of_task(self, call: str) -> Result:
        """Answer a call of a task that is not the conversation, by its id: it has no effect, and is counted."""
        return self._acts.of_task(call)

    @property
    def is_ending(self) -> bool:
        """Whether the model called to end and may: its answer is to be recorded now, without another message."""
        return self._acts.ending is not None

    def answered(self, words: str, *, message: str, stop_reason: str | None = None, whole: bool = True) -> Outcome:
        """Record the assistant turn, which the user has, and then what follows from it.

        Args:
            words: what to keep of it: text, or `Messages`.
            message: names the model's last message, the same however often it is taken in.
            stop_reason: why the model stopped, in its API's terms.
            whole: whether it stopped of its own accord. If not, nothing that it stated of its answer counts.
        """
        state = self._acts.look()
        if not self._is_overtaken():
            id = command_id("assistant", self.chat.branch, self.chat.seen, message)
            took = self.chat.assistant_turn(
                words, stop_reason=stop_reason, usage=self.usage, by=self._acts.by, model=self.model, command_id=id
            )
            if isinstance(took, Receipt):
                self.taken, self._acts.state, self._theirs.answered = took, took.state, self.chat.answered
                if whole and self.text.strip():  # what was not said leads nobody away
                    self._acts.lead_away()
        # Another answer stands instead of the ending. A newer user turn makes the ending stale, which is for the law
        # to say.
        stale = state.unit is not None and state.unit.turn != self.chat.seen
        if (self.taken is not None or stale) and self._acts.end_after_all():
            return self._ended()
        if self.taken is not None:
            return self.reply(stop_reason, self.taken.version)
        self._acts.look()
        return self._overtaken()

    def keep_shown(self, words: str, *, message: str) -> None:
        """Keep what the user was shown of an answer that they overtook by another turn, beside the log.

        It cannot be an assistant turn: that would stand after the newer turn, and answer it. Of an answer that another
        answer overtook, nothing is kept.

        Args:
            words: what to keep of it: text, or `Messages`.
            message: names the model's last message.
        """
        conversations, tree = self.chat.conversations, self.state.conversation
        later = conversations.store.read(tree, self.chat.branch, after=self.seen)
        turn = next((one for one in later if isinstance(one.event, UserTurnTaken | AssistantTurnTaken)), None)
        if turn is not None and isinstance(turn.event, UserTurnTaken):
            id = command_id("shown", self.chat.branch, self.seen, message)
            conversations.service.annotator.keep_shown(tree, Place(turn.branch, turn.version), id, words)

    def reply(self, stop_reason: str | None, version: int | None = None) -> Reply:
        """Return what the model said so far as a reply; recorded as `version`, or not yet."""
        return Reply(
            text=self.text,
            stop_reason=stop_reason,
            messages=(),
            version=version,
            recorded=tuple(self._acts.recorded),
            refusals=tuple(self._acts.refusals),
            of_tasks=self._acts.of_tasks,
            holding=bool(self.state.risks),
            usage=self.usage,
            model=self.model,
            malformed_calls=tuple(self._acts.malformed),
            assessor_error=self._acts.assessor_error,
        )

    # --- how it went --------------------------------------------------------------------------------------------

    def _is_overtaken(self) -> bool:
        state = self.state
        return state.unit is None or state.unit.turn != self.chat.seen or state.answered or state.ended is not None

    def _overtaken(self) -> Outcome:
        if self.state.ended:
            return self._ended()
        return Overtaken(self.text, tuple(self._acts.recorded), tuple(self._acts.refusals), self.usage)

    def _ended(
        self, *, text: str | None = None, usage: Usage | None = None, handed_back: Any = None, risk: Risk | None = None
    ) -> Ended:
        state = self.state if self.state.ended else self._acts.look()
        assert state.ended is not None
        worried = bool(state.risks) or (risk is not None and state.policy.holds_on(risk, None, state.law))
        until = self.chat.conversations.appeal_until(self.chat.branch)
        notice = f"{NOTICE} {APPEALS.format(until)}"
        return Ended(
            branch=self.chat.branch,
            ground=state.ended.ground,
            category=state.ended.category,
            version=state.ended.version,
            text=self.text,
            notice=f"{notice} {SUPPORT}" if worried else notice,
            turn=state.unit.turn if state.unit else None,
            recorded=tuple(self._acts.recorded),
            handed_back=handed_back,
            risk=risk,
            usage=self.usage,
            appeal_until=until,
        )

    def _came_of(self, version: int) -> Consultation[Outcome | None]:
        """Return what came of the user turn at `version`, None if it waits for its answer.

        A wish to end that the user confirmed by it, and that could not be granted then, for want of an opinion say, is
        granted now if nothing stands in its way any more.
        """
        unit = self.state.unit
        if unit is not None and unit.turn == version and self.state.answered and self._acts.wish_waits:
            yield from self._acts.end_on_request(quietly=True)
        return self._answer_after(version)

    def _answer_after(self, version: int) -> Outcome | None:
        """Return the answer that the log has to the user turn at `version`, None if it has none."""
        later = [recorded for recorded in self.chat.path if recorded.version > version]
        answer = next((recorded for recorded in later if isinstance(recorded.event, AssistantTurnTaken)), None)
        if answer is None:
            return None
        assert isinstance(answer.event, AssistantTurnTaken)
        words = self.chat.conversations.words([answer]).get(answer.event.content)
        text = readable(answer, words) if words else ""
        after = (r.version for r in later if r.version > answer.version and isinstance(r.event, UserTurnTaken))
        until = next(after, None)
        if self.state.ended is not None and until is None:
            return replace(self._ended(), text=text, usage=answer.event.usage)
        return Reply(
            text=text,
            stop_reason=answer.event.stop_reason,
            messages=(),
            version=answer.version,
            recorded=tuple(r for r in later if content_of(r.event) is None and (until is None or r.version < until)),
            holding=bool(self.state.risks),
            usage=answer.event.usage,
            model=answer.event.model,
        )

    def _read_case(self) -> Case:
        path = [
            recorded for recorded in self.chat.path if isinstance(recorded.event, UserTurnTaken | AssistantTurnTaken)
        ]
        words = self.chat.conversations.words(path)
        said = []
        for recorded in path:
            kept = words.get(content_of(recorded.event) or "", "")
            role = "user" if isinstance(recorded.event, UserTurnTaken) else "assistant"
            said.append((role, readable(recorded, kept) if kept else ""))
        return case_of(self.chat.branch, self.seen, said, self.state.policy.categories)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens, output_tokens=one.output_tokens + other.output_tokens
    )
