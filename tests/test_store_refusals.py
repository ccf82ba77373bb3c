"""What no store writes, since nobody could read it again, and what none is asked for, since it is not there."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from lastresort import HoldReason, StoreClosed, open_async_conversations, open_conversations
from lastresort.adapters.opening import Store, open_store
from lastresort.application.outcomes import UnknownBranch
from lastresort.application.ports import Append, NewEvent, Place, VersionConflict
from lastresort.domain.events import BranchOpened, UserLeft, UserTurnTaken
from lastresort.domain.values import Actor, ForkCause

from .stores import DURABLE_STORES, OPERATOR, STORES, USER, new_url

NOW = "2026-01-31T12:00:00.000000+00:00"
DIGEST = "sha256:" + "ab" * 32
ANY: Any = UserTurnTaken.model_construct
NOBODY: Any = Actor.model_construct


def append(
    command: str = "2", branch: Any = "b", version: Any = 2, at: Any = NOW, event: Any = None, **more: Any
) -> Any:
    event = event or UserLeft(by=USER)
    return Append("b", command, command, at, (NewEvent(branch, version, event, more.pop("sealed", None)),), **more)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    store, vault, _ = open_store(new_url(request.param, request))
    store.append(append("1", version=1, event=UserTurnTaken(by=USER, content=DIGEST)))
    yield store
    vault.close()
    store.close()


@pytest.mark.parametrize("kind", STORES)
def test_a_store_that_was_closed_says_so(kind: str, request: pytest.FixtureRequest) -> None:
    """Whatever is asked of it, on every engine and at once: nobody is told to try again, and no error of a library
    comes out."""
    with open_conversations(new_url(kind, request)) as chats:
        chat = chats.start(account="a", model="claude-opus-4-1")
        chat.user_turn("Hello.")
    asked: list[Callable[[], object]] = [
        lambda: chat.user_turn("And now?"),
        lambda: chats.start(model="claude-opus-4-1"),
        lambda: chat.transcript(),
        lambda: chats.list(account="a"),
        lambda: chat.erase(2),
        lambda: chat.describe(title="A title"),
        lambda: list(chats.store.log()),
        lambda: chats.page("active"),
        lambda: chats.holds(),
        lambda: chats.person_of("a"),
        lambda: chats.store.append(),
        lambda: chat.hold("case", reason=HoldReason.OTHER, by=OPERATOR),
    ]
    for ask in asked:
        with pytest.raises(StoreClosed, match="the store was closed"):
            ask()
    chats.close()


@pytest.mark.parametrize("kind", STORES)
def test_a_store_that_was_closed_says_so_to_asyncio(kind: str, request: pytest.FixtureRequest) -> None:
    """In the same words, and not in those of a pool of threads."""
    url = new_url(kind, request)

    async def story() -> None:
        async with await open_async_conversations(url) as chats:
            chat = await chats.start(account="a", model="claude-opus-4-1")
        asked: list[Callable[[], Awaitable[object]]] = [
            lambda: chat.user_turn("And now?"),
            lambda: chat.transcript(),
            lambda: chats.list(account="a"),
        ]
        for ask in asked:
            with pytest.raises(StoreClosed, match="the store was closed"):
                await ask()
        with pytest.raises(StoreClosed):
            chats.conversations.state(chat.branch)
        await chats.close()

    asyncio.run(story())


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_whoever_holds_a_store_that_was_closed_is_told_too(kind: str, request: pytest.FixtureRequest) -> None:
    """A follower, say: PostgreSQL was tried again until the deadline."""
    store, vault, _ = open_store(new_url(kind, request))
    store.close()
    vault.close()
    for ask in (lambda: list(store.log()), lambda: store.append(append()), store.head):
        with pytest.raises(StoreClosed):
            ask()


MALFORMED = {
    "digest, empty": append(event=ANY(by=USER, content="sha256:")),
    "digest, with spaces": append(event=ANY(by=USER, content="sha256:" + "ab " * 32)),
    "digest, in capitals": append(event=ANY(by=USER, content="sha256:" + "AB" * 32)),
    "digest, of another type": append(event=ANY(by=USER, content=5)),
    "no event": append(event={"kind": "UserLeft"}),
    **{
        f"time {at!r}": append(at=at)
        for at in ("now", None, 5, "2026-01-31T12:00:00", "9999-99-99T99:99:99Z", NOW + "\n")
    },
    "time before time": append(at="0001-01-01T00:00:00+14:00"),
    **{f"branch {b!r}": append(branch=b, version=1) for b in ("", "a b", "\0", "\ud800", "x" * 129, None, 7, b"b")},
    **{f"version {v!r}": append(version=v) for v in (2.0, "2", None, True)},
    "sealed text": append(sealed="in plain"),
    "erased nowhere": append(erased=(Place("b", 2**70),)),
    "erased of nobody": append(erased=(Place("\0", 1),)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_could_not_be_read_again_is_not_written(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match=r"malformed|content|bytes"):
        store.append(MALFORMED[name])
    with pytest.raises(ValueError, match=r"malformed|content|bytes"):
        store.import_log([append("3", branch="c", version=1), MALFORMED[name]])
    assert [one.command_id for one in store.log()] == ["1"]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("by", [None, NOBODY(kind="user", id=["u"]), NOBODY(id="u")])
def test_a_turn_of_nobody_is_not_written(store: Store, by: Any) -> None:
    """Turns that say the same as one before are not read back again; what is no actor says the same as none."""
    with pytest.raises(ValueError, match="by"):
        store.append(append(event=ANY(by=by, content=DIGEST)))
    assert [one.command_id for one in store.log()] == ["1"]


@pytest.mark.parametrize("version", [-1, 0, 2**63, 2**70])
def test_a_version_that_no_branch_has_is_a_conflict(store: Store, version: int) -> None:
    with pytest.raises(VersionConflict):
        store.append(append(version=version))


@pytest.mark.parametrize("branch", ["\0", "\ud800", 5, None])
def test_what_is_no_id_is_not_in_the_log(store: Store, branch: Any) -> None:
    assert not store.read(branch, branch)
    assert not store.heads(branch)
    assert not store.recorded_by(branch, branch)
    assert store.tree_of(branch) is None
    assert store.contents([Place(branch, 1), Place("b", 2**70)]) == {}


@pytest.mark.parametrize("number", [-1, -(2**70)])
def test_numbers_below_zero_are_zero(store: Store, number: int) -> None:
    assert list(store.log(after=number)) == list(store.log())
    assert list(store.log(limit=number)) == list(store.read("b", "b", limit=number)) == []


@pytest.mark.parametrize("parent", ["ring", "nobody"])
@pytest.mark.parametrize("kind", STORES)
def test_a_branch_that_never_began_stops_no_list(kind: str, parent: str, request: pytest.FixtureRequest) -> None:
    """Someone who may write to the log can make a branch its own parent: that is for an audit to say."""
    chats = open_conversations(new_url(kind, request))
    chats.start(model="m", conversation="b")
    opened = BranchOpened.model_construct(
        by=USER, conversation="b", parent=parent, at=5, cause=ForkCause.EDIT, risks=(), holds=()
    )
    chats.store.append(append(branch="ring", version=6, event=opened))
    with pytest.raises(UnknownBranch):
        chats.state("ring")
    assert [row.conversation for row in chats.list().rows] == ["b"]
    assert len(list(chats.branch_rows())) == 1
    chats.close()


@pytest.mark.parametrize("kind", STORES)
def test_what_no_conversation_has_is_named(kind: str, request: pytest.FixtureRequest) -> None:
    chats = open_conversations(new_url(kind, request))
    time, odd = "0001-01-01T00:00:00+14:00", ("\0", "\ud800", 5)
    asked: list[dict[str, Any]] = [{"since": time}, {"until": 5}, {"after": 5}, {"limit": 2.5}, {"limit": True}]
    asked += [{name: value} for name in ("account", "arm", "model") for value in odd]
    for one in asked:
        with pytest.raises(ValueError, match=f"^{next(iter(one))}: "):
            chats.list(**one)
    for numbers in ({"after": 1.5}, {"limit": 1.5}, {"after": True}):
        with pytest.raises(ValueError, match="no such page"):
            chats.page("active", **numbers)
    with pytest.raises(UnknownBranch):
        chats.state("\0")
    chats.close()
