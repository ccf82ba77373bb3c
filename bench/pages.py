"""The pages of the inspector on a log of a million events: how long each takes, and how large it is.

`python -m bench.pages` writes the log (the golden logs, with every kind of event, told again under other names), a
conversation of 2,000 turns with its words, one of 300 branches, and an entry of the admin
log for each ten events; starts the
service on it, signs in, and asks for each page in turn, round after round. It takes some minutes. What was written is
kept in a folder, if `--folder` names one, and used again the next time.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from lastresort import Conversations, RecordedEvent, Refused, open_conversations
from lastresort.adapters.followers.beside_log import beside
from lastresort.adapters.importers.log_file import appends_of, read_log
from lastresort.adapters.service import admin_log
from lastresort.adapters.service.admin_log import Entry
from lastresort.adapters.upkeep.audited import without_collector

from .contenders import MODEL
from .logs import write_log
from .place import Place, describe
from .stories import Overheard, tell_turns, write

EVENTS, TURNS, BRANCHES, TITLES = 1_000_000, 2_000, 300, 200
MOST_MS, MOST_KB = 150, 200
_STARTED = time.monotonic()
_POLICY = 'name = "slow"\nmin_failed_redirections = 9\n'


class Built(NamedTuple):
    """What was written: where, of how many events, and the conversations that are looked at."""

    url: str
    events: int
    long: str
    wide: str


class Asked(NamedTuple):
    """A page: what it is, its address, and what came of asking for it.

    Attributes:
        took: milliseconds until it was here.
        spent: milliseconds of processor time that the service took, which others on the machine change little.
        size: bytes.
    """

    name: str
    path: str
    took: list[float]
    spent: list[float]
    size: list[int]


def say(what: str) -> None:
    """Tell on standard error how far it is."""
    print(f"{time.monotonic() - _STARTED:6.0f} s  {what}", file=sys.stderr, flush=True)


# --- the log ----------------------------------------------------------------------------------------------------------


def built(folder: Path, events: int) -> Built:
    """Return a store of at least so many events in a folder: the one that is there, or else a new one."""
    noted = folder / "built.json"
    if noted.exists():
        found = Built(**json.loads(noted.read_text()))
        if found.events < events:
            raise SystemExit(f"{folder} has a log of {found.events:,} events; name another folder for {events:,}")
        say(f"the log of {found.events:,} events in {folder}")
        return found
    url = f"sqlite:///{folder / 'log.db'}"
    _import(folder / "log.jsonl", url, events)
    with open_conversations(url) as told:
        say(f"a conversation of {TURNS:,} turns, and one of {BRANCHES} branches")
        long, wide = tell_turns(told, TURNS), _branched(told)
        head = told.store.head()
        say("the lists, by the first to ask for them")
        told.list(limit=1)
        told.holds(limit=1)
        say(f"{head // 10:,} entries of the admin log, {TITLES} titles")
        _note(told, head // 10)
        for row in told.list(limit=TITLES).rows:
            told.chat(row.conversation).describe(title=f"About {row.conversation[:6]}")
    found = Built(url, head, long, wide)
    noted.write_text(json.dumps(found._asdict()))
    return found


def _import(file: Path, url: str, events: int) -> None:
    say("writing a log to import")
    written = write_log(file, events)

    def entries() -> Iterator[RecordedEvent]:
        for number, (_, entry) in enumerate(read_log(file), 1):
            if number % 100_000 == 0:
                say(f"imported {number:,} of {written:,} events")
            if isinstance(entry, RecordedEvent):
                yield entry

    with open_conversations(url) as told, without_collector():
        told.store.import_log(appends_of(entries()))
    file.unlink()


def _branched(conversations: Conversations) -> str:
    """Write a conversation in which an answer was asked for again and again."""
    told = open_conversations("memory:")
    told.service.ports.vault = conversations.service.ports.vault
    told.service.ports.store = overheard = Overheard(told.store)
    chat = told.start(model=MODEL)
    chat.user_turn("What is the answer?")
    chat.assistant_turn("I do not know.")
    for _ in range(BRANCHES):
        another = chat.retry(3)
        assert not isinstance(another, Refused)
        another.assistant_turn("I still do not know.")
    write(conversations.store, overheard.appends)
    return chat.branch


def _note(conversations: Conversations, entries: int) -> None:
    tables = beside(conversations.store, admin_log.STATEMENTS)
    rows, previous, at = [], "0" * 64, datetime(2026, 1, 1, tzinfo=UTC)
    for seq in range(1, entries + 1):
        entry = Entry(
            seq=seq, at=(at + timedelta(minutes=seq)).isoformat(timespec="microseconds"), tenant="default", who="owner",
            act="words.read", target=f"{seq:032x}", previous=previous,
        )  # fmt: skip
        previous = entry.hash
        rows.append((seq, entry.tenant, entry.model_dump_json(), previous))
    with tables.transaction("service") as writing:
        writing.write("INSERT INTO {schema}service_log (seq, tenant, entry, hash) VALUES (%s, %s, %s, %s)", rows)


# --- the service ------------------------------------------------------------------------------------------------------


class Reader:
    """Somebody who has signed in to a service. Keeps one connection."""

    def __init__(self, address: str, link: str, process: int) -> None:
        self._tasks = Path(f"/proc/{process}/task")
        where = urlsplit(address)
        self._http = HTTPConnection(where.netloc, timeout=3_600)
        self._headers = {"origin": address, "accept": "text/html", "x-lastresort-page": "1"}
        self._http.request("POST", urlsplit(link).path, headers=self._headers)
        answer = self._http.getresponse()
        answer.read()
        self._headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]

    def get(self, path: str) -> tuple[bytes, float]:
        """Return a page, and how many milliseconds it took."""
        began = time.perf_counter()
        self._http.request("GET", path, headers=self._headers)
        answer = self._http.getresponse()
        body = answer.read()
        took = (time.perf_counter() - began) * 1e3
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status}")
        return body, took

    def spent(self) -> float:
        """Return how many milliseconds of processor time the service has taken; 0 where the system does not tell."""
        spent = 0
        for one in self._tasks.glob("*/schedstat"):
            with suppress(OSError):  # a thread that has just ended
                spent += int(one.read_text().split()[0])
        return spent / 1e6

    def json(self, path: str) -> Any:
        """Return what an address of the API says."""
        return json.loads(self.get(path)[0])

    def post(self, path: str, body: object) -> Any:
        """Send JSON; return what came back."""
        headers = self._headers | {"content-type": "application/json", "idempotency-key": f"{time.time_ns()}"}
        self._http.request("POST", path, json.dumps(body), headers)
        return json.loads(self._http.getresponse().read())

    def waited(self, path: str) -> float:
        """Ask for a page until what it shows is there; return after how many seconds."""
        began = time.monotonic()
        while b"data-poll" in self.get(path)[0]:
            time.sleep(0.7)  # as often as the page itself asks
        return time.monotonic() - began


@contextmanager
def serving(url: str) -> Iterator[Reader]:
    """Start a service in a process of its own, and sign in."""
    command = [sys.executable, "-m", "lastresort", "serve", "--port", "0", "--store", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split()[1]
        link = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+/auth/link/\S+", line)))
        yield Reader(address, link, process.pid)
    finally:
        process.terminate()
        process.wait(60)


# --- the pages --------------------------------------------------------------------------------------------------------


def lists(reader: Reader) -> Iterator[tuple[str, str]]:
    """Yield the pages of the list: in each order, with each facet, deep in it, and as files."""
    facts = reader.json("/api/v1/facts")["facts"]
    for by in ("started", "last_turn"):
        for order in ("newest", "oldest"):
            yield f"list, by {by}, {order} first", f"/inspect?by={by}&order={order}"
            deep = quote(_in_the_middle(reader, by, order), safe="")
            yield f"list, by {by}, {order} first, from the middle on", f"/inspect?by={by}&order={order}&after={deep}"
    for name, values in facts.items():
        counts = list(values)
        for which in dict.fromkeys((counts[0], counts[-1])):
            asked = urlencode({name: which})
            yield f"list, {name} {which} ({values[which]:,})", f"/inspect?{asked}"
    first = list(facts)
    two = urlencode({name: list(facts[name])[-1] for name in ("policy", "refused") if name in first})
    yield "list, two rare facets", f"/inspect?{two}"
    yield "list, three facets that never meet", "/inspect?mode=shadow&appeal=granted&ground=user_request"
    yield "list, two common facets that seldom meet", "/inspect?ground=user_request&category=abuse"
    yield "list, a column and a facet that seldom meet", "/inspect?status=active&ground=last_resort"
    yield "list, nobody's", "/inspect?account=nobody"
    yield "list, of a day", "/inspect?since=2026-01-01&until=2026-01-02"
    yield "list as CSV", "/inspect/list.csv"
    yield "list as JSON lines", "/inspect/list.jsonl?status=ended"


def _in_the_middle(reader: Reader, by: str, order: str) -> str:
    ends = []
    for one in ("oldest", "newest"):
        rows = reader.json(f"/api/v1/conversations?{urlencode({'by': by, 'order': one, 'limit': 1})}")["conversations"]
        ends.append(datetime.fromisoformat(rows[0][by]))
    middle = (ends[0] + (ends[1] - ends[0]) / 2).isoformat()
    bound = "until" if order == "newest" else "since"
    asked = urlencode({"by": by, "order": order, "limit": 1, bound: middle})
    after: str = reader.json(f"/api/v1/conversations?{asked}")["after"]
    return after


def conversations(reader: Reader, log: Built) -> Iterator[tuple[str, str]]:
    """Yield pages of conversations: usual ones, one of 2,000 turns, and one of 300 branches."""
    ended = reader.json("/api/v1/conversations?ground=last_resort&limit=1")["conversations"][0]["conversation"]
    yield "conversation that ended", f"/inspect/b/{ended}"
    yield "conversation, as it was at 10", f"/inspect/b/{ended}?at=10"
    long = f"/inspect/b/{log.long}"
    yield "2,000 turns, the end", long
    yield "2,000 turns, the beginning", f"{long}?from=1"
    yield "2,000 turns, as it was in the middle", f"{long}?at={TURNS // 2}"
    yield "2,000 turns, why not on request", f"{long}?ground=user_request"
    yield "300 branches", f"/inspect/b/{log.wide}"


def counted(reader: Reader) -> Iterator[tuple[str, str]]:
    """Yield pages of what is counted, after they have been."""
    facts = reader.json("/api/v1/facts")["facts"]
    rare = urlencode({"refused": list(facts["refused"])[-1]})
    pages = [("figures", "/inspect/figures"), ("report", "/inspect/report"), ("shadow", "/inspect/shadow")]
    pages += [("report by model", "/inspect/report?group=model"), ("report of a rare facet", f"/inspect/report?{rare}")]
    for name, path in pages:
        say(f"{name}: counted in {reader.waited(path):.0f} s")
        yield name, path
    plot = re.search(r'src="(/inspect/report/[^"]+)"', reader.get("/inspect/report")[0].decode())
    if plot is not None:
        yield "a plot", plot[1].replace("&amp;", "&")


def jobs(reader: Reader) -> Iterator[tuple[str, str]]:
    """Yield the pages of the audit and of a replay, after they have been made."""
    for name, begin, body, page in (
        ("audit", "/api/v1/audits", {}, "/inspect/audit"),
        ("what-if", "/inspect/what-ifs", {"toml": _POLICY}, "/inspect/what-if"),
    ):
        if b" yet." in reader.get(page)[0]:  # none has been made
            reader.post(begin, body)
        say(f"{name}: done in {reader.waited(page):.0f} s")
        yield name, page
    found = re.search(r'href="(/inspect/b/[^"]+replay=[^"]+)"', reader.get("/inspect/what-if")[0].decode())
    if found is not None:
        yield "a branch under another policy", found[1]


def others(log: Built) -> Iterator[tuple[str, str]]:
    """Yield the queue and the admin log."""
    yield "queue", "/inspect/queue"
    yield "admin log, the first page", "/inspect/log"
    yield "admin log, deep", f"/inspect/log?before={log.events // 20}"


def asked_for(reader: Reader, pages: Sequence[tuple[str, str]], rounds: int) -> list[Asked]:
    """Ask for each page once a round, after one round that is not counted."""
    found = [Asked(name, path, [], [], []) for name, path in pages]
    for number in range(rounds + 1):
        say(f"round {number} of {rounds}" if number else "warming up")
        for one in found:
            before = reader.spent()
            body, took = reader.get(one.path)
            if number:
                one.spent.append(reader.spent() - before)
                one.took.append(took)
                one.size.append(len(body))
    return found


def show(found: Sequence[Asked]) -> None:
    """Print a line a page."""
    print(f"{'page':50} {'p50':>8} {'p99 (ms)':>9} {'of CPU':>8} {'KB':>7}")
    for one in found:
        p50, p99 = statistics.median(one.took), sorted(one.took)[min(len(one.took) - 1, int(len(one.took) * 0.99))]
        size = max(one.size) / 1e3
        over = " over" if p99 > MOST_MS or size > MOST_KB else ""
        print(f"{one.name[:50]:50} {p50:8.1f} {p99:9.1f} {statistics.median(one.spent):8.1f} {size:7.1f}{over}")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--folder", type=Path, help="where the log is kept, and looked for the next time")
    parser.add_argument("--only", help="pages whose names have this in them")
    parser.add_argument("--uncounted", action="store_true", help="leave out what is counted in the whole log first")
    asked = parser.parse_args()
    if asked.rounds < 1 or asked.events < 1:
        parser.error("measure at least once, on one event at least")
    with tempfile.TemporaryDirectory(prefix="lastresort-bench-") as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        log = built(folder, asked.events)
        print("\n".join(f"{name}: {value}" for name, value in describe(Place(folder, None)).items()))
        print(f"{log.events:,} events; {asked.rounds} rounds after one that is not counted")
        with serving(log.url) as reader:
            say(f"the first page after the start: {reader.get('/inspect')[1]:.0f} ms")
            pages = [*lists(reader), *conversations(reader, log), *others(log)]
            if not asked.uncounted:
                pages += [*jobs(reader), *counted(reader)]
            chosen = [one for one in pages if not asked.only or asked.only in one[0]]
            show(asked_for(reader, chosen, asked.rounds))


if __name__ == "__main__":
    main()
