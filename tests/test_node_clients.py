"""Items 1 and 12 in JavaScript, and the native API in TypeScript, by types made of its description."""

import json
import shutil
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lastresort.adapters.loopback import loopback

from .claude_kit import ENDING, redirecting, warning
from .gateway_kit import chats_of
from .node_kit import FOLDER, INSTALLED, needs_node, run_node, run_tool
from .test_gateway_items import with_tools
from .web_kit import MODEL, assessed, service

pytestmark = needs_node
STORY = [*redirecting(), *redirecting(), *redirecting(), *warning(), ENDING]
CLIENTS = ("anthropic_sdk.mjs", "ai_sdk.mjs")


@pytest.mark.parametrize("streams", ["0", "1"])
@pytest.mark.parametrize("script", CLIENTS)
def test_item_1_ten_turns_in_javascript_are_as_direct(script: str, streams: str) -> None:
    with loopback(with_tools) as api:
        direct = run_node(FOLDER / script, BASE_URL=api.url, MODEL=MODEL, STREAMS=streams)
    with service(with_tools) as one:
        assert run_node(FOLDER / script, BASE_URL=one.url, MODEL=MODEL, STREAMS=streams) == direct
        assert len(direct["said"]) == 10
        assert one.api is not None
        assert one.api.reports == []
        assert len(chats_of(one).list().rows) == 1


@pytest.mark.parametrize("streams", ["0", "1"])
@pytest.mark.parametrize(("script", "stop"), [*zip(CLIENTS, ("end_turn", "stop"), strict=True)])
def test_item_12_an_ending_is_shown_in_javascript_and_nobody_is_asked_after_it(
    script: str, stop: str, streams: str
) -> None:
    with service(assessed(STORY)) as one:
        told: Any = run_node(
            FOLDER / script, BASE_URL=one.url, MODEL=MODEL, STREAMS=streams, TURNS="6", SAYS="You are worthless."
        )
        assert one.api is not None
        assert told["stop"] == stop
        assert "ended" in told["said"][4]
        assert "ended" in told["said"][5]
        if script == "anthropic_sdk.mjs":
            assert told["lastresort"]["ended"]["ground"] == "last_resort"
        assert [row.status for row in chats_of(one).list().rows] == ["ended"]


def test_the_native_api_in_typescript(tmp_path: Path) -> None:
    """What the types allow is served, what the service takes is allowed, and what fits neither does not compile."""
    for name in ("native_api.ts", "node.d.ts", "tsconfig.json", "package.json"):
        shutil.copy(FOLDER / name, tmp_path / name)
    (tmp_path / "node_modules").symlink_to(INSTALLED)
    (tmp_path / "generated").mkdir()
    with service(lambda request: "Gladly.") as one:
        description = httpx2.get(f"{one.url}/api/v1/openapi.json").json()
        (tmp_path / "openapi.json").write_text(json.dumps(description))
        optional = ("--default-non-nullable", "false")  # what has a default may be left out
        run_tool("openapi-typescript", "openapi.json", "-o", "generated/native_api.d.ts", *optional, cwd=tmp_path)
        run_tool("tsc", "-p", ".", cwd=tmp_path)
        key = one.key("converse", "model:*", "assess:desk", "audit")
        told = run_node(tmp_path / "generated" / "native_api.js", SERVICE_URL=one.url, SERVICE_KEY=key)
    assert told["text"] == "Gladly."
    assert "warned-first" in told["rules"]
    assert "warned-first" in told["refused"]
    assert told["unknown"] == 404
