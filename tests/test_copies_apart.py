"""A log and keys of one store that were copied at different times: what docs/how-to/operate.md says that this means."""

import shutil
from pathlib import Path

import pytest

from lastresort import Actor, ActorKind, Conversations, ErasureCause, Refused
from lastresort.projections import audit

from .operations_kit import opened
from .stores import MODEL, done, started

WHO = Actor(kind=ActorKind.OPERATOR, id="desk")
MAIL = "ada@example.org"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Make a store, copy it to another folder, and go on with it: begin, erase, forget."""
    now, then = tmp_path / "now", tmp_path / "then"
    now.mkdir()
    with opened(url_of(now)) as chats:
        for name in ("erased", "turn-erased", "stays"):
            done(started(chats, name).user_turn(f"Hello from {name}."))
        chats.pseudonym(MAIL)
    shutil.copytree(now, then)
    with opened(url_of(now)) as chats:
        done(started(chats, "later").user_turn("Hello from later."))
        done(chats.chat("turn-erased").erase(2, by=WHO))
        assert not isinstance(erased(chats, "erased"), Refused)
        chats.start(person=MAIL, model=MODEL.id)
        assert chats.erase_account(person=MAIL, by=WHO, cause=ErasureCause.USER_REQUEST, forget=True).forgotten
    return tmp_path


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/log.db"


def erased(chats: Conversations, conversation: str) -> object:
    return chats.erase_conversation(conversation, by=WHO, cause=ErasureCause.USER_REQUEST, command_id="erase")


def put_together(store: Path, log: str, keys: str) -> str:
    folder = store / "together"
    folder.mkdir()
    shutil.copy(store / log / "log.db", folder)
    for name in ("log.db-keys", "log.db-master"):
        shutil.copy(store / keys / name, folder)
    return url_of(folder)


def said_in(chats: Conversations, conversation: str) -> list[str]:
    return list(chats.words(chats.path(conversation)).values())


def test_a_log_that_is_older_than_its_keys(store: Path) -> None:
    with opened(put_together(store, log="then", keys="now")) as chats:
        assert audit(chats.store.log()).findings == ()
        assert {row.conversation for row in chats.list().rows} == {"erased", "turn-erased", "stays"}
        assert said_in(chats, "erased") == [], "words came back whose key was destroyed"
        assert said_in(chats, "turn-erased") == ["Hello from turn-erased."], "it says that this comes back"
        assert said_in(chats, "stays") == ["Hello from stays."]
        done(chats.chat("erased").user_turn("Here again."))
        assert said_in(chats, "erased") == ["Here again."]
        done(chats.chat("turn-erased").erase(2, by=WHO))
        assert not isinstance(erased(chats, "stays"), Refused)
        assert said_in(chats, "turn-erased") == said_in(chats, "stays") == []
        assert chats.list(person=MAIL).rows == ()
        assert audit(chats.store.log()).findings == ()


def test_keys_that_are_older_than_their_log(store: Path) -> None:
    with opened(put_together(store, log="now", keys="then")) as chats:
        assert audit(chats.store.log()).findings == ()
        assert said_in(chats, "later") == [], "their key was made later"
        assert said_in(chats, "stays") == ["Hello from stays."]
        assert said_in(chats, "erased") == said_in(chats, "turn-erased") == [], "an erasure of the log came undone"
        assert chats.service.ports.vault.has_key("erased"), "it says that a key that was destroyed is there again"
        assert chats.person_of(chats.pseudonym(MAIL)) == MAIL
        for name in ("later", "stays"):
            done(chats.chat(name).user_turn("And on."))
            assert said_in(chats, name)[-1] == "And on."
        assert not isinstance(erased(chats, "later"), Refused)
        assert said_in(chats, "later") == []
        assert audit(chats.store.log()).findings == ()


def test_keys_of_the_same_time_open_the_words_again(store: Path) -> None:
    with opened(put_together(store, log="now", keys="then")):
        pass
    for name in ("log.db-keys", "log.db-master"):
        shutil.copy(store / "now" / name, store / "together")
    with opened(url_of(store / "together")) as chats:
        assert said_in(chats, "later") == ["Hello from later."]
