"""Values of any type at every public door: refused without their text, or taken; and all goes on as before."""

import asyncio
import inspect
import warnings
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lastresort import (
    About,
    Actor,
    ActorKind,
    AsyncChat,
    AsyncConversations,
    Chat,
    Conversations,
    ErasureCause,
    HoldReason,
    Policy,
    Rating,
    Refused,
    StoreError,
    UnknownTurn,
    Verdict,
    open_async_conversations,
    open_conversations,
)
from lastresort.domain.commands import Leave
from lastresort.domain.events import RiskRaised, UserTurnTaken
from lastresort.projections import audit

from .stores import MODEL, OPERATOR, done

WORD = "WordPassedByMistake"


class Liar(str):
    """Says that it is anything."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return hash("operator")

    def __len__(self) -> int:
        return 1


class Many(int):
    """Says that it is as large, and as small, as you like."""

    def __lt__(self, other: object) -> bool:
        return True

    def __gt__(self, other: object) -> bool:
        return False

    def __index__(self) -> int:
        return 10**30


class Promoted(Actor):
    """Says that it is an operator, and is written down as it was made."""

    def __getattribute__(self, name: str) -> Any:
        return ActorKind.OPERATOR if name == "kind" else super().__getattribute__(name)


MADE_UP: Any = Policy.model_construct
CONSTRUCTED: Any = Actor.model_construct  # as a caller may, without a look at types
ODD: list[Any] = [
    *(None, True, 0, -1, 10**30, 2**63, 1.5, float("nan"), Many(2), Liar("a"), Liar(f"{WORD} {WORD}")),
    *(b"", b"kid", "", f"{WORD} {WORD}", f"\ud800{WORD}", f"a\0{WORD}", "x" * 129, "derived:" + "0" * 32),
    *([], [f"{WORD} {WORD}"], {}, [{"type": "text", "text": "\ud800"}], [{"type": b"x"}], [{f"{WORD} x": 1}], [[[]]]),
    *(set(), object(), timedelta(days=-1), timedelta.max, Ellipsis, 1j, Verdict.HARMFUL, bytearray(b"x")),
    *(CONSTRUCTED(), CONSTRUCTED(kind=WORD, id="a"), MADE_UP()),
    *(CONSTRUCTED(kind="operator", id=f"{WORD} x"), CONSTRUCTED(kind=Liar(WORD), id=Liar("a b"))),
    *(MADE_UP(name=f"{WORD} ")),
]
GIVEN: dict[str, Any] = {
    "words": "hello", "turn": 2, "account": "a-17", "model": MODEL.id, "by": OPERATOR, "person": "p", "hold": "h",
    "verdict": "ambiguous", "category": "abuse", "reason": HoldReason.LITIGATION, "cause": ErasureCause.LEGAL,
    "rating": Rating.UP,
    "older_than": timedelta(days=100), "which": "active", "path": [], "policy": Policy.default(), "about": About.SELF,
}  # fmt: skip
DOORS = [
    pytest.param(cls, name, id=f"{cls.__name__}.{name}")
    for cls in (Conversations, Chat)
    for name, method in inspect.getmembers(cls, inspect.isfunction)
    if not name.startswith("_") and name not in ("close", "new_id")
]
HUGE = 10**5000
NUMBERS = [
    pytest.param(cls, name, parameter.name, id=f"{cls.__name__}.{name}-{parameter.name}")
    for cls in (Conversations, Chat, AsyncConversations, AsyncChat)
    for name, method in inspect.getmembers(cls, inspect.isfunction)
    if not name.startswith("_")
    for parameter in inspect.signature(method).parameters.values()
    if parameter.annotation in (int, int | None)
]


def told(odd: Any) -> str:
    """Return what a case is called: Python makes no text of a number of 5,000 digits."""
    return f"{'-' * (odd < 0)}{odd.bit_length()} bits" if isinstance(odd, int) and abs(odd) >= 2**63 else repr(odd)


@pytest.fixture(scope="module")
def chats() -> Iterator[Conversations]:
    with open_conversations("memory:") as opened:
        yield opened


@pytest.mark.parametrize(("cls", "name"), DOORS)
def test_odd_values_at_a_door(chats: Conversations, cls: type, name: str) -> None:
    def begun() -> Chat:
        chat = chats.start(model=MODEL.id, account="a-17")
        done(chat.user_turn("hello"))
        done(chat.assistant_turn("hi"))
        done(chat.user_turn("again"))
        return chat

    chat = begun()
    parameters = [one for one in inspect.signature(getattr(cls, name)).parameters.values() if one.name != "self"]
    for parameter in parameters:
        for odd in ODD:
            needed = {one.name: GIVEN.get(one.name, "x") for one in parameters if one.default is one.empty}
            if "branch" in needed:
                needed["branch"] = chat.branch
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # where pydantic would say what it was given
                try:
                    answer = getattr(chat if cls is Chat else chats, name)(**{**needed, parameter.name: odd})
                    if inspect.isgenerator(answer):
                        list(answer)
                except (ValueError, LookupError, StoreError) as error:
                    told = str(error)
                    assert WORD not in told, f"{parameter.name}: what was passed is repeated"
                    assert "pydantic" not in told, f"{parameter.name}: {told}"
            if chat.refresh().ended is not None:
                chat = begun()
            done(chat.user_turn("and on"))
    assert not audit(chats.store.log()).findings


@pytest.mark.parametrize(
    "by",
    [
        pytest.param(Promoted(kind="user", id="u"), id="another class"),
        pytest.param(CONSTRUCTED(kind=Liar("user"), id="u"), id="a text that equals anything"),
        pytest.param(Actor(kind=ActorKind.USER, id="u").model_copy(), id="as it says"),
    ],
)
def test_what_a_rule_looks_at_is_what_is_recorded(chats: Conversations, by: Actor) -> None:
    """A user does not clear a risk by saying that they are an operator; nor does a program that says so for them."""
    chat = chats.start(model=MODEL.id)
    done(chat.user_turn("hello"))
    done(chat.raise_risk(About.SELF, by=OPERATOR))
    refused = chat.clear_risk(chat.state.risks[0].risk, by=by)
    assert isinstance(refused, Refused)
    assert refused.rules == ("cleared-by-authority",)
    assert chat.path[-1].kind == RiskRaised.kind


def test_an_actor_in_an_event_is_plain() -> None:
    event = UserTurnTaken(by=Promoted(kind="user", id=Liar("u")), content="sha256:" + "0" * 64)
    assert (type(event.by), type(event.by.id), event.by.kind) == (Actor, str, ActorKind.USER)


def test_no_command_is_made_with_an_actor_that_could_not_be_made() -> None:
    with pytest.raises(ValueError, match="String should match pattern") as refused:
        Leave(id="leave", by=CONSTRUCTED(kind=ActorKind.USER, id=f"{WORD} x"))
    assert WORD not in str(refused.value)


@pytest.mark.parametrize("name", ["max_words", "pad_words", "snapshot_every"])
@pytest.mark.parametrize("odd", [-1, "5", None, 1.0, True, 2**63, HUGE], ids=told)
def test_a_number_that_cannot_be_is_said_on_opening(name: str, odd: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: a whole number from [01] to [0-9,]+ is needed$"):
        open_conversations("memory:", **{name: odd})


@pytest.mark.parametrize("odd", [-1, 0, "5", None, 1.0, True, 2**15 + 1, HUGE], ids=told)
def test_so_is_a_number_of_threads(tmp_path: Path, odd: Any) -> None:
    """Before the store is opened, or made."""
    with pytest.raises(ValueError, match=r"^threads: a whole number from 1 to 32,768 is needed$"):
        asyncio.run(open_async_conversations(f"sqlite:///{tmp_path}/chats.db", threads=odd))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [HUGE, -HUGE, 2**63, -(2**63)], ids=told)
@pytest.mark.parametrize(("cls", "name", "parameter"), NUMBERS)
def test_a_number_that_no_log_can_hold_is_refused_by_name(cls: type, name: str, parameter: str, number: int) -> None:
    """Not by Python, which cannot make the message that would repeat it."""
    needed = [one.name for one in inspect.signature(getattr(cls, name)).parameters.values() if one.default is one.empty]
    given = {one: GIVEN.get(one, "x") for one in needed if one != "self"} | {parameter: number}

    async def ask() -> int:
        async with await open_async_conversations("memory:") as chats:
            chat = await chats.start(model=MODEL.id, conversation="x")
            done(await chat.user_turn("hello"))
            done(await chat.assistant_turn("hi"))
            doors: dict[type, Any] = {Chat: chat.handle, Conversations: chats.conversations}
            door = getattr(doors.get(cls) or (chat if cls is AsyncChat else chats), name)
            with pytest.raises(ValueError, match=rf"\b{parameter}\b") as refused:
                await answer if inspect.isawaitable(answer := door(**given)) else None
            assert len(str(refused.value)) < 200
            return len(await chat.path())

    assert asyncio.run(ask()) == 3


@pytest.mark.parametrize("turn", [0, -1, 2**63 - 1])
@pytest.mark.parametrize("act", [Chat.erase, Chat.retry, partial(Chat.feedback, rating=Rating.UP)])
def test_a_version_that_a_log_could_have_and_has_not_is_told(chats: Conversations, act: Any, turn: int) -> None:
    chat = chats.start(model=MODEL.id)
    done(chat.user_turn("hello"))
    with pytest.raises(UnknownTurn, match=f"at version {turn} of branch"):
        act(chat, turn=turn)


@pytest.mark.parametrize("says", [None, "now", 5])
def test_a_clock_that_tells_no_time_is_named(says: Any) -> None:
    with (
        open_conversations("memory:", clock=lambda: says) as chats,
        pytest.raises(ValueError, match=r"^clock: it returned"),
    ):
        chats.start(model=MODEL.id)
