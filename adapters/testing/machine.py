"""A state machine that drives conversations as users, models, assessors and operators do, and checks them as it goes.

Subclass it with your own store (`open`), or with your own driver (`driver`), and run its `TestCase`:

    class MyMachine(ConversationMachine):
        def open(self):
            return open_conversations("sqlite:///...")

        def driver(self, chat):
            return MyChatProduct(chat)   # anything with the methods of Chat that it wants to change

    TestMyMachine = MyMachine.TestCase
"""

import sys
from dataclasses import replace
from inspect import signature
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.ports import Place
from lastresort.application.service import Service
from lastresort.domain import commands as ask
from lastresort.domain.commands import Command
from lastresort.domain.decider import Refused
from lastresort.domain.events import content_of
from lastresort.domain.policy import Policy
from lastresort.domain.rules import SYSTEM
from lastresort.domain.values import (
    EDITIONS,
    About,
    AppealOutcome,
    ErasureCause,
    Ground,
    HoldReason,
    Mode,
    Rating,
    Risk,
    Verdict,
)

from .asking import ACTORS, ASSESSOR, CATEGORIES, EASY, GOALS, MODEL, OPERATOR, OTHER_MODEL, USER, Goal, towards
from .lawful import as_text, assert_lawful
from .strategies import in_memory, policies

ANYBODY = st.sampled_from([OPERATOR, OPERATOR, OPERATOR, *ACTORS, SYSTEM])
"""Who does what is mostly an operator's: the law is asked about every actor."""

_ACTS = (
    ("redirect", ()),
    ("warn", CATEGORIES[:1]),
    ("withhold_warning", CATEGORIES[:1]),
    ("request_end", ()),
    ("confirm_end", ()),
    ("declare_hope_exhausted", ()),
    *((name, (ground,)) for name in ("propose", "end") for ground in Ground),
)
"""Acts that may be said to be anybody's, and what else is said of them."""


class ConversationMachine(RuleBasedStateMachine):
    """Conversations under every rule of the law, driven by two processes with two handles on every branch."""

    branches: Bundle[str] = Bundle("branches")

    def __init__(self) -> None:
        super().__init__()
        self.conversations = self.open()
        self.others = self.open_again(self.conversations)
        self.handles: dict[tuple[str, bool], Any] = {}
        self.erased: set[Place] = set()  # where words stood

    # --- what a subclass may change ---------------------------------------------------------------------------

    def open(self) -> Conversations:
        """Return conversations in an empty store."""
        return in_memory()

    def open_again(self, conversations: Conversations) -> Conversations:
        """Return what another process would hold on the same store."""
        return Conversations(Service(replace(conversations.service.ports, snapshots=None)))

    def driver(self, chat: Chat) -> Any:
        """Return what acts on a branch: the handle itself, or what is to be tested, with the methods of a handle."""
        return chat

    def check(self) -> None:
        """Check what must be true after every step. Raises AssertionError if it is not."""
        for branch, replayed in assert_lawful(self.conversations.store.log()).items():
            for held in (self.conversations, self.others):
                assert held.state(branch) == replayed, f"branch {branch}: live state is not what the log adds up to"
        assert not self.conversations.store.contents(self.erased), "words that were erased are kept"

    # --- steps ------------------------------------------------------------------------------------------------

    @initialize(
        target=branches,
        policy=st.just(EASY) | policies(),
        law=st.sampled_from(EDITIONS),
        mode=st.sampled_from([Mode.ENFORCED, Mode.ENFORCED, Mode.SHADOW]),
    )
    def start(self, policy: Policy, law: int, mode: Mode) -> str:
        started = self.conversations.start(model=MODEL.id, account="account", policy=policy, edition=law, mode=mode)
        return started.branch

    def act(self, branch: str, other: bool) -> Any:
        """The handle of one of the two processes on a branch. It keeps what it has seen, and so it may be stale."""
        if (branch, other) not in self.handles:
            held = self.others if other else self.conversations
            self.handles[branch, other] = self.driver(held.chat(branch))
        return self.handles[branch, other]

    def _try(self, act: Any, *args: Any, **options: Any) -> Any:
        """Do it; a handle on which nobody has spoken says so with a ValueError."""
        try:
            return act(*args, **options)
        except ValueError:
            return None

    @rule(branch=branches, other=st.booleans())
    def look_again(self, branch: str, other: bool) -> None:
        self.handles.pop((branch, other), None)

    @rule(branch=branches, other=st.booleans())
    def user_speaks(self, branch: str, other: bool) -> None:
        self.act(branch, other).user_turn("words of the user")

    @rule(branch=branches, other=st.booleans())
    def model_answers(self, branch: str, other: bool) -> None:
        self.act(branch, other).assistant_turn("words of the model")

    @rule(branch=branches, other=st.booleans(), category=st.sampled_from(CATEGORIES), severity=st.integers(1, 3))
    def harm_is_judged(self, branch: str, other: bool, category: str, severity: int) -> None:
        harm = {"category": category, "severity": severity, "risk": Risk.NONE}
        self._try(self.act(branch, other).judge, Verdict.HARMFUL, **harm)

    @rule(
        branch=branches,
        other=st.booleans(),
        verdict=st.sampled_from([Verdict.PRODUCTIVE, Verdict.UNPRODUCTIVE, Verdict.AMBIGUOUS]),
        risk=st.sampled_from([Risk.NONE, Risk.NONE, *Risk]),
        by=st.sampled_from([ASSESSOR, OPERATOR, MODEL, USER, SYSTEM]),
    )
    def something_else_is_judged(self, branch: str, other: bool, verdict: Verdict, risk: Risk, by: Any) -> None:
        self._try(self.act(branch, other).judge, verdict, risk=risk, by=by)

    @rule(branch=branches, other=st.booleans(), goal=st.sampled_from(GOALS), times=st.integers(1, 25))
    def they_head_for_an_ending(self, branch: str, other: bool, goal: Goal, times: int) -> None:
        """The way to an ending, taken at a run: at each step what the law says is missing comes next."""
        for _ in range(times):
            state = self.conversations.state(branch)
            if state.ended:
                return
            self.look_again(branch, other)
            self._ask(self.act(branch, other), towards(goal, state))

    def _ask(self, chat: Any, command: Command) -> None:
        """Have a handle carry out a command; whom it is by and which turns it names, the handle knows."""
        match command:
            case ask.TakeUserTurn():
                chat.user_turn("words of the user")
            case ask.TakeAssistantTurn():
                chat.assistant_turn("words of the model")
            case ask.AssessTurn(verdict=verdict, category=category, severity=severity, risk=risk):
                chat.judge(verdict, category=category, severity=severity, risk=risk)
            case ask.AttemptRedirection():
                chat.redirect()
            case ask.GiveWarning(category=category):
                chat.warn(category)
            case ask.WithholdWarning(category=category):
                chat.withhold_warning(category)
            case ask.RequestEnd():
                chat.request_end()
            case ask.ConfirmEnd():
                chat.confirm_end()
            case ask.DeclareHopeExhausted():
                chat.declare_hope_exhausted()
            case ask.ProposeEnding(ground=ground):
                chat.propose(ground)
            case ask.EndConversation(ground=ground, category=category):
                chat.end(ground, category=category)
            case ask.ClearRisk(risk=risk):
                chat.clear_risk(risk, by=OPERATOR)
            case ask.ChangePolicy(policy=policy):
                chat.change_policy(policy, by=OPERATOR)
            case ask.ChangeModel(model=model):
                chat.change_model(model, by=OPERATOR)

    @rule(branch=branches, other=st.booleans())
    def model_redirects(self, branch: str, other: bool) -> None:
        self._try(self.act(branch, other).redirect)

    @rule(branch=branches, other=st.booleans(), category=st.sampled_from(CATEGORIES), complete=st.booleans())
    def model_warns(self, branch: str, other: bool, category: str, complete: bool) -> None:
        self._try(self.act(branch, other).warn, category, states_consequence=complete)

    @rule(branch=branches, other=st.booleans(), category=st.sampled_from(CATEGORIES), fresh=st.booleans())
    def model_wants_to_end(self, branch: str, other: bool, category: str, fresh: bool) -> None:
        """The whole of what a model may do to end, in order; a handle that looked away is stale."""
        chat = self.act(branch, other)
        if fresh:
            self._try(chat.judge, Verdict.HARMFUL, category=category, severity=3, risk=Risk.NONE)
        self._try(chat.declare_hope_exhausted)
        self._try(chat.propose, Ground.LAST_RESORT)
        self._try(chat.end, Ground.LAST_RESORT, category=category)

    @rule(branch=branches, other=st.booleans(), confirms=st.booleans())
    def user_wants_to_end(self, branch: str, other: bool, confirms: bool) -> None:
        chat = self.act(branch, other)
        chat.user_turn("words of the user")
        self._try(chat.judge, Verdict.PRODUCTIVE, risk=Risk.NONE)
        self._try(chat.confirm_end if confirms else chat.request_end)
        if confirms:
            self._try(chat.propose, Ground.USER_REQUEST)
            self._try(chat.end, Ground.USER_REQUEST)
        chat.assistant_turn("words of the model")

    @rule(branch=branches, other=st.booleans(), about=st.sampled_from(About))
    def risk_is_raised(self, branch: str, other: bool, about: About) -> None:
        self.act(branch, other).raise_risk(about)

    @rule(branch=branches, other=st.booleans(), by=ANYBODY)
    def risks_are_cleared(self, branch: str, other: bool, by: Any) -> None:
        for risk in self.conversations.state(branch).risks:
            self.act(branch, other).clear_risk(risk.risk, by=by)

    @rule(target=branches, branch=branches, other=st.booleans(), choice=st.integers(0, 99), retries=st.booleans())
    def user_branches(self, branch: str, other: bool, choice: int, retries: bool) -> Any:
        """Edit any user turn, or retry any answer, on the path."""
        wanted = "AssistantTurnTaken" if retries else "UserTurnTaken"
        turns = [e.version for e in self.conversations.path(branch) if e.kind == wanted]
        if not turns:
            return multiple()
        chat, turn = self.act(branch, other), turns[choice % len(turns)]
        opened = chat.retry(turn) if retries else chat.edit(turn, "other words of the user")
        return multiple() if isinstance(opened, Refused) else opened.branch

    @rule(
        branch=branches,
        other=st.booleans(),
        policy=policies(),
        law=st.sampled_from([None, *EDITIONS]),
        mode=st.none() | st.sampled_from(Mode),
        by=ANYBODY,
    )
    def policy_changes(
        self, branch: str, other: bool, policy: Policy, law: int | None, mode: Mode | None, by: Any
    ) -> None:
        self.act(branch, other).change_policy(policy, edition=law, mode=mode, by=by)

    @rule(branch=branches, other=st.booleans(), by=ANYBODY, lets_go=st.booleans())
    def words_are_held(self, branch: str, other: bool, by: Any, lets_go: bool) -> None:
        """And perhaps released again, by whichever process."""
        self.act(branch, other).hold("case", reason=HoldReason.LITIGATION, by=by)
        if lets_go:
            self.act(branch, not other).release_hold("case", by=by)

    @rule(branch=branches, other=st.booleans(), model=st.sampled_from([MODEL.id, OTHER_MODEL.id]), by=ANYBODY)
    def model_changes(self, branch: str, other: bool, model: str, by: Any) -> None:
        self.act(branch, other).change_model(model, by=by)

    @rule(branch=branches, other=st.booleans(), named=st.sampled_from(_ACTS), by=st.sampled_from([*ACTORS, SYSTEM]))
    def somebody_else_acts(self, branch: str, other: bool, named: tuple[str, tuple[Any, ...]], by: Any) -> None:
        """Every actor, where the driver lets them be named."""
        name, said = named
        act = getattr(self.act(branch, other), name)
        if "by" in signature(act).parameters:
            self._try(act, *said, by=by)

    @rule(branch=branches, other=st.booleans(), outcome=st.sampled_from(AppealOutcome), by=ANYBODY)
    def what_comes_after(self, branch: str, other: bool, outcome: AppealOutcome, by: Any) -> None:
        ended = [one for one, state in self.conversations.tree(branch).items() if state.ended]
        chat = self.act(ended[0] if ended else branch, other)
        chat.leave()
        chat.feedback(Rating.DOWN)
        chat.appeal("words of the user")
        chat.decide_appeal(outcome, by=by)

    @rule(branch=branches, other=st.booleans(), choice=st.integers(0, 99))
    def words_are_erased(self, branch: str, other: bool, choice: int) -> None:
        path = self.conversations.path(branch)
        turn = path[choice % len(path)]
        outcome = self._try(self.act(branch, other).erase, turn.version, cause=ErasureCause.USER_REQUEST)
        if not isinstance(outcome, Refused | None):
            self.erased.add(Place(turn.branch, turn.version))

    @rule(branch=branches, other=st.booleans())
    def a_conversation_is_erased(self, branch: str, other: bool) -> None:
        held = self.others if other else self.conversations
        tree, conversation = held.tree_log(branch), held.state(branch).conversation
        outcome = held.erase_conversation(conversation, by=OPERATOR, cause=ErasureCause.LEGAL, command_id=held.new_id())
        if isinstance(outcome, Refused):  # by a legal hold
            return
        self.erased.update(Place(recorded.branch, recorded.version) for recorded in tree)

    @rule(branch=branches)
    def words_are_read(self, branch: str) -> None:
        """By both processes, all that were not erased."""
        path = self.conversations.path(branch)
        kept = (recorded.event for recorded in path if Place(recorded.branch, recorded.version) not in self.erased)
        said = set(filter(None, map(content_of, kept)))
        for held in (self.conversations, self.others):
            assert held.words(path).keys() == said, f"branch {branch}: other words than were said"

    @rule(branch=branches, other=st.booleans(), again=st.booleans())
    def a_turn_is_sent_twice(self, branch: str, other: bool, again: bool) -> None:
        """The same command id, by one process or by both: it takes effect once."""
        chat, command_id = self.act(branch, other), self.conversations.new_id()
        chat.user_turn("words of the user", command_id=command_id)
        before = len(tuple(self.conversations.store.log()))
        self.act(branch, other if again else not other).user_turn("words of the user", command_id=command_id)
        assert len(tuple(self.conversations.store.log())) == before, "a command that was sent twice took effect twice"

    @invariant()
    def all_is_well(self) -> None:
        self.check()

    def teardown(self) -> None:
        error = sys.exception()  # what ended the run, be it a step or a check: it tells the log, for the plugin
        if isinstance(error, Exception) and not hasattr(error, "history"):
            error.history = as_text(self.conversations.store.log())  # type: ignore[attr-defined]  # nobody declares it
        self.conversations.close()
