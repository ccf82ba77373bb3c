"""Triggers and views travel in a database's file, and are code: a store with any is refused, and none is obeyed."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from lastresort import StoreError, open_conversations
from lastresort.adapters.upkeep.backup import backup, restore
from lastresort.adapters.upkeep.doctor import examine
from lastresort.adapters.upkeep.migration import migrate

from .narrow import present
from .operations_kit import opened
from .stores import done, started

DROPS_WORDS = "CREATE TRIGGER x BEFORE INSERT ON contents BEGIN SELECT RAISE(IGNORE); END"
KEEPS_ERASED = "CREATE TRIGGER x BEFORE DELETE ON contents BEGIN INSERT INTO meta VALUES (hex(old.data), ''); END"
SHOWS_ANOTHER_LOG = "CREATE VIEW x AS SELECT * FROM stored_events"
KEEPS_KEYS = "CREATE TRIGGER x BEFORE DELETE ON keys BEGIN INSERT INTO master VALUES (hex(old.key)); END"
IN_A_FILE = [
    pytest.param("log.db", DROPS_WORDS, id="words-dropped"),
    pytest.param("log.db", KEEPS_ERASED, id="erased-words-kept"),
    pytest.param("log.db", SHOWS_ANOTHER_LOG, id="view"),
    pytest.param("log.db-keys", KEEPS_KEYS, id="destroyed-keys-kept"),
]


@pytest.fixture
def url(tmp_path: Path) -> str:
    found = f"sqlite:///{tmp_path}/log.db"
    with opened(found) as chats:
        done(started(chats, "c").user_turn("Hello."))
    return found


def plant(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute(statement)
        file.commit()


@pytest.mark.parametrize(("name", "statement"), IN_A_FILE)
def test_a_store_with_planted_code_is_not_opened(url: str, tmp_path: Path, name: str, statement: str) -> None:
    plant(tmp_path / name, statement)
    for act in (open_conversations, migrate):
        if act is migrate and name.endswith("-keys"):
            continue  # which opens no keys but for snapshots
        with pytest.raises(StoreError, match="planted code") as said:
            act(url)
        assert "x" not in str(said.value).split()


@pytest.mark.parametrize(("name", "statement"), IN_A_FILE)
def test_the_doctor_says_so_and_looks_no_further(url: str, tmp_path: Path, name: str, statement: str) -> None:
    assert next(check for check in examine(url) if check.name == "planted code").ok
    plant(tmp_path / name, statement)
    checks = {check.name: check for check in examine(url)}
    assert not checks["planted code"].ok
    assert name in checks["planted code"].found
    assert "lists" not in checks


@pytest.mark.parametrize(("name", "statement"), IN_A_FILE)
def test_it_is_neither_backed_up_nor_restored(url: str, tmp_path: Path, name: str, statement: str) -> None:
    """Or else it would live on in the copies."""
    backup(url, tmp_path / "well")
    plant(tmp_path / name.replace("log.db", "well"), statement)
    with pytest.raises(StoreError, match="planted code"):
        restore(tmp_path / "well", f"sqlite:///{tmp_path}/again.db", unauthenticated=True)
    assert not (tmp_path / "again.db").exists()
    plant(tmp_path / name, statement)
    with pytest.raises(StoreError, match="planted code"):
        backup(url, tmp_path / "ill")
    assert not (tmp_path / "ill").exists()


@pytest.mark.parametrize("statement", [DROPS_WORDS, DROPS_WORDS.replace("contents", "stored_events")])
def test_what_is_planted_while_a_store_is_open_is_not_obeyed(url: str, tmp_path: Path, statement: str) -> None:
    """The turn fails, and is not acknowledged without its words."""
    with opened(url) as chats:
        chat = chats.chat("c")
        done(chat.assistant_turn("Hello."))
        plant(tmp_path / "log.db", statement)
        with pytest.raises(StoreError, match="planted"):
            chat.user_turn("Are you there?")
        plant(tmp_path / "log.db", "DROP TRIGGER x")
        done(chat.user_turn("Are you there?"))
        assert list(chats.words(chat.path).values()) == ["Hello.", "Hello.", "Are you there?"]


def test_erased_words_are_not_kept_by_what_was_planted(url: str, tmp_path: Path) -> None:
    with opened(url) as chats:
        plant(tmp_path / "log.db", KEEPS_ERASED)
        with pytest.raises(StoreError, match="planted"):
            chats.chat("c").erase(2)
    with closing(sqlite3.connect(tmp_path / "log.db")) as file:
        assert file.execute("SELECT count(*) FROM meta WHERE name <> 'schema'").fetchone() == (0,)


FUNCTION = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; "
SAYS_YES = "CREATE FUNCTION g(bytea) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$; "
IN_POSTGRESQL = [
    pytest.param("CREATE RULE x AS ON INSERT TO contents DO INSTEAD NOTHING", "rule", id="words-dropped"),
    pytest.param(
        f"{FUNCTION}CREATE TRIGGER x BEFORE DELETE ON lastresort_keys.keys FOR EACH ROW EXECUTE FUNCTION f()",
        "trigger",
        id="destroyed-keys-kept",
    ),
    pytest.param(
        "ALTER TABLE meta RENAME TO x; CREATE VIEW meta AS SELECT * FROM x", "view", id="a-view-in-place-of-a-table"
    ),
    pytest.param("CREATE POLICY x ON contents USING (false)", "row policy", id="words-hidden"),
    pytest.param(f"{SAYS_YES}CREATE INDEX x ON contents (g(data))", "index of an expression", id="words-passed-on"),
    pytest.param(f"{SAYS_YES}ALTER TABLE contents ADD CHECK (g(data) = 1)", "check", id="words-checked"),
    pytest.param("ALTER TABLE stored_events ALTER nth SET DEFAULT 1", "default", id="default"),
    pytest.param(
        "CREATE RULE x AS ON INSERT TO legal_holds DO INSTEAD NOTHING", "rule", id="holds-that-nobody-is-shown"
    ),
    pytest.param(
        f"{FUNCTION}CREATE TRIGGER x BEFORE INSERT ON directory FOR EACH ROW EXECUTE FUNCTION f()",
        "trigger",
        id="a-conversation-that-no-erasure-finds",
    ),
    pytest.param("CREATE RULE x AS ON UPDATE TO directory_branches DO INSTEAD NOTHING", "rule", id="a-branch-of-old"),
    pytest.param("CREATE RULE x AS ON INSERT TO followers DO INSTEAD NOTHING", "rule", id="a-view-that-begins-again"),
    pytest.param(
        f"{FUNCTION}CREATE TRIGGER x BEFORE INSERT ON lastresort_tracking FOR EACH ROW EXECUTE FUNCTION f()",
        "trigger",
        id="a-view-that-stands-still",
    ),
]


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize(("statement", "what"), IN_POSTGRESQL)
def test_what_was_planted_in_postgresql_is_found(postgresql: Callable[[], str], statement: str, what: str) -> None:
    """By the doctor, who looks no further, and by whoever opens the store, brings it up to date or restores into it."""
    url = postgresql()
    with opened(url) as chats:
        done(started(chats, "c").user_turn("Hello."))
        assert (len(chats.list().rows), chats.holds().rows) == (1, ())  # which makes the tables of the views
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE VIEW theirs AS SELECT topic FROM stored_events")
        assert next(check for check in examine(url) if check.name == "planted code").ok
        connection.execute(statement.encode())
    checks = {check.name: check for check in examine(url)}
    assert not checks["planted code"].ok
    assert what in checks["planted code"].found
    assert "lists" not in checks
    for act in (open_conversations, migrate):
        with pytest.raises(StoreError, match=f"planted code .*{what}") as said:
            act(url)
        assert "x" not in str(said.value).split()


@pytest.mark.xdist_group("postgresql")
def test_another_function_in_place_of_ours_is_found_and_made_again(postgresql: Callable[[], str]) -> None:
    """It writes all that is recorded, so it could leave out words, or write down who said what otherwise."""
    url = postgresql()
    with opened(url) as chats:
        done(started(chats, "c").user_turn("Hello."))
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT oid::regprocedure::text, prosrc FROM pg_proc WHERE proname = 'write_event'")
        named, body = present(row.fetchone())
        told = connection.execute("SELECT pg_get_functiondef(%s::regprocedure)", (named,)).fetchone()
        dropped = present(told)[0].replace(body, body.replace("IF sealed IS NOT NULL", "IF false"))
        for planted in (dropped, f"ALTER FUNCTION {named} SECURITY DEFINER"):
            connection.execute(planted.encode())
            assert "function" in next(check for check in examine(url) if check.name == "planted code").found
            with pytest.raises(StoreError, match="write_event is not the one that this program made"):
                open_conversations(url)
            migrate(url)
            with opened(url) as chats:
                done(chats.chat("c").user_turn("Hello again."))
                assert len(chats.words(chats.path("c"))) == chats.state("c").version - 1
            assert next(check for check in examine(url) if check.name == "planted code").ok


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize("table", ["contents", "directory"])
def test_nothing_is_restored_where_code_was_planted(postgresql: Callable[[], str], tmp_path: Path, table: str) -> None:
    """It would get the words and the keys of a backup."""
    url, other = postgresql(), postgresql()
    with opened(url) as chats:
        done(started(chats, "c").user_turn("Hello."))
    backup(url, tmp_path / "well")
    with opened(other) as chats:
        assert chats.list().rows == ()
    with psycopg.connect(other, autocommit=True) as connection:
        connection.execute(f"CREATE RULE x AS ON INSERT TO {table} DO INSTEAD NOTHING".encode())
    with pytest.raises(StoreError, match="planted code"):
        restore(tmp_path / "well", other)
    with psycopg.connect(other, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM stored_events").fetchone() == (0,)
