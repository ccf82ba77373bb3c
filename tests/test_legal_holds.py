"""Legal holds: of a conversation and of an account, listed while they stand, and met by every erasure first."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import Result

from lastresort import Chat, Conversations, ErasureCause, HoldReason, open_async_conversations, open_conversations
from lastresort.application.ports import Place
from lastresort.domain import rules
from lastresort.domain.events import content_of
from lastresort.domain.values import EDITIONS
from lastresort.projections import audit

from .cli_kit import run
from .narrow import must_be
from .service_kit import another, done, refused_by, talk
from .stores import MODEL, OPERATOR, STORES, USER, counting, new_url, opened

__all__ = ["run"]

WHY = HoldReason.LITIGATION


@pytest.fixture(params=STORES)
def chats(request: pytest.FixtureRequest) -> Iterator[Conversations]:
    with opened(new_url(request.param, request)) as conversations:
        yield conversations


def told(chats: Conversations, *names: str, account: str | None = "a-17", law: int = 1) -> list[Chat]:
    found = []
    for name in names:
        chat = chats.start(model=MODEL.id, account=account, conversation=name, edition=law)
        talk(chat, f"This is said in {name}.", "So it is.")
        found.append(chat)
    return found


def standing(chats: Conversations, **which: Any) -> list[tuple[str, str]]:
    return [(row.conversation, row.hold) for row in chats.holds(**which).rows]


# --- An account -------------------------------------------------------------------------------------------------------


def test_an_account_is_held_and_released(chats: Conversations) -> None:
    """Each of its conversations, and nobody else's; the list says which, why, by whom and since when."""
    told(chats, "c-1", "c-2")
    told(chats, "other", account="b-3")
    held = chats.hold_account("a-17", "case-12", reason=WHY, until="2027-01-31", by=OPERATOR)
    assert held == (("c-1", "c-2"), (), {}, ())
    first, second = chats.holds().rows
    assert first._replace(since="") == ("c-1", "a-17", "case-12", "litigation", "2027-01-31", "operator", "")
    assert (second.conversation, first.since) == (
        "c-2",
        next(one.recorded_at for one in chats.path("c-1") if one.kind == "ErasureHeld"),
    )
    assert chats.erase_account("a-17", by=OPERATOR, cause=ErasureCause.LEGAL).erased == ()
    assert chats.erase_account("b-3", by=OPERATOR, cause=ErasureCause.LEGAL).erased == ("other",)
    assert chats.release_account("a-17", "case-12", by=OPERATOR) == (("c-1", "c-2"), (), {}, ("c-1", "c-2"))
    assert chats.holds() == ((), None)
    assert chats.erase_account("a-17", by=OPERATOR, cause=ErasureCause.LEGAL).erased == ("c-1", "c-2")
    assert audit(chats.store.entries()).findings == ()


def test_what_is_begun_later_is_held_by_the_next_call(chats: Conversations) -> None:
    """Which passes over what is held already; and a release passes over what is not held."""
    told(chats, "c-1")
    chats.hold_account("a-17", "case-12", reason=WHY, by=OPERATOR)
    told(chats, "c-2")
    assert standing(chats) == [("c-1", "case-12")]
    assert chats.hold_account("a-17", "case-12", reason=WHY, by=OPERATOR) == (("c-2",), ("c-1",), {}, ())
    later = chats.hold_account("a-17", "case-12", reason=HoldReason.REGULATOR, by=OPERATOR)
    assert later.changed == ("c-1", "c-2")
    assert {row.reason for row in chats.holds().rows} == {"regulator"}
    told(chats, "c-3")
    assert chats.release_account("a-17", "case-12", by=OPERATOR) == (("c-1", "c-2"), ("c-3",), {}, ())


def test_sent_again_it_is_set_once(chats: Conversations) -> None:
    """By its command id, and that of each conversation follows from it."""
    told(chats, "c-1", "c-2")
    for _ in range(2):
        done(chats.chat("c-1").hold("other", reason=WHY, by=OPERATOR, command_id="other"))
        chats.hold_account("a-17", "case-12", reason=WHY, by=OPERATOR, command_id="hold")
    assert [one.kind for one in chats.store.log()].count("ErasureHeld") == 3


def test_a_person_is_held_and_released(chats: Conversations) -> None:
    """By what the application calls them; of somebody whom nobody knows there is nothing to hold."""
    chats.start(model=MODEL.id, person="ada@example.com", conversation="hers")
    told(chats, "c-1")
    held = chats.hold_account(person="ada@example.com", hold="case-12", reason=WHY, by=OPERATOR)
    assert held == (("hers",), (), {}, ())
    assert standing(chats, person="ada@example.com") == standing(chats) == [("hers", "case-12")]
    assert standing(chats, person="nobody") == []
    nobody: list[dict[str, Any]] = [{"person": "nobody"}, {"account": "nobody"}]
    for whose in nobody:
        with pytest.raises(ValueError, match=r"^no conversation of this account, or of this person"):
            chats.hold_account(**whose, hold="case-12", reason=WHY, by=OPERATOR)
        with pytest.raises(ValueError, match=r"^no conversation of this account, or of this person"):
            chats.release_account(**whose, hold="case-12", by=OPERATOR)
    assert chats.release_account(person="ada@example.com", hold="case-12", by=OPERATOR) == (("hers",), (), {}, ())
    for account, person in ((None, None), ("a-17", "ada@example.com")):
        with pytest.raises(ValueError, match="account: a str is needed, or else a person"):
            chats.hold_account(account, "case-12", person=person, reason=WHY, by=OPERATOR)
        with pytest.raises(ValueError, match="account: a str is needed, or else a person"):
            chats.release_account(account, "case-12", person=person, by=OPERATOR)
    with pytest.raises(ValueError, match="account: a str is needed, or else a person"):
        chats.holds(account="a-17", person="ada@example.com")
    with pytest.raises(ValueError, match="hold: "):
        chats.hold_account("a-17", reason=WHY, by=OPERATOR)
    with pytest.raises(ValueError, match="hold: "):
        chats.release_account("a-17", by=OPERATOR)


def test_what_is_held_so_already_is_not_held_again(chats: Conversations) -> None:
    """What set it is returned; another reason, or a branch that lacks it, is another hold. Who may not, hears so."""
    (chat,) = told(chats, "c-1", law=2)
    child = must_be(Chat, chat.edit(2, "This, rather."))
    first = done(chat.hold("case-12", reason=WHY, by=OPERATOR))
    for branch in (chat, child):
        again = done(branch.hold("case-12", reason=WHY, by=OPERATOR))
        assert [one[1:] for one in again.events] == [one[1:] for one in first.events]
        assert again.state == branch.state
    refused_by(chat.hold("case-12", reason=WHY, by=USER), rules.HELD_FROM_ERASURE)
    done(chat.hold("case-12", reason=HoldReason.REGULATOR, by=OPERATOR))
    assert [one.kind for one in chats.tree_log("c-1")].count("ErasureHeld") == 4
    assert [row.reason for row in chats.holds().rows] == ["regulator"]


def test_only_an_operator_holds_an_account(chats: Conversations) -> None:
    """Or releases it; what is refused is named."""
    told(chats, "c-1")
    refused = chats.hold_account("a-17", "case-12", reason=WHY, by=USER).refused
    assert list(refused) == ["c-1"]
    refused_by(refused["c-1"], rules.HELD_FROM_ERASURE)
    chats.hold_account("a-17", "case-12", reason=WHY, by=OPERATOR)
    refused_by(chats.release_account("a-17", "case-12", by=USER).refused["c-1"], rules.HELD_FROM_ERASURE)
    assert standing(chats) == [("c-1", "case-12")]


def test_the_list_comes_in_pages(chats: Conversations) -> None:
    """By conversation and name, of one account or of all."""
    told(chats, *(f"c-{number}" for number in range(5)))
    told(chats, "other", account=None)
    for number in range(5):
        for case in ("x", "y"):
            done(chats.chat(f"c-{number}").hold(case, reason=WHY, by=OPERATOR))
    done(chats.chat("other").hold("x", reason=WHY, by=OPERATOR))
    found, after = [], None
    while True:
        page = chats.holds(after=after, limit=4)
        found += [(row.conversation, row.hold) for row in page.rows]
        if (after := page.after) is None:
            break
    assert found == [*((f"c-{number}", case) for number in range(5) for case in "xy"), ("other", "x")]
    assert standing(chats, account="a-17") == found[:-1]
    assert standing(chats, account="nobody") == []
    for wrong in ("c-1", "c-1 x y", " x", 3):
        with pytest.raises(ValueError, match="after: not a cursor"):
            chats.holds(after=wrong)  # type: ignore[arg-type]
    for limit in (0, 1001, True):
        with pytest.raises(ValueError, match="limit: "):
            chats.holds(limit=limit)


def test_without_a_list_of_holds_that_is_said() -> None:
    chats = another(open_conversations("memory:"), holds=None)
    with pytest.raises(ValueError, match="without a list of legal holds"):
        chats.holds()


def test_the_list_is_made_again_from_the_log(chats: Conversations) -> None:
    """A second process that never saw the holds being set lists the same."""
    told(chats, "c-1", "c-2")
    chats.hold_account("a-17", "case-12", reason=WHY, by=OPERATOR)
    rows = chats.holds().rows
    assert another(chats).holds().rows == rows
    listed: Any = chats.service.ports.holds
    with listed.transaction() as transaction:
        transaction.clear()
    assert chats.holds().rows == rows


def test_the_handle_for_asyncio_does_the_same() -> None:
    async def held() -> None:
        async with await open_async_conversations("memory:") as chats:
            await chats.start(model=MODEL.id, account="a-17", conversation="c-1")
            await chats.hold_account("a-17", "case-12", reason=WHY, by=OPERATOR)
            assert [row.hold for row in (await chats.holds()).rows] == ["case-12"]
            assert (await chats.release_account("a-17", "case-12", by=OPERATOR)).changed == ("c-1",)

    asyncio.run(held())


# --- Whatever erases meets the hold first -----------------------------------------------------------------------------


@pytest.fixture(params=EDITIONS)
def tree(chats: Conversations, request: pytest.FixtureRequest) -> dict[str, Chat]:
    """A hold on a tree, under either edition: two branches deep before it, and two deep after it."""
    (root,) = told(chats, "root", law=request.param)
    before = done(root.edit(2, "One.", child="before"))
    deep = done(before.edit(3, "One and a half.", child="deep-before"))
    done(deep.hold("case-12", reason=WHY, by=OPERATOR))
    after = done(root.edit(2, "Two.", child="after"))
    deeper = done(after.edit(3, "Three.", child="deep-after"))
    return {chat.branch: chat for chat in (root, before, deep, after, deeper)}


def kept(chats: Conversations) -> tuple[dict[Place, bytes], dict[str, str]]:
    """The sealed bytes that are kept of the tree, and its words."""
    log = chats.tree_log("root")
    places = [Place(one.branch, one.version) for one in log if content_of(one.event)]
    return chats.store.contents(places), chats.words(log)


@pytest.mark.parametrize("branch", ["root", "before", "deep-before", "after", "deep-after"])
def test_no_erasure_passes_a_hold(chats: Conversations, tree: dict[str, Chat], branch: str) -> None:
    """Of a turn, a conversation, an account, wherever in the tree it is asked for: no byte and no key is touched."""
    before, keys = kept(chats), keys_of(chats)
    assert len(before[0]) == len(before[1]) == 6
    chat = tree[branch]
    turn = max(one.version for one in chat.path if one.branch == branch and content_of(one.event))
    refused_by(chat.erase(turn, by=OPERATOR), rules.HELD_FROM_ERASURE)
    for cause in ErasureCause:
        refused_by(chats.erase_conversation(branch, by=OPERATOR, cause=cause), rules.HELD_FROM_ERASURE)
        assert list(chats.erase_account("a-17", by=OPERATOR, cause=cause).refused) == ["root"]
    assert kept(chats) == before
    after = keys_of(chats)  # with that of the note of what is to go when it is released
    assert [key for key in keys if key not in after] == []
    assert "ContentErased" not in {one.kind for one in chats.store.log()}
    done(chat.release_hold("case-12", by=OPERATOR))
    done(chats.erase_conversation(branch, by=OPERATOR, cause=ErasureCause.LEGAL))
    assert kept(chats) == ({}, {})
    assert audit(chats.store.entries()).findings == ()


def keys_of(chats: Conversations) -> Any:
    """The rows of the keys, as they are kept: a key that is retired is not as before."""
    keys: Any = chats.service.ports.vault
    keys = getattr(keys._keys, "_keys", None)
    if isinstance(keys, dict):
        return list(keys.items())
    if hasattr(keys._connection, "cursor") and not hasattr(keys, "_watch"):
        return keys._connection.execute("SELECT * FROM keys ORDER BY name").fetchall()
    return keys._connection.execute("SELECT * FROM lastresort_keys.keys ORDER BY name").fetchall()


# --- On the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path: Any) -> str:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url, new_id=counting("made-")) as chats:
        told(chats, "c-1", "c-2")
        told(chats, "other", account=None)
    return url


def test_an_account_is_held_on_the_command_line(run: Callable[..., Result], url: str) -> None:
    how = ("hold", "case-12", "--account", "a-17", "--reason", "litigation", "--store", url)
    assert run(*how, "--until", "2027-01-31", "--operator", "legal").output == "2 held, 0 held already, 0 refused\n"
    assert json.loads(run(*how, "--until", "2027-01-31", "--json").output) == {
        "hold": "case-12", "changed": [], "unchanged": ["c-1", "c-2"], "refused": {},
    }  # fmt: skip
    shown = run("holds", "--store", url).output.splitlines()
    assert [line.rpartition(",")[0] for line in shown[2:3]] == ["    litigation, set by legal"]
    assert shown[3:5] == ["    until 2027-01-31, for information", "c-2  case-12"]
    assert shown[-1] == "2 legal holds in force"
    assert "2 refused" in run("erase-account", "a-17", "--yes", "--store", url, status=1).output
    assert len(json.loads(run("holds", "--account", "a-17", "--json", "--store", url).output)) == 2
    freed = run("release", "case-12", "--account", "a-17", "--store", url).output
    assert freed == "2 released, 0 not held, 0 refused\n2 erased now, as was asked for while words were held\n"
    assert run("holds", "--store", url).output == "0 legal holds in force\n"


def test_a_conversation_is_held_on_the_command_line(run: Callable[..., Result], url: str) -> None:
    one = ("--conversation", "other", "--store", url)
    for told in ("1 held, 0 held already", "0 held, 1 held already"):
        assert run("hold", "x", "--reason", "appeal", *one).output == f"{told}, 0 refused\n"
    assert "no account" in run("holds", "--store", url).output
    for told in ("1 released, 0 not held", "0 released, 1 not held"):
        assert run("release", "x", *one).output == f"{told}, 0 refused\n"
    log = run("export", url).output
    assert [log.count(kind) for kind in ('"ErasureHeld"', '"ErasureReleased"')] == [1, 1], "as for an account"


def test_a_person_is_held_on_the_command_line(run: Callable[..., Result], url: str) -> None:
    """By what the application calls them, as they are exported and erased."""
    with opened(url) as chats:
        chats.start(model=MODEL.id, person="ada@example.com", conversation="hers")
    hers = ("--person", "ada@example.com", "--store", url)
    assert run("hold", "x", "--reason", "appeal", *hers).output == "1 held, 0 held already, 0 refused\n"
    assert [row["conversation"] for row in json.loads(run("holds", "--json", *hers).output)] == ["hers"]
    assert run("holds", "--person", "nobody", "--store", url).output == "0 legal holds in force\n"
    assert run("release", "x", *hers).output == "1 released, 0 not held, 0 refused\n"
    assert "name one of them" in run("holds", "--account", "a-17", *hers, status=2).output


def test_what_is_to_be_held_is_named(run: Callable[..., Result], url: str) -> None:
    """And an account that has nothing is said to have nothing: its name may be mistyped."""
    why = ("--reason", "appeal", "--store", url)
    for whose in ((), ("--account", "a", "--conversation", "c"), ("--account", "a", "--person", "p")):
        assert "name one of them" in run("hold", "x", *whose, *why, status=2).output
    for what in (("hold", "x", *why), ("release", "x", "--store", url)):
        assert run(*what, "--account", "typo", status=2).output == (
            "lastresort: no conversation of this account, or of this person, is in the store\n"
        )
    for day in ("soon", "2027-02-30"):
        assert (
            "until: needs to be a day" in run("hold", "x", "--account", "a-17", "--until", day, *why, status=2).output
        )
    assert "no branch of this id (length 4)" in run("hold", "x", "--conversation", "typo", *why, status=2).output


def test_many_holds_are_listed(run: Callable[..., Result], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page."""
    monkeypatch.setattr("lastresort.adapters.console.holds.MOST_ROWS", 2)
    for case in ("v", "w", "x", "y", "z"):
        run("hold", case, "--conversation", "c-1", "--reason", "other", "--store", url)
    rows = json.loads(run("holds", "--json", "--store", url).output)
    assert [row["hold"] for row in rows] == ["v", "w", "x", "y", "z"]
