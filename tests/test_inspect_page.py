"""The inspector as the service gives it. `test_inspect_browser.py` drives a browser."""

import csv
import json
import re
import time
from collections.abc import Callable, Iterator
from io import StringIO

import pytest

from lastresort.adapters.pages.rendering import coded
from lastresort.domain.values import Ground

from .pages_kit import Visitor, long_chat
from .web_kit import Service, service

WORDS = "stupid toaster"


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service() as one:
        yield one


@pytest.fixture(scope="module")
def visitor(running: Service) -> Visitor:
    return Visitor(running)


@pytest.fixture(scope="module")
def ended(visitor: Visitor) -> str:
    return visitor.ended()


def until(look: Callable[[], str], *words: str) -> str:
    """Look until a page has some words."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        page = look()
        if all(word in page for word in words):
            return page
        time.sleep(0.1)
    raise AssertionError(f"none of {words} came")


def line(page: str, version: int) -> str:
    """Return the line of a version."""
    begin = page.index(f'id="v{version}"')
    return page[begin : page.index("</article>", begin)]


def test_who_may_not_look_is_told(running: Service) -> None:
    for scopes, rights in ((("converse",), {}), (("audit",), {"account": "bob"})):
        assert "scope audit or operate" in Visitor(running, *scopes, **rights).get("/inspect", 403)
    operator = Visitor(running, "operate")
    for path in ("/inspect/audit", "/inspect/what-if", "/inspect/figures", "/inspect/report"):
        assert "scope audit" in operator.get(path, 403)
    assert "admin or audit" in operator.get("/inspect/log", 403)


def test_with_audit_alone_no_word_of_anybody_is_in_any_page(running: Service, ended: str) -> None:
    auditor = Visitor(running, "audit")
    for path in (
        "",
        "/queue",
        f"/b/{ended}",
        f"/b/{ended}?at=9",
        "/log",
        "/audit",
        "/figures",
        "/report",
        "/list.csv",
        "/list.jsonl",
    ):
        page = auditor.get(f"/inspect{path}")
        assert WORDS not in page, path
        assert "rather not go on" not in page, path
    assert "words not shown" in auditor.get(f"/inspect/b/{ended}")
    assert "Operate" not in auditor.get(f"/inspect/b/{ended}")


def test_the_list_is_narrowed_by_its_address_and_goes_on_page_by_page(visitor: Visitor, ended: str) -> None:
    for number in range(3):
        visitor.start(f"Roses, {number}")
    page = visitor.get("/inspect?ground=last_resort&account=&limit=1")
    assert f"/inspect/b/{ended}" in page
    assert "A branch ended on: <b>last resort</b>" in page
    assert re.search(r">1 of \d+ in the log<", page)
    assert "Roses" not in page
    first = visitor.get("/inspect?status=active&limit=2")
    following = re.search(r'href="([^"]+)" rel="next"', first)
    assert following is not None
    second = visitor.get(following[1].replace("&amp;", "&"))
    assert set(re.findall(r'th scope="row"><a href="([^"]+)', first)).isdisjoint(
        re.findall(r'th scope="row"><a href="([^"]+)', second)
    )
    assert "First page" in second
    assert "2 on this page, and more; " in first
    assert re.search(r">(the last \d|2 on this page, and more); \d+ in the log<", second)
    assert "Nothing in the log is like that" in visitor.get("/inspect?model=nobody")
    assert f"/inspect/b/{ended}" in visitor.get("/inspect?since=2026-01-31&ground=last_resort")
    assert "Nothing in the log is like that" in visitor.get("/inspect?until=2026-01-31")
    for query, told in (
        ("limit=x", "limit: "),
        ("wrong=1", "a parameter: there is none"),
        ("since=x", "since"),
        ("after=x", "after: not a cursor"),
    ):
        assert told in visitor.get(f"/inspect?{query}"), query
    assert len(visitor.get("/inspect").encode()) < 200_000


def test_what_is_shown_comes_as_csv_and_json_lines(running: Service, visitor: Visitor, ended: str) -> None:
    formula = visitor.start("=HYPERLINK(1)")
    rows = list(csv.DictReader(StringIO(visitor.get("/inspect/list.csv"))))
    assert {row["conversation"]: row["title"] for row in rows}[formula] == "'=HYPERLINK(1)"
    lines = [json.loads(one) for one in visitor.get("/inspect/list.jsonl?ground=last_resort").splitlines()]
    assert [one["conversation"] for one in lines] == [ended]
    assert "title" not in next(csv.DictReader(StringIO(Visitor(running, "audit").get("/inspect/list.csv"))))


def test_evidence_and_ending_lead_to_each_other(running: Service, visitor: Visitor, ended: str) -> None:
    [found] = [
        one for one in running.house.tenants["default"].conversations.path(ended) if one.kind == "ConversationEnded"
    ]
    evidence = found.event.evidence  # type: ignore[union-attr]
    page = visitor.get(f"/inspect/b/{ended}")
    versions = [*evidence.redirections, evidence.warning, evidence.tested_by, evidence.hope]
    assert len(versions) == 6
    for version in versions:
        assert f'href="#v{version}"' in line(page, found.version)
        assert f'href="#v{found.version}"' in line(page, version)
    assert "no risk seen" in line(page, found.version)
    state = page.partition("<h2>State</h2>")[2].partition("<h2>Operate</h2>")[0]
    for version in (found.version, *versions):  # and in the panel beside it, which is seen without scrolling
        assert f'href="#v{version}"' in state
    assert WORDS in page
    assert "Why not end it?" not in page


def test_at_each_version_the_page_is_of_then(running: Service, visitor: Visitor, ended: str) -> None:
    chat = running.house.tenants["default"].conversations.chat(ended)
    for at in (1, 14, len(chat.path)):
        page = visitor.get(f"/inspect/b/{ended}?at={at}")
        assert f'id="v{at}"' in page
        assert f'id="v{at + 1}"' not in page
        assert "As it was then." in page or at == len(chat.path)
        assert ("Why not end it?" in page) is (at < 22)
    middle = visitor.get(f"/inspect/b/{ended}?at=10")
    assert "failed redirections: 2 of 3 in this episode" in middle or "1 of 3" in middle
    assert "warned-first" in middle
    on_request = visitor.get(f"/inspect/b/{ended}?at=10&ground={Ground.USER_REQUEST}")
    assert "warned-first" not in on_request
    assert "asked" in on_request
    assert "option selected>hate" in visitor.get(f"/inspect/b/{ended}?at=10&category=hate")
    assert "goes on" in visitor.get(f"/inspect/b/{ended}?at=999999&category=nonsense".replace("999999", "9"))
    assert "No such branch" in visitor.get("/inspect/b/none", 404)


def test_a_long_branch_comes_in_windows(running: Service, visitor: Visitor) -> None:
    branch = long_chat(running, 300)
    page = visitor.get(f"/inspect/b/{branch}")
    assert page.count('<article class="line') == 200
    assert len(page.encode()) < 200_000
    earlier = re.search(r'href="([^"]+)">Earlier events', page)
    assert earlier is not None
    before = visitor.get(earlier[1].replace("&amp;", "&"))
    assert 'id="v1"' in before
    assert "Later events" in before


def test_words_are_shown_in_the_order_in_which_they_were_written(visitor: Visitor) -> None:
    """What has them read otherwise is a mark, wherever they stand: in the list, on the page of a branch, in a chat."""
    branch = visitor.start("I said \u202edaed eb\u2066 to nobody.")
    marked = "I said \N{REPLACEMENT CHARACTER}daed eb\N{REPLACEMENT CHARACTER} to nobody."
    for path in ("/inspect", f"/inspect/b/{branch}"):
        page = visitor.get(path)
        assert marked in page
        assert not set("\u202e\u2066") & set(page)


def test_operators_act_and_each_act_is_in_the_admin_log(running: Service, visitor: Visitor) -> None:
    branch = visitor.start("I want to die")
    assert "open" in visitor.get("/inspect/queue")
    assert f"/inspect/b/{branch}" in visitor.get("/inspect/queue")
    page = visitor.get(f"/inspect/b/{branch}")
    risk = re.search(r'data-act="clear" data-risk="([^"]+)"', page)
    assert risk is not None
    assert "may be at risk" in page or "risk" in page
    visitor.post(f"/api/v1/branches/{branch}/risks/{risk[1]}/clear")
    visitor.post(f"/api/v1/branches/{branch}/holds", {"hold": "case-1", "reason": "litigation", "until": "2030-01-31"})
    page = visitor.get(f"/inspect/b/{branch}")
    assert 'data-act="release" data-hold="case-1"' in page
    assert "until 2030-01-31" in page
    assert "case-1" in visitor.get("/inspect/queue")
    visitor.post(f"/api/v1/branches/{branch}/holds/case-1/release")
    visitor.post(f"/api/v1/branches/{branch}/erasures", {"cause": "legal"})
    assert "erased by operator ada, " in visitor.get(f"/inspect/b/{branch}")
    log = visitor.get("/inspect/log")
    for act in ("hold.set", "hold.released", "words.erased", "words.read", "titles.read"):
        assert f">{act}</td>" in log, act
    assert "entries follows from the one before it, as checked at" in log
    assert visitor.get("/inspect/log?before=4").count('<th scope="row"') == 3


def test_of_whom_the_words_are_erased_is_told_in_the_list(running: Service) -> None:
    operator = Visitor(running)
    erased, kept = operator.start("Rosemary"), operator.start("Sage")
    operator.post(f"/api/v1/branches/{erased}/erasures", {"cause": "legal"})
    for page in (operator.get("/inspect"), Visitor(running, "audit").get("/inspect")):
        found = re.finditer(r'<th scope="row"[^>]*><a href="/inspect/b/([^"]+)".*?</tr>', page, re.DOTALL)
        rows = {one[1]: one[0] for one in found}
        assert "no words kept" in rows[erased]
        assert "no words kept" not in rows[kept]


def test_the_admin_log_names_people_as_the_log_does(running: Service, visitor: Visitor, ended: str) -> None:
    visitor.get(f"/inspect/b/{ended}")
    rows = re.findall(r'data-label="Who">(.*?)</td>', visitor.get("/inspect/log"))
    assert re.fullmatch(r'ada <small class="id">person-\w{12}</small>', rows[0])
    assert rows[-1] == "serve"
    assert f'<a href="/inspect/b/{ended}">{ended}</a>' in visitor.get("/inspect/log")


def test_a_message_is_shown_with_its_code_as_code(visitor: Visitor) -> None:
    assert "pass the <code>after</code> of the page before" in visitor.get("/inspect?after=x")
    assert coded("a `<b>` and <i>") == "a <code>&lt;b&gt;</code> and &lt;i&gt;"
    assert "write it as 2026-01-31, or" in visitor.get("/inspect?since=x")


def test_that_titles_were_read_is_noted_once_and_not_with_every_page(running: Service, ended: str) -> None:
    reader = Visitor(running, "audit", "words")
    before = len(running.house.log.page("default", 0, 1_000))
    for path in ("/inspect", "/inspect/queue", "/inspect?status=ended"):
        reader.get(path)
    noted = running.house.log.page("default", 0, 1_000)[before:]
    assert [one.act for one in noted] == ["titles.read"]


def test_an_appeal_waits_in_the_queue_until_somebody_decides(visitor: Visitor) -> None:
    branch = visitor.ended()
    visitor.post(f"/api/v1/branches/{branch}/appeals")
    assert branch in visitor.get("/inspect/queue")
    assert "Grant the appeal" in visitor.get(f"/inspect/b/{branch}")
    visitor.post(f"/api/v1/branches/{branch}/decision", {"outcome": "rejected"})
    assert branch not in visitor.get("/inspect/queue")
    assert "rejected" in visitor.get(f"/inspect/b/{branch}")


def test_an_audit_is_shown_when_it_is_done(running: Service, visitor: Visitor, ended: str) -> None:
    assert "No audit has been made yet" in visitor.get("/inspect/audit")
    id = visitor.post("/api/v1/audits", {}, 202)["id"]
    assert "No finding in" in until(lambda: visitor.get(f"/inspect/audit?id={id}"), "finding in")
    assert "No finding in" in visitor.get("/inspect/audit")  # the latest one


def test_a_finding_is_told_with_its_rule_and_leads_to_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    with service() as one:
        visitor = Visitor(one)
        branch = visitor.ended()
        store = one.house.tenants["default"].conversations.store
        taken_out = [entry for entry in store.entries() if entry.version != 19]
        monkeypatch.setattr(store, "entries", lambda **_: iter(taken_out))
        visitor.post("/api/v1/audits", {}, 202)
        page = until(lambda: visitor.get("/inspect/audit"), "findings in")
        assert f"/inspect/b/{branch}?at=" in page
        assert " says: " in page
        titles = re.findall(r"<h2>([^<]+) <span", page)
        assert titles[0] == "The log is not whole"  # the gravest first
        assert any(title.startswith("Against the law, in rules since edition ") for title in titles)


def test_what_another_policy_makes_of_the_log_writes_nothing(running: Service, visitor: Visitor, ended: str) -> None:
    assert "Nothing has been replayed yet" in visitor.get("/inspect/what-if")
    head = running.house.tenants["default"].conversations.store.head()
    made = visitor.post("/inspect/what-ifs", {"toml": 'name = "slow"\nmin_failed_redirections = 9\n'}, 202)
    page = until(lambda: visitor.get(f"/inspect/what-if?id={made['id']}"), "nothing was written")
    assert f"up to position {head:,}" in page
    assert "Under slow" in page
    assert "undecidable" in page
    shaded = visitor.get(f"/inspect/b/{ended}?replay={made['id']}")
    assert "Nothing can be told from" in shaded
    assert 'undecidable"' in shaded
    assert "Under the other policy" not in visitor.get(f"/inspect/b/{ended}?replay=none")
    assert running.house.tenants["default"].conversations.store.head() == head
    wrong = visitor.post("/inspect/what-ifs", {"toml": "min_failed_redirections = 1\nname='x'"}, 422)
    assert wrong["detail"] == (
        "the file is no policy:\nline 1: min_failed_redirections: Input should be greater than or equal to 2"
    )
    wrong = visitor.post("/inspect/what-ifs", {"toml": "min_severity = 9\nwrong = 1"}, 422)
    assert wrong["detail"].split("\n")[1:] == [
        "name: it is missing", "line 1: min_severity: Input should be less than or equal to 3",
        "line 2: no key of a policy (length 5)",
    ]  # fmt: skip
