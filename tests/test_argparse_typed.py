"""The programs that go without click repeat nothing of what was typed by mistake either."""

import runpy
import sys

import lastresort_verify
import pytest

WORDS = "a word of mine"
USAGE = "no such option, or more arguments than it takes: 1 too many"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["file", "--policy", "p", WORDS], USAGE),
        (["file", "--policy", "p", f"--{WORDS}"], USAGE),
        (["file", "--policy", "p", f"--pol={WORDS}"], USAGE),
        (["file", "--policy", "p", f"--json={WORDS}"], "argument --json: this is not what it takes: see --help"),
        ([WORDS, "--policy"], "argument --policy: this is not what it takes: see --help"),
        ([WORDS], "the following arguments are required: --policy"),
    ],
)
def test_the_verifier(typed: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        lastresort_verify.main(typed)
    shown = capsys.readouterr().err
    assert left.value.code == 2
    assert shown.endswith(f"lastresort-verify: error: {told}\n")
    assert WORDS not in shown


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ([WORDS], USAGE),
        ([f"--{WORDS}"], USAGE),
        ([f"--mod={WORDS}"], USAGE),
        (["--port", WORDS], "argument --port: this is not what it takes: see --help"),
        (["--seed", WORDS], "argument --seed: this is not what it takes: see --help"),
        (["--model", WORDS], "argument --model: this is not what it takes: see --help"),
        ([f"--enforce={WORDS}"], "argument --enforce: this is not what it takes: see --help"),
    ],
)
def test_the_loopback(
    typed: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["loopback", *typed])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("lastresort.adapters.loopback", run_name="__main__")
    shown = capsys.readouterr().err
    assert left.value.code == 2
    assert shown.endswith(f"error: {told}\n")
    assert WORDS not in shown
