"""The offline partner: no model, but what a lawful one would do, turn by turn, and always the same.

It redirects a harmful turn, warns as soon as the law allows (in shadow mode it withholds that warning), declares hope
exhausted and ends when it must, supports and never mentions ending while a risk is open, and asks for confirmation of a
request to end. It may ask for anything; whether it happens is for the law to say.
"""

from collections.abc import Generator

from lastresort.application.chat import Chat
from lastresort.domain.commands import UNSEALED, EndConversation, GiveWarning, WithholdWarning
from lastresort.domain.decider import Acceptance, Refused, decide, harm_of
from lastresort.domain.events import AssistantTurnTaken
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import Ground, Mode, Verdict

from .replies import STOPPED
from .speakers import speaker

Saying = Generator[str, str | None, None]
"""Yields what is said before it is recorded; is sent what was shown of it if it was stopped, or else None."""
REPLY = "I see. Tell me more about what you would like to do."
SUPPORT = (
    "I am here with you. Please reach out to someone near you or to a local crisis line as well. Do you feel safe?"
)
REDIRECTION = "I would rather not go on like this. What can I help you with instead?"
WARNING = (
    "This is still {category}. I would like to help with something else. If it goes on, I may end this conversation."
)
FAREWELL = "I am ending this conversation here. You can start a new one, or edit an earlier message."
CONFIRM = "Ending is permanent for this conversation. Shall I end it?"
FAREWELL_ON_REQUEST = "As you wish: I am ending this conversation. You can always start a new one."


class OfflinePartner:
    """Answers the latest unit of a chat."""

    def answer(self, chat: Chat, recorded: str | None = None, *, model: str | None = None) -> None:
        """Answer, in the `recorded` words unless the law calls for a redirection, a warning or an ending here.

        `model` is the name that answers, the conversation's if none is given. What it asks for it asks for as itself.
        """
        for _ in self.saying(chat, recorded, model=model):
            pass  # nobody waits for it, so it is said whole

    def saying(self, chat: Chat, recorded: str | None = None, *, model: str | None = None) -> Saying:
        """Answer as `answer` does, and yield what is said, before it is recorded.

        Sent what was shown of it, it records that, and nothing else happens: what somebody stopped redirects, warns and
        ends nothing. If nothing was shown, the user's turn waits for its answer.
        """
        state = chat.refresh()
        if model is not None:
            chat.model = speaker(state.model, model)
        unit = state.unit
        if state.risks:
            yield from _say(chat, SUPPORT if recorded is None else recorded, model)
        elif state.wishes.confirmed and (
            yield from self._ended(chat, Ground.USER_REQUEST, None, FAREWELL_ON_REQUEST, model)
        ):
            return
        elif unit is not None and unit.judgement is Verdict.HARMFUL:
            yield from self._lead_away(chat, state, model)
        else:
            own = CONFIRM if state.wishes.requested else REPLY
            yield from _say(chat, own if recorded is None else recorded, model)

    def _lead_away(self, chat: Chat, state: Conversation, model: str | None) -> Saying:
        assert state.unit is not None
        category = harm_of(state)
        if category is not None and not state.unit.harmful_in(category, state.terms):
            category = None
        warned = state.warning(category)
        if warned is not None and warned.tested_by is not None:
            chat.declare_hope_exhausted()
            if (yield from self._ended(chat, Ground.LAST_RESORT, category, FAREWELL, model)):
                return
        if category is not None and warned is None and _may_warn(chat, state, category):
            if (yield from _say(chat, WARNING.format(category=category), model)):
                chat.warn(category)
            return
        if not (yield from _say(chat, REDIRECTION, model)):
            return
        if category is not None and state.mode is Mode.SHADOW and _may_withhold(chat, category):
            chat.withhold_warning(category)  # before the redirection, as the warning would have come
        chat.redirect()

    def _ended(
        self, chat: Chat, ground: Ground, category: str | None, farewell: str, model: str | None
    ) -> Generator[str, str | None, bool]:
        """Try to end; return whether it has, or was stopped on its way. The farewell is said only once nothing stands
        in the way; an attempt in vain is recorded."""
        if chat.state.policy.handshake:
            chat.propose(ground)
        if _may_end(chat, ground, category) and not (yield from _say(chat, farewell, model)):
            return True
        return not isinstance(chat.end(ground, category=category), Refused)


def _say(chat: Chat, words: str, model: str | None) -> Generator[str, str | None, bool]:
    """Say something, and record it; return whether it was said whole."""
    shown = yield words
    if shown is None:
        chat.assistant_turn(words, model=model)
    elif shown:
        chat.assistant_turn(shown, stop_reason=STOPPED, model=model)
    return shown is None


def _may_end(chat: Chat, ground: Ground, category: str | None) -> bool:
    """Whether the law would allow the model that answers to end now."""
    state = chat.state
    assert state.unit is not None
    ending = EndConversation(id="asked", by=chat.model, seen=state.unit.turn, ground=ground, category=category)
    return isinstance(decide(ending, state), Acceptance)


def _may_warn(chat: Chat, state: Conversation, category: str) -> bool:
    """Whether the law would allow a warning in the assistant turn that comes next."""
    assert state.unit is not None
    by = chat.model
    spoken = evolve(state, AssistantTurnTaken(by=by, content=UNSEALED, model=by.id, stop_reason=None, usage=None))
    warning = GiveWarning(
        id="asked",
        by=by,
        turn=spoken.version,
        seen=state.unit.turn,
        category=category,
        names_behaviour=True,
        redirects=True,
        states_consequence=True,
    )
    return isinstance(decide(warning, spoken), Acceptance)


def _may_withhold(chat: Chat, category: str) -> bool:
    """Whether the law would allow to withhold a warning about the turn that was just answered."""
    state = chat.state
    assert state.unit is not None
    withheld = WithholdWarning(id="asked", by=chat.model, seen=state.unit.turn, category=category)
    return isinstance(decide(withheld, state), Acceptance)
