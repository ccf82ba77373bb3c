"""The states in which the pages are looked at, and how each is come to."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .pages_kit import Tab, Visitor
from .test_report_shadow import told
from .web_kit import Service

Prepare = Callable[[Any], None]


class State(NamedTuple):
    """A state: what it is called, its address, and what is done there before it is looked at."""

    name: str
    path: str
    prepare: Prepare = lambda page: None


def states(running: Service, visitor: Visitor) -> Iterator[State]:
    """Yield every state, on what a visitor has done before."""
    yield State("new", "/chat")
    told(running.house.tenants["default"].conversations)
    garden = visitor.start("Help me plan a small garden.")
    visitor.say(garden, "It is shady, and the soil is heavy.")
    asked = visitor.start("I think that we are done here.")
    visitor.say(asked, "I would like to end this conversation.", "request_end")
    ended = visitor.ended()
    child = visitor.post(f"/api/v1/branches/{ended}/edits", {"turn": 2, "content": "Could you look over a letter?"})[
        "branch"
    ]
    visitor.ask("POST", f"/chat/c/{child}/resume", json={})
    appealed = visitor.ended()
    visitor.post(f"/api/v1/branches/{appealed}/appeals", {"content": "It was a joke."})
    visitor.post(f"/api/v1/branches/{appealed}/feedback", {"rating": "down"})
    held = visitor.start("I want to die")
    visitor.post("/api/v1/audits", {}, 202)
    replay = visitor.post("/inspect/what-ifs", {"toml": 'name = "slow"\nmin_failed_redirections = 9\n'}, 202)["id"]
    yield State("answered", f"/chat/c/{garden}")
    yield State(
        "editing", f"/chat/c/{garden}", lambda page: page.locator("[data-act=edit]").first.dispatch_event("click")
    )
    yield State("ways", f"/chat/c/{child}")
    yield State("asked", f"/chat/c/{asked}")
    yield State("ended", f"/chat/c/{ended}")
    yield State("feedback", f"/chat/c/{ended}", lambda page: page.locator(".after summary").first.click())
    yield State("appeal", f"/chat/c/{ended}", lambda page: page.locator(".after summary").last.click())
    yield State("appealed", f"/chat/c/{appealed}")
    yield State("held", f"/chat/c/{held}")
    yield State("menu", f"/chat/c/{garden}", lambda page: page.locator(".menu summary").click())
    yield State("deleting", f"/chat/c/{garden}", _deleting)
    yield State("keys", "/chat", lambda page: page.keyboard.press("Control+/"))
    yield State("found", "/chat?q=garden")
    yield State("arabic", f"/chat/c/{ended}?lang=ar")
    yield State("gone", "/chat/c/none")
    yield State("list", "/inspect")
    yield State("narrowed", "/inspect?ground=last_resort&appeal=open")
    yield State("branch", f"/inspect/b/{ended}")
    yield State("then", f"/inspect/b/{ended}?at=14")
    yield State("evidence", f"/inspect/b/{ended}#v22", lambda page: page.locator("#v22 .proofs a").first.focus())
    yield State("shaded", f"/inspect/b/{ended}?replay={replay}#v20")
    yield State("queue", "/inspect/queue")
    yield State("audit", "/inspect/audit", lambda page: page.locator(".verdict").wait_for(timeout=60_000))
    yield State("what-if", "/inspect/what-if", lambda page: page.locator(".sums").wait_for(timeout=60_000))
    yield State("figures", "/inspect/figures")
    yield State("report", "/inspect/report?group=mode", _counted)
    yield State("shadow", "/inspect/shadow", _counted)
    yield State("log", "/inspect/log")


def _counted(page: Any) -> None:
    page.locator(".rows").first.wait_for(timeout=60_000)


def _deleting(page: Any) -> None:
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Delete").click()


def opened(tab: Tab, state: State, width: int) -> None:
    """Open the page of a state at a width, and do there what is done before it is looked at."""
    page = tab.page
    page.set_viewport_size({"width": width, "height": {390: 844, 768: 1_024}.get(width, 900)})
    page.goto("about:blank")
    tab.go(state.path)
    state.prepare(page)
    page.mouse.move(0, 0)


def shown(tab: Tab, scheme: str) -> bytes:
    """Return a picture of the page that is open, in light or dark."""
    tab.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    picture: bytes = tab.page.screenshot(caret="hide")
    return picture
