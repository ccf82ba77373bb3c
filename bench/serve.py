"""The gateway beside a pass-through of aiohttp and no proxy at all: `python -m bench.serve`, `make bench-serve`.

Upstream is a stub on this machine that answers as the Messages API streams: paced, 40 pieces over two seconds, or 20 at
once. The generator of load runs here too, so what is told is how they compare, and not what a machine of its own would
do. LiteLLM's proxy joins in where it is installed. Rounds are interleaved: each contender once, then all again.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from lastresort.adapters.messages_api import sse

PACED, AT_ONCE = 40, 20
SECONDS = 2.0
MODEL = "claude-opus-4-8"


class Figures(NamedTuple):
    """What came of a round: first bytes in ms, answers a second, errors, and memory in MB."""

    first: list[float]
    rate: float
    errors: int
    resident: float


# --- the other end, and a pass-through -------------------------------------------------------------------------------


async def _upstream(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    paced = "paced" in str(body["messages"][-1]["content"])
    answer = web.StreamResponse(headers={"content-type": sse.MEDIA_TYPE})
    await answer.prepare(request)

    async def say(kind: str, **fields: Any) -> None:
        await answer.write(sse.event(kind, {"type": kind, **fields}))

    usage = {"input_tokens": 9, "output_tokens": 1}
    message: dict[str, Any] = {
        "id": f"msg_{time.monotonic_ns()}", "type": "message", "role": "assistant", "model": MODEL, "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    await say("message_start", message=message)
    await say("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for n in range(PACED if paced else AT_ONCE):
        if paced:
            await asyncio.sleep(SECONDS / PACED)
        await say("content_block_delta", index=0, delta={"type": "text_delta", "text": f"word {n} "})
    await say("content_block_stop", index=0)
    await say("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 40})
    await say("message_stop")
    await answer.write_eof()
    return answer


def _passing(upstream: str) -> Any:
    session: list[aiohttp.ClientSession] = []  # one, made in the loop that uses it

    async def passed(request: web.Request) -> web.StreamResponse:
        if not session:
            session.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in ("host", "content-length")
        }
        async with session[0].post(upstream + request.path, data=await request.read(), headers=headers) as came:
            answer = web.StreamResponse(status=came.status, headers={"content-type": sse.MEDIA_TYPE})
            await answer.prepare(request)
            async for piece in came.content.iter_any():
                await answer.write(piece)
            await answer.write_eof()
            return answer

    return passed


def _serve(port: int, upstream: str | None) -> None:
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/messages", _upstream if upstream is None else _passing(upstream))
    web.run_app(app, host="127.0.0.1", port=port, print=lambda *_: None)


# --- load ------------------------------------------------------------------------------------------------------------


async def _load(url: str, streams: int, answers: int, said: str) -> tuple[list[float], float, int]:
    """Have `streams` clients ask at once, until so many answers have come; each is a conversation of its own."""
    first: list[float] = []
    errors, left = 0, answers
    headers = {"x-api-key": "sk-bench", "anthropic-version": "2023-06-01"}
    body = {"model": MODEL, "max_tokens": 99, "stream": True}

    async def one(session: aiohttp.ClientSession) -> None:
        nonlocal errors, left
        while left > 0:
            left -= 1
            asked = {**body, "messages": [{"role": "user", "content": f"{said} {time.monotonic_ns()}"}]}
            began = time.perf_counter()
            came, whole = None, b""
            try:
                async with session.post(f"{url}/v1/messages", json=asked, headers=headers) as answer:
                    async for piece in answer.content.iter_any():
                        came = came if came is not None else time.perf_counter()
                        whole += piece
            except aiohttp.ClientError:
                pass
            if came is None or b"event: message_stop" not in whole:
                errors += 1
            else:
                first.append((came - began) * 1_000)

    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        began = time.perf_counter()
        await asyncio.gather(*(one(session) for _ in range(streams)))
        return first, len(first) / (time.perf_counter() - began), errors


def _resident(process: subprocess.Popen[Any]) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


# --- contenders ------------------------------------------------------------------------------------------------------


def _started(folder: Path) -> dict[str, tuple[str, subprocess.Popen[Any]]]:
    """Start the stub and each contender; return where each is asked, and its process."""
    base = int(os.environ.get("BENCH_PORT", "18417"))
    stub = f"http://127.0.0.1:{base}"
    me = [sys.executable, "-m", "bench.serve"]
    running: dict[str, tuple[str, subprocess.Popen[Any]]] = {}
    running["direct"] = (stub, subprocess.Popen([*me, "--stub", str(base)]))
    running["aiohttp"] = (f"http://127.0.0.1:{base + 1}", subprocess.Popen([*me, "--pass", str(base + 1), stub]))
    ours = [sys.executable, "-m", "lastresort", "serve", "--port", str(base + 2), "--upstream", stub,
            "--store", f"sqlite:///{folder / 'bench.db'}"]  # fmt: skip
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running["lastresort"] = (f"http://127.0.0.1:{base + 2}", subprocess.Popen(ours, **quiet))
    proxy = Path(sys.executable).parent / "litellm"
    if proxy.exists() and find_spec("litellm.proxy") is not None:
        config = folder / "litellm.yaml"
        config.write_text(json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": {
            "model": f"anthropic/{MODEL}", "api_base": stub, "api_key": "sk"}}]}))  # fmt: skip
        command = [str(proxy), "--config", str(config), "--port", str(base + 3)]
        running["litellm"] = (f"http://127.0.0.1:{base + 3}", subprocess.Popen(command, **quiet))
    return running


async def _ready(url: str) -> None:
    for _ in range(1_200):
        try:
            _, _, errors = await _load(url, 1, 1, "at once")
            if not errors:
                return
        except OSError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def measured(streams: Sequence[int], rounds: int, answers: int) -> dict[str, dict[str, Figures]]:
    """Return by workload and contender what came of it, over all rounds."""
    found: dict[str, dict[str, list[Figures]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        running = _started(Path(folder))
        try:
            for url, _ in running.values():
                asyncio.run(_ready(url))
            loads = [(f"paced, {n}", n, n, "paced") for n in streams]
            loads += [(f"at once, {n}", n, max(n, answers), "at once") for n in streams]
            for _ in range(rounds):
                for load, n, count, said in loads:
                    for name, (url, process) in running.items():
                        first, rate, errors = asyncio.run(_load(url, n, count, said))
                        one = Figures(first, rate, errors, _resident(process))
                        found.setdefault(load, {}).setdefault(name, []).append(one)
        finally:
            for _, process in running.values():
                process.terminate()
                process.wait(60)
    return {load: {name: _summed(some) for name, some in named.items()} for load, named in found.items()}


def _summed(rounds: Sequence[Figures]) -> Figures:
    first = [value for one in rounds for value in one.first]
    rate = statistics.median(one.rate for one in rounds)
    return Figures(first, rate, sum(one.errors for one in rounds), max(one.resident for one in rounds))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="The gateway beside a pass-through and no proxy.")
    parser.add_argument("--streams", default="1,32,256")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--answers", type=int, default=400, help="in each round at once")
    parser.add_argument("--stub", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--pass", nargs=2, dest="passes", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stub is not None:
        _serve(asked.stub, None)
    elif asked.passes is not None:
        _serve(int(asked.passes[0]), asked.passes[1])
    else:
        found = measured([int(n) for n in asked.streams.split(",")], asked.rounds, asked.answers)
        print(f"{'load':16} {'contender':12} {'first p50':>10} {'p99 (ms)':>9} {'a second':>9} {'errors':>7} {'MB':>6}")
        for load, named in found.items():
            for name, one in named.items():
                p50, p99 = _quantile(one.first, 0.5), _quantile(one.first, 0.99)
                print(f"{load:16} {name:12} {p50:10.1f} {p99:9.1f} {one.rate:9.1f} {one.errors:7} {one.resident:6.0f}")


if __name__ == "__main__":
    main()
