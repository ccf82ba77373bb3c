"""The service of a witness: two paths, as c2sp.org/tlog-witness names them."""

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .witness import Answer, Witness

_MOST_BYTES = 2**18


def witness_app(witness: Witness) -> Starlette:
    """Return the service."""

    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BYTES:
                return _response(Answer(400, f"a request has {_MOST_BYTES:,} bytes at most\n"))
        return _response(await run_in_threadpool(witness.add_checkpoint, body))

    async def checkpoint(request: Request) -> Response:
        return _response(await run_in_threadpool(witness.checkpoint, request.path_params["hash"]))

    routes = [
        Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
        Route("/{hash}/checkpoint", checkpoint, methods=["GET"]),
    ]
    return Starlette(routes=routes)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, headers={"content-type": answer.media_type})


def serve(witness: Witness, host: str, port: int) -> None:
    """Serve until the process is told to stop."""
    import uvicorn

    uvicorn.run(witness_app(witness), host=host, port=port, log_level="warning", access_log=False)
