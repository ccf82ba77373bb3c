"""What is kept beside the log and is no event: titles and tags, and whom a pseudonym stands for."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lastresort import Actor, ActorKind, Conversations, ErasureCause, HoldReason, Refused, open_conversations
from lastresort.adapters.exporters import account_json, account_page
from lastresort.adapters.stores.memory import MemoryStore
from lastresort.application.erasing import Plan
from lastresort.application.ports import SealBroken, StoreError
from lastresort.projections import audit

from .narrow import present
from .stores import MODEL, OPERATOR, STORES, new_url, opened

WHO = Actor(kind=ActorKind.OPERATOR, id="desk")
MAIL = "ada@example.org"


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


@pytest.fixture
def chats(url: str) -> Iterator[Conversations]:
    with opened(url) as conversations:
        yield conversations


def erased(chats: Conversations, conversation: str, command_id: str = "erase") -> Any:
    return chats.erase_conversation(conversation, by=WHO, cause=ErasureCause.USER_REQUEST, command_id=command_id)


# --- Titles and tags --------------------------------------------------------------------------------------------------


def test_a_conversation_has_a_title_and_tags(chats: Conversations) -> None:
    """On all of its branches; each is set by itself, and taken away by what is empty."""
    chat = chats.start(model=MODEL.id, conversation="c")
    assert chat.metadata() == (None, ())
    assert chat.describe(title="A garden", tags=["green", "home", "green"]) == ("A garden", ("green", "home"))
    assert chat.describe(title="Our garden") == ("Our garden", ("green", "home"))
    chat.user_turn("Hello.")
    branch = chat.edit(2, "Hi.")
    assert not isinstance(branch, Refused)
    assert branch.describe(tags=()) == ("Our garden", ())
    assert chat.describe(title="") == (None, ())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"title": "x" * 501}, "title: 501 characters were passed, where 500 is the limit"),
        ({"title": 5}, "title: a str is needed, not int"),
        ({"title": "\ud800"}, "title: it holds half a character"),
        ({"tags": "green"}, "tags: a list of texts is needed"),
        ({"tags": 5}, "tags: a list of texts is needed"),
        ({"tags": ["x" * 101]}, "tags: 101 characters"),
        ({"tags": [str(n) for n in range(51)]}, "tags: at most 50, and none of them empty; 51 were passed"),
        ({"tags": [""]}, "tags: at most 50, and none of them empty"),
    ],
)
def test_what_is_too_long_is_refused(wrong: dict[str, Any], told: str) -> None:
    with opened("memory:") as chats, pytest.raises(ValueError, match=told):
        chats.start(model=MODEL.id).describe(**wrong)


def test_a_list_has_them_if_it_is_asked_for_them(chats: Conversations) -> None:
    for name in ("a", "b", "c"):
        chats.start(model=MODEL.id, conversation=name)
    chats.chat("a").describe(title="First")
    chats.chat("b").describe(tags=["x"])
    page = chats.list(with_metadata=True, limit=2)
    assert page.metadata == {"c": (None, ()), "b": (None, ("x",))}
    assert chats.list(with_metadata=True, after=page.after).metadata == {"a": ("First", ())}
    assert chats.list().metadata is None


def test_they_are_kept_sealed_and_say_nothing_in_the_log(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        chats.start(model=MODEL.id, person=MAIL).describe(title="A zebra", tags=["striped"])
        assert audit(chats.store.entries()).findings == ()
    with opened(url) as chats:
        (row,) = chats.list(person=MAIL).rows
        assert chats.chat(row.conversation).metadata() == ("A zebra", ("striped",))
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for words in (b"zebra", b"striped", b"ada@"):
        assert words not in files


def test_they_go_with_the_words_of_the_conversation(chats: Conversations) -> None:
    """For good; what is said since stays, however often the erasure is sent again."""
    chat = chats.start(model=MODEL.id, conversation="c")
    other = chats.start(model=MODEL.id, conversation="d")
    chat.user_turn("Hello.")
    chat.describe(title="A garden", tags=["green"])
    other.describe(title="Another")
    kept = present(chats.service.ports.annotations)
    before = kept.of("c")
    erased(chats, "c")
    assert chat.metadata() == (None, ())
    assert kept.of("c") == {}
    assert other.metadata() == ("Another", ())
    kept.put("c", before)  # from a backup of what stands beside the keys: they are gone
    assert chat.metadata() == (None, ())
    kept.drop("c", before)
    chat.describe(title="A new one")
    erased(chats, "c")
    assert chat.metadata() == ("A new one", ())


def test_they_go_though_nothing_was_said(chats: Conversations) -> None:
    chat = chats.start(model=MODEL.id, conversation="c")
    chat.describe(title="A garden")
    erased(chats, "c")
    assert chat.metadata() == (None, ())


def test_an_erasure_that_was_interrupted_takes_them_too(chats: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chats.start(model=MODEL.id, conversation="c")
    chat.user_turn("Hello.")
    chat.describe(title="A garden")
    with monkeypatch.context() as patched:
        patched.setattr(chats.service.ports.vault, "forget_all", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            erased(chats, "c")
    assert chat.metadata() == ("A garden", ())
    chat.describe(tags=["since"])
    erased(chats, "c")
    assert chat.metadata() == (None, ("since",))
    assert chats.words(chat.path) == {}


@pytest.mark.parametrize("held", [False, True])
def test_an_erasure_that_is_sent_again_takes_nothing_that_another_one_left(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """One that came to nothing after it had retired the keys: it broke off, or a legal hold came first."""
    chat = chats.start(model=MODEL.id, conversation="c")
    chat.user_turn("Hello.")
    erased(chats, "c", "first")
    chat.refresh()
    if held:
        chat.hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
    said = chat.user_turn("Good morning.")
    chat.describe(title="A garden")
    with monkeypatch.context() as patched:
        patched.setattr(chats.service._writing, "append_all", lambda *_, **__: 1 / 0)
        if held:  # the law is asked before the keys are retired, so as it would come after that
            patched.setattr(chats.service.erasing, "plan", lambda command, *_: Plan(command, {}, {}, {"c": chat.state}))
        with pytest.raises(ZeroDivisionError):
            erased(chats, "c", "second")
    erased(chats, "c", "first")
    assert chat.metadata() == ("A garden", ())
    assert [turn.text for turn in chat.transcript().turns] == [None, "Good morning."]
    assert not isinstance(said, Refused)
    if not held:
        erased(chats, "c", "second")
        assert chat.metadata() == (None, ())
        assert chats.words(chat.path) == {}


def test_what_an_interrupted_erasure_left_goes_though_it_is_damaged(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But under a legal hold that was set since, nothing goes that still has a key."""
    chat = chats.start(model=MODEL.id, conversation="c")
    chat.describe(title="A garden")
    kept = present(chats.service.ports.annotations)
    kept.put("c", {"tags": kept.of("c")["title"]})
    with monkeypatch.context() as patched:
        patched.setattr(chats.service.ports.vault, "forget_all", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            erased(chats, "c")
    chat.hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
    erased(chats, "c")
    assert list(kept.of("c")) == ["tags", "title"]
    chat.release_hold("case-1", by=OPERATOR)
    erased(chats, "c")
    assert kept.of("c") == {}


def test_under_a_legal_hold_none_is_replaced(chats: Conversations) -> None:
    """What was not there may be added."""
    chat = chats.start(model=MODEL.id, conversation="c")
    chat.describe(title="A garden")
    chat.hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
    refused = chat.describe(title="Another")
    assert isinstance(refused, Refused)
    assert refused.rules == ("held-from-erasure",)
    assert isinstance(chat.describe(title=""), Refused)
    assert isinstance(erased(chats, "c"), Refused)
    assert chat.describe(title="A garden", tags=["green"]) == ("A garden", ("green",))
    assert isinstance(chat.describe(tags=["red"]), Refused)
    assert chat.metadata() == ("A garden", ("green",))
    chat.release_hold("case-1", by=OPERATOR)
    assert chat.describe(title="Another", tags=()) == ("Another", ())


def test_a_hold_at_the_last_moment_brings_back_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("memory:") as chats:
        chat = chats.start(model=MODEL.id, conversation="c")
        chat.describe(title="A garden")
        kept = present(chats.service.ports.annotations)
        real = kept.put

        def put(*args: Any, **how: Any) -> None:
            monkeypatch.setattr(kept, "put", real)
            chat.hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
            real(*args, **how)

        monkeypatch.setattr(kept, "put", put)
        assert isinstance(chat.describe(title="Another"), Refused)
        assert chat.metadata() == ("A garden", ())


def test_what_was_moved_there_does_not_open(chats: Conversations) -> None:
    chat = chats.start(model=MODEL.id, conversation="c")
    chat.describe(title="A garden", tags=["green"])
    kept = present(chats.service.ports.annotations)
    kept.put("c", {"title": present(kept.find("c", "tags"))})
    with pytest.raises(SealBroken):
        chat.metadata()


# --- People -----------------------------------------------------------------------------------------------------------


def test_a_person_has_one_pseudonym(chats: Conversations) -> None:
    first = chats.start(model=MODEL.id, person=MAIL)
    account = chats.pseudonym(MAIL)
    assert first.state.account == account
    assert MAIL not in account
    assert chats.start(model=MODEL.id, person=MAIL).state.account == account
    assert chats.pseudonym("user-43") != account
    assert (chats.person_of(account), chats.person_of("a-17")) == (MAIL, None)
    assert chats.list(person=MAIL).rows == chats.list(account=account).rows
    assert len(chats.list(person=MAIL).rows) == 2
    assert chats.list(person="nobody").rows == ()
    assert list(chats.export_account(person="nobody")) == []


@pytest.mark.parametrize("late", [False, True])
def test_a_person_is_not_forgotten_where_the_log_was_not_kept_still(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """A hold may have come before: what was taken is put back."""
    chats.start(model=MODEL.id, person=MAIL, conversation="c").user_turn("Hello.")
    account, still = chats.pseudonym(MAIL), chats.store.still

    @contextmanager
    def interrupted() -> Iterator[None]:
        with still():
            if late:
                yield
            raise StoreError("the connection is gone")

    def not_forgotten() -> bool:
        return False

    with monkeypatch.context() as patched:
        patched.setattr(chats.store, "still", interrupted)
        with pytest.raises(StoreError, match="gone"):
            chats.service.annotator.forget(account, not_forgotten)
    assert chats.person_of(account) == MAIL
    assert chats.pseudonym(MAIL) == account


def test_a_person_can_be_forgotten(chats: Conversations) -> None:
    """Then the number in the log is one that nobody can resolve. If they come back, they are somebody new."""
    chat = chats.start(model=MODEL.id, person=MAIL, conversation="c")
    account = chats.pseudonym(MAIL)
    chat.user_turn("Hello.")
    kept = chats.erase_account(person=MAIL, by=WHO, cause=ErasureCause.USER_REQUEST)
    assert (kept.erased, kept.forgotten, chats.person_of(account)) == (("c",), False, MAIL)
    done = chats.erase_account(account, by=WHO, cause=ErasureCause.USER_REQUEST, forget=True)
    assert (done.erased, done.forgotten) == (("c",), True)
    assert chats.person_of(account) is None
    assert chats.erase_account(person=MAIL, by=WHO, cause=ErasureCause.LEGAL, forget=True) == ((), {}, False)
    assert chats.erase_account(account, by=WHO, cause=ErasureCause.LEGAL, forget=True).forgotten is False
    assert chats.pseudonym(MAIL) != account


def test_nobody_is_forgotten_of_whom_something_is_held(chats: Conversations) -> None:
    chat = chats.start(model=MODEL.id, person=MAIL, conversation="c")
    chat.hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
    done = chats.erase_account(person=MAIL, by=WHO, cause=ErasureCause.USER_REQUEST, forget=True)
    assert (list(done.refused), done.forgotten) == (["c"], False)
    assert chats.list(person=MAIL).rows


def test_nobody_is_forgotten_of_whom_something_is_held_since_it_was_erased(chats: Conversations) -> None:
    """Sent again, an erasure that was done is done; what it is asked for now meets the hold."""
    chat = chats.start(model=MODEL.id, person=MAIL, conversation="c")
    chat.user_turn("Hello.")
    account = chats.pseudonym(MAIL)
    for forget in (False, True):
        done = chats.erase_account(
            account, by=WHO, cause=ErasureCause.USER_REQUEST, forget=forget, command_id="erase-account"
        )
        assert (done.erased, done.forgotten) == (("c",), False)
        chats.hold_account(account, "case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
    assert chats.person_of(account) == MAIL


def test_what_is_said_meanwhile_is_erased_before_somebody_is_forgotten(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a conversation that was erased by then, and on one that was not begun; another account's matters to nobody."""
    chats.start(model=MODEL.id, person=MAIL, conversation="c").user_turn("Hello.")
    account = chats.pseudonym(MAIL)
    said: Iterator[Callable[[], object]] = iter(
        [lambda: chats.chat("c").user_turn("Are you there?"), lambda: _say(chats, account), lambda: None]
    )
    real = type(chats.service.annotator).forget

    def forget(annotator: Any, *args: Any) -> bool:
        next(said)()
        _say(chats, "somebody-else")
        return real(annotator, *args)

    monkeypatch.setattr(type(chats.service.annotator), "forget", forget)
    done = chats.erase_account(account, by=WHO, cause=ErasureCause.USER_REQUEST, forget=True, command_id="once")
    assert (len(done.erased), dict(done.refused), done.forgotten) == (2, {}, True)
    rows = chats.list(account=account).rows
    assert chats.store.with_words(row.conversation for row in rows) == set()
    assert audit(chats.store.log()).findings == ()


def _say(chats: Conversations, account: str) -> None:
    chats.start(model=MODEL.id, account=account).user_turn("I am here.")


def test_somebody_who_goes_on_talking_is_not_forgotten(chats: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chats.start(model=MODEL.id, person=MAIL, conversation="c")
    account, real = chats.pseudonym(MAIL), type(chats.service.annotator).forget

    def forget(annotator: Any, *args: Any) -> bool:
        chat.user_turn("And another thing.")
        return real(annotator, *args)

    with monkeypatch.context() as patched:
        patched.setattr(type(chats.service.annotator), "forget", forget)
        done = chats.erase_account(account, by=WHO, cause=ErasureCause.USER_REQUEST, forget=True)
    assert (done.erased, done.forgotten, chats.person_of(account)) == (("c",), False, MAIL)
    done = chats.erase_account(account, by=WHO, cause=ErasureCause.USER_REQUEST, forget=True)
    assert (done.erased, done.forgotten, chats.person_of(account)) == (("c",), True, None)


def test_nobody_is_forgotten_when_the_log_was_not_kept_still(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock may be lost, with the connection: then a hold may have come before."""
    chats.start(model=MODEL.id, person=MAIL, conversation="c")
    account, real = chats.pseudonym(MAIL), chats.store.still

    @contextmanager
    def still() -> Iterator[None]:
        with real():
            yield
        raise StoreError("the connection is lost")

    with monkeypatch.context() as patched:
        patched.setattr(chats.store, "still", still)
        with pytest.raises(StoreError, match="the connection is lost"):
            chats.erase_account(account, by=WHO, cause=ErasureCause.USER_REQUEST, forget=True)
    assert (chats.person_of(account), chats.pseudonym(MAIL)) == (MAIL, account)
    assert chats.erase_account(account, by=WHO, cause=ErasureCause.USER_REQUEST, forget=True).forgotten


def test_nobody_is_forgotten_where_the_log_cannot_be_kept_still(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else holds its lock for as long as a call may take: it is said, and nothing was taken."""
    chats.start(model=MODEL.id, person=MAIL, conversation="c")
    account = chats.pseudonym(MAIL)

    def locked() -> Any:
        raise StoreError("locked")

    with monkeypatch.context() as patched:
        patched.setattr(chats.store, "still", locked)
        with pytest.raises(StoreError, match="locked"):
            chats.erase_account(account, by=WHO, cause=ErasureCause.USER_REQUEST, forget=True)
    assert chats.person_of(account) == MAIL


def test_somebody_who_came_back_is_not_forgotten_with_the_pseudonym_that_they_had(chats: Conversations) -> None:
    annotator = chats.service.annotator
    former, kept = chats.pseudonym(MAIL), present(chats.service.ports.annotations)
    before = kept.of("the accounts of this store")
    assert annotator.forget(former, lambda: False)
    account = chats.pseudonym(MAIL)
    kept.put("the accounts of this store", {f"account {former}": before[f"account {former}"]})
    assert annotator.forget(former, lambda: False)
    assert (chats.person_of(former), chats.person_of(account), chats.pseudonym(MAIL)) == (None, MAIL, account)
    assert not annotator.forget(account, lambda: True)


def test_nobody_is_forgotten_where_what_is_known_changed_meanwhile(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the taking: it is not there as it was read, so it stays."""
    account, kept = chats.pseudonym(MAIL), present(chats.service.ports.annotations)
    take = kept.take

    def another_was_quicker(owner: str, entries: Mapping[str, bytes]) -> bool:
        return take(owner, {name: data + b"." for name, data in entries.items()})

    with monkeypatch.context() as patched:
        patched.setattr(kept, "take", another_was_quicker)
        assert not chats.service.annotator.forget(account, lambda: False)
    assert chats.person_of(account) == MAIL


def test_entries_are_taken_whole_or_not_at_all(chats: Conversations) -> None:
    kept = present(chats.service.ports.annotations)
    kept.put("c", {"one": b"1", "two": b"2"})
    kept.put("c", {"two": b"3", "three": b"3"}, replace=False)
    assert not kept.take("c", {"one": b"1", "two": b"3"})
    assert not kept.take("c", {"one": b"1", "three": b"3"})
    assert kept.of("c") == {"one": b"1", "two": b"2"}
    assert kept.take("c", {"one": b"1"})
    assert kept.take("nobody", {})
    assert kept.of("c") == {"two": b"2"}


def test_two_processes_make_one_pseudonym(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who is first; the other takes it over, and leaves nothing behind."""
    with opened(url) as chats:
        other = chats if url == "memory:" else open_conversations(url)
        annotator, kept = chats.service.annotator, present(chats.service.ports.annotations)
        real, theirs = kept.put, []

        def put(owner: str, entries: Any, **how: Any) -> None:
            if len(entries) == 2:
                monkeypatch.setattr(kept, "put", real)
                theirs.append(other.pseudonym(MAIL))
            real(owner, entries, **how)

        monkeypatch.setattr(kept, "put", put)
        assert [annotator.pseudonym(MAIL)] == theirs
        assert len(kept.of("the accounts of this store")) == 3
        if other is not chats:
            other.close()


@pytest.mark.parametrize("wrong", ["", "x" * 501, None, b"ada", "\ud800"])
def test_a_person_is_named_by_some_text(wrong: Any) -> None:
    with opened("memory:") as chats, pytest.raises(ValueError, match="person: "):
        chats.pseudonym(wrong)


def test_an_account_or_a_person_is_passed() -> None:
    with opened("memory:") as chats:
        with pytest.raises(ValueError, match="person: pass either"):
            chats.start(model=MODEL.id, account="a", person="b")
        with pytest.raises(ValueError, match="account: a str is needed, or else a person"):
            chats.list(account="a", person="b")
        with pytest.raises(ValueError, match="account: a str is needed, or else a person"):
            chats.export_account()


def test_an_export_has_title_and_tags(chats: Conversations) -> None:
    chat = chats.start(model=MODEL.id, person=MAIL, conversation="c")
    chat.user_turn("Hello.")
    chat.describe(title="A <b>garden</b>", tags=["green"])
    account = chats.pseudonym(MAIL)
    found = json.loads("".join(account_json(account, chats.export_account(person=MAIL))))["conversations"][0]
    assert (found["title"], found["tags"]) == ("A <b>garden</b>", ["green"])
    page = "".join(account_page(account, chats.export_account(account)))
    assert "<h2>A &lt;b&gt;garden&lt;/b&gt;</h2>" in page
    assert "Tags: green." in page


def test_without_annotations_it_is_said() -> None:
    with opened("memory:") as chats:
        chats.service.ports.annotations = None
        chat = chats.start(model=MODEL.id, conversation="c")
        with pytest.raises(ValueError, match="opened without annotations"):
            chat.metadata()
        assert not isinstance(erased(chats, "c"), Refused)
        assert isinstance(chats.store, MemoryStore)
