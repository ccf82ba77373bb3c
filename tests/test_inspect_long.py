"""What is long in the inspector comes in pieces, and each of them can be reached: turns, branches, findings, the admin
log, whose chain is checked in pieces too.
"""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from lastresort import open_conversations
from lastresort.adapters.followers.beside_log import in_memory
from lastresort.adapters.pages import branch_view, inspect_jobs, inspect_lists
from lastresort.adapters.service import admin_log, tenants
from lastresort.adapters.service.admin_log import AdminLog
from lastresort.adapters.service.config import Config

from .pages_kit import Visitor, long_chat
from .stores import MODEL
from .test_inspect_page import running, until, visitor
from .web_kit import Service, service

__all__ = ["running", "visitor"]

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
MOST = 200_000


def followed(visitor: Visitor, path: str, label: str) -> list[str]:
    """Return a page, and those that a link of it leads to, one after the other."""
    pages = [visitor.get(path)]
    while found := re.search(rf'href="([^"]+)"[^>]*>{label}<', pages[-1]):
        pages.append(visitor.get(unescape(found[1])))
    return pages


def versions(page: str) -> list[int]:
    return [int(one) for one in re.findall(r'<article[^>]* id="v(\d+)"', page)]


def test_of_long_turns_there_are_fewer_on_a_page(running: Service, visitor: Visitor) -> None:
    branch = long_chat(running, 60, words="Word after word. " * 500)
    last = running.house.tenants["default"].conversations.state(branch).version
    pages = followed(visitor, f"/inspect/b/{branch}", "Earlier events")
    assert len(pages) > 2
    assert all(len(page.encode()) < MOST for page in pages)
    back = [one for page in reversed(pages) for one in versions(page)]
    assert back == list(range(1, last + 1))
    onward = followed(visitor, f"/inspect/b/{branch}?from=1", "Later events")
    assert [one for page in onward for one in versions(page)] == back


def test_a_line_that_is_longer_than_a_page_is_cut_and_leads_to_all_of_it(running: Service, visitor: Visitor) -> None:
    branch = long_chat(running, 2, words="é" * 90_000)
    page = visitor.get(f"/inspect/b/{branch}")
    assert len(page.encode()) < MOST
    assert versions(page) == [3]
    whole = re.search(r'href="([^"]+)">all of it, as JSON', page)
    assert whole is not None
    (turn,) = visitor.ask("GET", unescape(whole[1])).json()["turns"]
    assert len(turn["text"]) > 90_000


def test_many_branches_come_in_windows_of_the_tree(
    running: Service, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_view, "_TWIGS", 3)
    branch = long_chat(running, 2)
    chat = running.house.tenants["default"].conversations.chat(branch)
    children: list[Any] = [chat.retry(3) for _ in range(7)]
    pages = followed(visitor, f"/inspect/b/{branch}", "More")
    shown = [re.findall(r'role="treeitem"[^>]*><a href="/inspect/b/([^"]+)"', page) for page in pages]
    assert [len(one) for one in shown] == [3, 3, 2]
    assert sorted(one for page in shown for one in page) == sorted([branch, *(one.branch for one in children)])
    assert "1 to 3 of 8." in pages[0]
    assert "7 to 8 of 8." in pages[2]
    assert all(page.count('tabindex="-1"') - page.count('<article class="line') == len(one) - 1
               for page, one in zip(pages, shown, strict=True))  # fmt: skip
    back = followed(visitor, f"/inspect/b/{branch}?twig=7", "Before")
    assert len(back) == 3
    assert shown[2][0] in visitor.get(f"/inspect/b/{shown[2][0]}")  # where the branch itself is


def test_findings_come_in_pages(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_jobs, "_FINDINGS", 2)
    with service() as one:
        visitor = Visitor(one)
        visitor.ended()
        store = one.house.tenants["default"].conversations.store
        entries = [entry for entry in store.entries() if entry.version not in (7, 19)]
        monkeypatch.setattr(store, "entries", lambda **_: iter(entries))
        visitor.post("/api/v1/audits", {}, 202)
        first = until(lambda: visitor.get("/inspect/audit"), "findings in")
        of = re.search(r"(\d+) findings in", first)
        assert of is not None
        pages = followed(visitor, "/inspect/audit", "More")
        places = [place for page in pages for place in re.findall(r'<li><p><a href="([^"]+)"', page)]
        assert len(places) == int(of[1]) > 2
        assert f"The findings 1 to 2 of {of[1]}." in first
        assert followed(visitor, f"/inspect/audit?from={of[1]}", "Before")[-1] == first


def test_what_differs_comes_in_pages(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_jobs, "_BRANCHES", 1)
    for _ in range(2):
        visitor.ended()
    visitor.post("/inspect/what-ifs", {"toml": 'name = "slow"\nmin_failed_redirections = 9\n'}, 202)
    until(lambda: visitor.get("/inspect/what-if"), "nothing was written")
    pages = followed(visitor, "/inspect/what-if", "More")
    assert [len(re.findall(r'th scope="row"', page)) for page in pages] == [1, 1]
    assert followed(visitor, "/inspect/what-if?from=9", "Before")[-1] == pages[0]


def test_the_admin_log_begins_with_the_newest_entries(
    running: Service, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_lists, "_ENTRIES", 3)
    log = running.house.log
    for number in range(5):
        log.note("key.made", who="serve", tenant="default", target=f"key-{number}", now=NOW)
    shown = [re.findall(r"key-\d", page) for page in followed(visitor, "/inspect/log", "Older entries")[:2]]
    assert shown == [["key-4", "key-3", "key-2"], ["key-1", "key-0"]]
    assert 'href="/inspect/log">The newest' in visitor.get("/inspect/log?before=4")


def test_a_service_reads_what_is_new_before_it_serves_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tenants, "LATE", 3)
    url = f"sqlite:///{tmp_path}/log.db"
    with open_conversations(url) as chats:
        for _ in range(4):
            chats.start(model=MODEL.id)
    told: list[str] = []
    for _ in range(2):
        house = tenants.open_house(Config(store=url))
        tenants.bring_up_lists(house, told.append)
        directory: Any = house.tenants["default"].conversations.service.ports.directory
        assert directory.mark().position == 4
        house.close()
    assert told == ["tenant default: reading 4 events that its lists do not have yet, then it serves"]


# --- the chain of the admin log ---------------------------------------------------------------------------------------


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> AdminLog:
    """A log of ten entries, of which four are checked at a time."""
    monkeypatch.setattr(admin_log, "AT_ONCE", 4)
    made = AdminLog(in_memory(admin_log.STATEMENTS))
    for number in range(10):
        noted(made, number)
    return made


def noted(log: AdminLog, number: int) -> None:
    log.note("key.made", who="serve", tenant="default", target=f"key-{number}", now=NOW)


def tampered(log: AdminLog, statement: str, *params: object) -> None:
    with log._tables.transaction("service") as writing:
        writing.write(statement, [params])


def test_a_long_chain_is_checked_in_pieces_and_nobody_is_told_more_than_was_checked(log: AdminLog) -> None:
    assert [log.checked(NOW)[:3] for _ in range(3)] == [(None, 4, None), (None, 8, None), (None, 10, NOW)]
    later = NOW + timedelta(minutes=5)
    noted(log, 10)
    assert log.checked(later)[:3] == (None, 11, NOW)  # what was added, and since when the rest is known
    again = NOW + admin_log.LASTS * 1.1
    assert [log.checked(again)[:3] for _ in range(2)] == [(None, 11, NOW)] * 2
    assert log.checked(again)[:3] == (None, 11, again)


def test_what_is_changed_in_a_long_chain_is_found_by_the_next_check_of_the_whole(log: AdminLog) -> None:
    for _ in range(3):
        log.checked(NOW)
    tampered(log, "UPDATE {schema}service_log SET hash = %s WHERE seq = %s", "x", 2)
    assert log.checked(NOW).broken_at is None  # that was checked before
    later = NOW + admin_log.LASTS * 1.1
    assert log.checked(later).broken_at == 2
    assert log.checked(later).broken_at == 2
    noted(log, 10)
    assert log.checked(later).broken_at == 2


def test_what_is_added_to_another_entry_than_the_last_that_was_checked_is_seen_at_once(log: AdminLog) -> None:
    for _ in range(3):
        log.checked(NOW)
    tampered(log, "UPDATE {schema}service_log SET hash = %s WHERE seq = %s", "x", 10)
    noted(log, 10)
    assert log.checked(NOW).broken_at == 11


def test_entries_that_were_seen_and_are_gone_are_missed(log: AdminLog) -> None:
    """Also from a short log, of which nothing else would tell that it was longer."""
    for _ in range(3):
        log.checked(NOW)
    for last in (9, 2):
        tampered(log, "DELETE FROM {schema}service_log WHERE seq > %s", last)
        assert log.checked(NOW)[:2] == (last + 1, last)


def test_the_page_and_the_api_say_while_a_long_chain_is_being_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_log, "AT_ONCE", 2)
    with service() as one, one.client("audit") as client:
        visitor = Visitor(one)
        for number in range(7):
            noted(one.house.log, number)
        told = client.get("/api/v1/admin/log").json()
        assert (told["whole"], told["checked"]) == (None, None)
        page = visitor.get("/inspect/log")
        assert "data-poll>The chain is being checked: 4 of" in page
        until(lambda: visitor.get("/inspect/log"), "follows from the one before it, as checked at")
        told = client.get("/api/v1/admin/log").json()
        assert told["whole"] is True
        assert told["checked"] is not None
