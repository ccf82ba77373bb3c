"""The proof that an ending is in the published log, as a file: for the user whom it concerns, and for auditors."""

from fastapi import FastAPI
from fastapi.responses import Response

from lastresort.adapters.api.reads import proof_of
from lastresort.adapters.api.routes import Branch
from lastresort.adapters.service.problems import Failed
from lastresort.application.chat import Chat

from .visitors import Auditor, Talker, own_chat


def install(app: FastAPI) -> None:
    """Have an app give proofs."""
    for path, run in (("/chat/c/{branch}/proof", own_proof), ("/inspect/b/{branch}/proof", any_proof)):
        app.add_api_route(path, run, methods=["GET"], include_in_schema=False, response_model=None)


def is_provable(chat: Chat) -> bool:
    """Whether there is a proof to offer: of a branch that has ended, in a store whose log is published."""
    if chat.state.ended is None:
        return False
    try:
        proof_of(chat)
    except Failed:
        return False
    return True


def own_proof(branch: Branch, caller: Talker) -> Response:
    """Give the proof of the ending of a chat of one's own."""
    return _file(own_chat(caller, branch))


def any_proof(branch: Branch, caller: Auditor) -> Response:
    """Give the proof of an ending."""
    return _file(caller.tenant.conversations.chat(branch))


def _file(chat: Chat) -> Response:
    headers = {"content-disposition": 'attachment; filename="ending.tlog-proof"', "cache-control": "no-store"}
    return Response(proof_of(chat), media_type="text/plain; charset=utf-8", headers=headers)
