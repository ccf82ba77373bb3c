"""A monitor: whatever is wrong with what a log publishes is named, wherever it is read from."""

import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from lastresort.adapters import StoreError
from lastresort.adapters.tlog.policy import TrustPolicy
from lastresort.adapters.tlog.tiles import MissingTile, grown
from lastresort.adapters.transparency.examining import examine, kept_entries
from lastresort.adapters.transparency.key_files import make_log_key
from lastresort.adapters.transparency.monitor import Watched, check_note, look
from lastresort.adapters.transparency.publishing import PublishedLog
from lastresort.adapters.transparency.sources import source, tile_reader

from .stores import long, new_url, started
from .transparency_kit import Log, changed, kept, log_of, numbered

__all__ = ["kept"]

ENTRIES = 600
"""Entries of the log: three tiles, the last of them partial."""


@pytest.fixture
def log(request: pytest.FixtureRequest, kept: Path) -> Iterator[Log]:
    """A log of several tiles; all but the first rows say the same of a branch that nobody needs."""
    with log_of(new_url("sqlite", request), kept) as found:
        rows = found.rows()
        more = [changed(rows[n % 9], originator_id="x", originator_version=n + 1) for n in range(ENTRIES - len(rows))]
        found.rewrite(numbered([*rows, *more]))
        found.checkpoint()
        yield found


@pytest.fixture
def tiles(log: Log, tmp_path: Path) -> Path:
    folder = tmp_path / "tiles"
    assert PublishedLog(log.tables).export_tiles(folder) == ENTRIES
    return folder


def seen(log: Log, place: Path | str, state: Path | None = None, **options: float) -> Watched:
    return look(source(str(place)), log.policy, state, most_age=options.get("most_age"))


def kinds(found: Watched) -> list[str]:
    return [one.kind for one in found.findings]


def test_it_goes_on_from_where_it_was(log: Log, tiles: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert seen(log, tiles, state).entries == ENTRIES
    assert seen(log, tiles, state).entries == 0
    for number in range(4):
        long(log.chats, 40 * number + 1, f"more-{number}")
        log.checkpoint()
        PublishedLog(log.tables).export_tiles(tiles)
        found = seen(log, tiles, state)
        assert (kinds(found), found.entries > 0) == ([], True)
    assert seen(log, tiles).entries == log.head().size


def without(path: str) -> Callable[[Path], None]:
    return lambda tiles: (tiles / path).unlink()


def changed_in(path: str, at: int) -> Callable[[Path], None]:
    def change(tiles: Path) -> None:
        data = bytearray((tiles / path).read_bytes())
        data[at] ^= 1
        (tiles / path).write_bytes(bytes(data))

    return change


def cut(path: str, to: int) -> Callable[[Path], None]:
    def change(tiles: Path) -> None:
        (tiles / path).write_bytes((tiles / path).read_bytes()[:to])

    return change


def signed_another_size(tiles: Path) -> None:
    name, size, *rest = (tiles / "checkpoint").read_text().split("\n")
    (tiles / "checkpoint").write_text("\n".join([name, str(int(size) - 1), *rest]))


@pytest.mark.parametrize(
    ("tamper", "kind", "text"),
    [
        (without("checkpoint"), "signature", "malformed note"),
        (cut("checkpoint", 40), "signature", "malformed note"),
        (signed_another_size, "signature", "does not verify"),
        (without("tile/0/000"), "missing", "tile/0/000: it is not there"),
        (without("tile/1/000.p/2"), "missing", r"tile/1/000.p/2: it is not there"),
        (without("tile/entries/001"), "missing", "tile/entries/001: it is not there"),
        (cut("tile/0/002.p/88", 64), "missing", "it has no hash"),
        (cut("tile/entries/001", 5_000), "entries", "ends within its entry"),
        (cut("tile/entries/002.p/88", 0), "entries", "0 entries are there, and 88 are needed"),
        (changed_in("tile/entries/001", 30), "entries", "entry 256 is not the one"),
        (changed_in("tile/0/001", 33), "entries", "entry 257 is not the one"),
        (changed_in("tile/1/000.p/2", 5), "tiles", "not those of the checkpoint"),
    ],
)
def test_what_was_done_to_what_is_published(
    log: Log, tiles: Path, tamper: Callable[[Path], None], kind: str, text: str
) -> None:
    assert kinds(seen(log, tiles)) == []
    tamper(tiles)
    (found,) = seen(log, tiles).findings
    assert found.kind == kind
    assert text in found.text


def test_a_tile_above_that_is_not_over_those_below(log: Log, tiles: Path) -> None:
    """A log that made up a tile, and signed the root of it."""
    forged = bytes(32) + (tiles / "tile/1/000.p/2").read_bytes()[32:]
    (tiles / "tile/1/000.p/2").write_bytes(forged)
    from lastresort.adapters.tlog.merkle import root
    from lastresort.adapters.tlog.tiles import nodes

    made = root(nodes(tile_reader(source(str(tiles)), ENTRIES)), ENTRIES)
    (tiles / "checkpoint").write_text(str(log.key.sign(log.head()._replace(root=made), 1)))
    (found,) = seen(log, tiles).findings
    assert (found.kind, "tile/1/000 is not over the entries below it" in found.text) == ("tiles", True)


def test_another_log_than_before(log: Log, tiles: Path, tmp_path: Path, kept: Path) -> None:
    state = tmp_path / "state"
    other = make_log_key(kept / "other.key", "log.example/other")
    state.write_text(str(other.sign(log.head()._replace(origin=other.origin), 1)))
    assert kinds(seen(log, tiles, state)) == ["another log"]
    assert kinds(look(source(str(tiles)), TrustPolicy((other.verifier,)), None)) == ["signature"]


def test_a_clock_that_is_wrong(log: Log, kept: Path) -> None:
    from lastresort.adapters.tlog.notes import COSIGNED_ED25519, Signer

    witness = Signer.generate("w", COSIGNED_ED25519)
    policy = TrustPolicy.parse(f"log {log.key.verifier}\nwitness w {witness.verifier}\nquorum w")
    note = log.key.sign(log.head(), 1)
    note = note._replace(signatures=(*note.signatures, witness.sign(note.text, 10_000)))
    for now, kind in ((10_000.0, []), (10_100.0, ["stale"]), (9_000.0, ["stale"])):
        assert [one.kind for one in check_note(note, policy, 60, now)[1]] == kind


# --- where it is read from --------------------------------------------------------------------------------------------


def test_from_a_server(log: Log, tiles: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tiles)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        assert seen(log, url).entries == ENTRIES
        without("tile/0/000")(tiles)
        assert kinds(seen(log, url)) == ["missing"]
        Quiet.do_GET = lambda self: self.send_error(500)  # type: ignore[method-assign]  # a server that is broken
        with pytest.raises(StoreError, match="the server answered 500"):
            seen(log, url)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    with pytest.raises(StoreError, match="cannot be read"):
        seen(log, url)


def test_a_full_tile_will_do_for_the_partial_one(log: Log, tiles: Path) -> None:
    read = source(str(tiles))
    assert tile_reader(read, 300)(0, 1) == (tiles / "tile/0/001").read_bytes()[: 44 * 32]
    with pytest.raises(MissingTile, match=r"tile/1/000.p/1: it is not there"):
        tile_reader(read, 300)(1, 0)


def test_a_place_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no folder"):
        source(str(tmp_path / "nowhere"))
    (tmp_path / "a").write_text("")
    assert source(str(tmp_path))("a/b") is None
    with pytest.raises(StoreError, match="cannot be read: File name too long"):
        source(str(tmp_path))("x" * 300)


def test_what_a_monitor_kept_names_the_fields(log: Log, tiles: Path) -> None:
    read, size = source(str(tiles)), ENTRIES
    assert kept_entries(None, size)(0) is None
    assert kept_entries(lambda path: None, size)(0) is None
    rows = log.rows()
    log.rewrite([*rows[:99], changed(rows[99], state=b"no JSON"), *rows[100:]])
    (found,) = examine(log.tables, log.head(), entries=kept_entries(read, size)).findings
    assert found.text == "position 100 is not what was published; of position 100 these fields: all"
    (found,) = examine(log.tables, log.head(), entries=lambda index: b"something else").findings
    assert found.text == "position 100 is not what was published"


def test_some_of_each(log: Log) -> None:
    """Many gone and many new: then it is just another log, and so it is told."""
    rows = log.rows()
    some = numbered([changed(row, command_id=f"other-{row[0]}") if row[0] % 2 else row for row in rows if row[0] % 5])
    log.rewrite(some)
    (found,) = examine(log.tables, log.head()).findings
    assert found.kind == "rewritten"
    assert "entries are gone" in found.text
    log.rewrite_tiles([(*place, tile) for place, tile in grown({}, 0, bytes(32 * 40)).items()])
    (found,) = examine(log.tables, log.head()).findings
    assert "with the tiles that a monitor kept" in found.text
    started(log.chats, "later")
