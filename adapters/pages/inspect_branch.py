"""The page of a branch: its tree, what was said with the law between the lines, and its state, at any version."""

from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from lastresort.adapters.api.routes import Branch
from lastresort.adapters.service.jobs import Supposed
from lastresort.application.chat import Chat
from lastresort.application.outcomes import UnknownBranch
from lastresort.domain.values import AppealOutcome, ErasureCause, Ground, HoldReason
from lastresort.projections.supposed import BranchOutcome

from .branch_view import Asked, BranchView, branch_view
from .proofs import is_provable
from .rendering import page, with_query
from .visitors import Auditor, Here

Version = Annotated[int | None, Query(ge=1, le=2**53)]


def install(app: FastAPI) -> None:
    """Have an app serve the page of a branch."""
    app.add_api_route("/inspect/b/{branch}", show_branch, methods=["GET"], include_in_schema=False, response_model=None)


def show_branch(
    request: Request, branch: Branch, caller: Auditor, house: Here, at: Version = None,
    begin: Annotated[int | None, Query(alias="from", ge=1, le=2**53)] = None,
    end: Annotated[int | None, Query(alias="to", ge=1, le=2**53)] = None, ground: Ground = Ground.LAST_RESORT,
    category: Annotated[str | None, Query(max_length=64)] = None,
    replay: Annotated[str | None, Query(max_length=64)] = None,
    twig: Annotated[int | None, Query(ge=0, le=2**31)] = None,
) -> Response:  # fmt: skip
    """Show a branch at a version, the last one if none is named."""
    try:
        chat = caller.tenant.conversations.chat(branch)
    except UnknownBranch:
        sentences = ("The log has no branch of that name.",)
        return page(
            "told.html", status=404, title="No such branch", sentences=sentences, link="/inspect", label="The list"
        )
    named = category if category in chat.state.policy.categories and ground is Ground.LAST_RESORT else None
    if caller.key.reads_words:
        house.note(caller, "words.read", branch, after=[begin, end, at])
    view = branch_view(caller, chat, Asked(at, begin, end, ground, named, twig))
    return page(
        "branch.html", nav="list", caller=caller, view=view, branch=branch, grounds=list(Ground),
        operates=caller.key.names("operate") is not None, words=caller.key.reads_words, causes=list(ErasureCause),
        reasons=list(HoldReason), outcomes=list(AppealOutcome), supposed=_supposed(request, caller, branch, replay),
        now=with_query(request, at=None, **_window()), earlier=_beside(request, to=view.earlier),
        later=_beside(request, begin=view.later), twigs=_twigs(request, view), asked=request.query_params,
        queued=_is_queued(caller, chat), provable=view.ending is not None and is_provable(chat),
        link=lambda **changes: with_query(request, **changes),
    )  # fmt: skip


def _window(begin: int | None = None, to: int | None = None) -> dict[str, int | None]:
    return {"from": begin, "to": to}


def _beside(request: Request, begin: int | None = None, to: int | None = None) -> str | None:
    """Return the address of a window beside the one that is shown; None, if there is none."""
    return with_query(request, **_window(begin, to)) if begin or to else None


def _twigs(request: Request, view: BranchView) -> tuple[str | None, str | None]:
    """Return the addresses of the page with the branches before those that are shown, and after them."""
    before, after = view.twig - 1, view.twig + len(view.tree)
    return (
        with_query(request, twig=before) if before > 0 else None,
        with_query(request, twig=after) if after < view.of else None,
    )


def _is_queued(caller: Auditor, chat: Chat) -> bool:
    unit = chat.state.unit
    return unit is not None and caller.tenant.queue.is_waiting(chat.branch, unit.turn)


def _supposed(request: Request, caller: Auditor, branch: str, replay: str | None) -> BranchOutcome | None:
    """Return what a replay under another policy says of a branch, if it says that anything differs."""
    if replay is None:
        return None
    job = request.app.state.jobs.find(caller.tenant, "what-if", replay)
    if job is None or job.result is None:
        return None
    return next((one for one in Supposed.model_validate_json(job.result).differ if one.branch == branch), None)
