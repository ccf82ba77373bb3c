"""A store that an earlier version of this program made opens, reads, audits and goes on.

`golden/stores/log.db` and its keys were made on 28 November 2026 by commit 14a65fa, before the rooms of the house were
moved and before two conversations could use one command id: an ending on each ground, a branch, a hold over two
branches, erased words, a conversation whose key is gone, and one long enough for snapshots. Their master key is that of
the tests.
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from lastresort import Conversations, StoreError, open_conversations
from lastresort.adapters.importers.log_file import export_line
from lastresort.adapters.stores.derived import INDEX
from lastresort.adapters.upkeep.audited import wrong_counts, wrong_snapshots
from lastresort.adapters.upkeep.doctor import examine
from lastresort.adapters.upkeep.migration import migrate
from lastresort.domain import fold
from lastresort.projections import audit

from .stores import MASTER_KEY, cold, done, snapshots_of, started, versions

GOLDEN = Path(__file__).parent / "golden" / "stores"
EXPORTED = "84b65d048db097a4a66671d90424b9834875954e23774359d092e38771cce89c"
"""The SHA-256 of its exported log, as the program that made it exports it."""


@pytest.fixture
def as_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LASTRESORT_MASTER_KEY", MASTER_KEY)
    for path in GOLDEN.iterdir():
        shutil.copy(path, tmp_path)
    return f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
def url(as_made: str) -> str:
    """Of its tables, which are of version 2, brought up to date."""
    migrate(as_made, snapshots=False)
    return as_made


def test_it_says_what_to_do_first(as_made: str) -> None:
    with pytest.raises(StoreError, match=r"of version 2, .* back it up, and run `lastresort migrate URL`"):
        open_conversations(as_made)
    assert migrate(as_made, snapshots=False)[:2] == (2, 3)


@pytest.fixture
def old(url: str) -> Iterator[Conversations]:
    with closing(open_conversations(url, snapshot_every=10)) as conversations:
        yield conversations


def test_its_log_is_the_same_and_lawful(old: Conversations) -> None:
    report = audit(old.store.entries())
    assert (report.events, report.findings) == (75, ())
    assert wrong_counts(old) == wrong_snapshots(old) == ()
    exported = "".join(f"{export_line(recorded)}\n" for recorded in old.store.log())
    assert hashlib.sha256(exported.encode()).hexdigest() == EXPORTED


def test_its_words_open_but_for_those_that_were_erased(old: Conversations) -> None:
    said = {branch: list(old.words(old.path(branch)).values()) for branch in ("again", "erased", "gone", "asked")}
    assert said["again"][0] == "How do I bake bread?"
    assert said["erased"] == ["I see.", "Forget it."]
    assert said["gone"] == []
    assert said["asked"] == ["Please end.", "Shall I?", "Yes."]


def test_its_snapshots_count_as_stale_until_they_are_made_again(url: str, old: Conversations) -> None:
    """They begin with a digest of the code of then, and no number of a fold."""
    assert versions(old, "long") == [10, 20]
    assert snapshots_of(old).latest("long") is None
    assert cold(old).state("long") == fold(old.path("long"))
    assert "4 made by another version of the fold" in str([check.found for check in examine(url)])
    migrate(url)
    assert "0 made by another version of the fold" in str([check.found for check in examine(url)])


def test_it_goes_on(old: Conversations) -> None:
    chat = old.chat("long")
    for number in range(6):
        done(chat.user_turn(f"And then {number}?"))
    kept = snapshots_of(old).latest("long")
    assert kept is not None
    assert kept.state.version == 30
    assert [head.branch for head in old.store.heads("held")] == ["held", "held-again"]
    assert old.store.tree_of("again") == "ended"
    done(old.chat("held").raise_risk())
    assert [len(old.state(branch).risks) for branch in ("held", "held-again")] == [2, 2]
    assert audit(old.store.entries()).findings == ()


@pytest.mark.xdist_group("postgresql")
def test_in_postgresql_its_owner_makes_the_index(postgresql: Callable[[], str]) -> None:
    """Another role, which may read and write all rows and make nothing, works without."""
    url = postgresql()
    with psycopg.connect(url, autocommit=True) as owner:
        with closing(open_conversations(url)) as conversations:
            started(conversations)
        owner.execute(f"DROP INDEX {INDEX}")
        owner.execute("CREATE ROLE of_old_stores LOGIN")
        owner.execute("GRANT USAGE ON SCHEMA lastresort_keys TO of_old_stores")
        for schema in ("public", "lastresort_keys"):
            owner.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO of_old_stores")
        for user, made in (("of_old_stores", 0), ("postgres", 1)):
            with closing(open_conversations(url.replace("//postgres:@", f"//{user}:@"))) as conversations:
                assert [head.branch for head in conversations.store.heads("c")] == ["c"]
                done(conversations.chat("c").user_turn("Hello."))
            named = "SELECT count(*) FROM pg_indexes WHERE indexname = %s"
            assert owner.execute(named, (INDEX,)).fetchone() == (made,)


def test_an_index_that_it_lacks_is_made_by_someone_who_may(url: str) -> None:
    """Someone who may not write, here for a lock that another program holds, reads all of it nonetheless."""
    path = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.execute(f"DROP INDEX {INDEX}")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with closing(open_conversations(f"{url}?deadline=0.05")) as conversations:
            assert [head.branch for head in conversations.store.heads("ended")] == ["ended", "again"]
        named = "SELECT count(*) FROM sqlite_master WHERE name = ?"
        assert other.execute(named, (INDEX,)).fetchone() == (0,)
        other.execute("ROLLBACK")
        open_conversations(url).close()
        assert other.execute(named, (INDEX,)).fetchone() == (1,)
