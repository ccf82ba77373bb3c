"""The command line: exit status 0 fine, 1 findings or refusals, 2 wrong usage or bad input; JSON for programs."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lastresort import PROFILES, RULES, About, Policy
from lastresort.adapters.console.cli import main
from lastresort.domain.values import Risk, Verdict

from .cli_kit import LASTRESORT, as_json, run, shell, transcripts, url, wishes, write
from .stores import counting, opened, started

__all__ = ["run", "url"]


# --- As a user runs it ------------------------------------------------------------------------------------------------


def test_from_transcripts_to_a_clean_audit_and_back(tmp_path: Path) -> None:
    """Simulate, view, export, import, audit; plain text when piped, and no progress bar among the results."""
    transcripts(tmp_path / "in.jsonl")
    out, _ = shell(tmp_path, "simulate", "in.jsonl", "--store", "sqlite:///one.db")
    assert "endings" in out
    assert "playing" not in out
    views, err = shell(tmp_path, "views", "--store", "sqlite:///one.db")
    assert "active (1)" in views
    assert "ended (1)" in views
    assert err == ""
    log, _ = shell(tmp_path, "export", "sqlite:///one.db")
    assert len(log.splitlines()) == 25
    (tmp_path / "log.jsonl").write_text(log)
    shell(tmp_path, "import", "log.jsonl", "--store", "sqlite:///two.db")
    assert shell(tmp_path, "export", "sqlite:///two.db")[0] == log
    assert shell(tmp_path, "audit", "sqlite:///two.db")[0] == "25 events on 2 branches: no finding\n"
    for text in (out, views):
        assert "\x1b" not in text


def test_findings_are_exit_status_1(tmp_path: Path, url: str) -> None:
    """Of the audit; and an import that is refused leaves no store behind."""
    lines = shell(tmp_path, "export", url)[0].splitlines()
    assert len(lines) > 20
    (tmp_path / "broken.jsonl").write_text("\n".join(lines[:12] + lines[13:]) + "\n")
    out, err = shell(tmp_path, "audit", "broken.jsonl", status=1)
    assert "structure-gap" in out
    assert err == ""
    out, _ = shell(tmp_path, "import", "broken.jsonl", "--store", "sqlite:///new.db", status=1)
    assert "findings" in out
    assert not (tmp_path / "new.db").exists()


def test_bad_input_is_exit_status_2_and_one_line_on_standard_error(tmp_path: Path) -> None:
    """With file, line and field; nothing is played and no store is made."""
    (tmp_path / "in.jsonl").write_text('{"conversation": "c", "account": null, "turns": []}\n{"conversation": 1}\n')
    out, err = shell(tmp_path, "simulate", "in.jsonl", "--store", "sqlite:///new.db", status=2)
    assert out == ""
    assert err.startswith("lastresort: in.jsonl:2: conversation: Input should be a valid string")
    assert err.count("\n") == 1
    assert not (tmp_path / "new.db").exists()


def test_help_and_version_are_there(tmp_path: Path) -> None:
    """For each command."""
    out, _ = shell(tmp_path, "--version")
    assert out.startswith("lastresort, version ")
    out, _ = shell(tmp_path, "-h")
    for name in main.commands:
        assert name in out


def test_the_store_may_come_from_the_environment(tmp_path: Path, url: str) -> None:
    """So that it need not be typed each time."""
    out, _ = shell(tmp_path, "views", "active", "--json", LASTRESORT_STORE=url)
    assert [row["branch"] for row in json.loads(out)["active"]] == ["d", "e"]


def test_a_reader_that_goes_away_is_no_disaster(tmp_path: Path, url: str) -> None:
    """As in `lastresort export ... | head -1`."""
    with opened(url, new_id=counting("more-")) as chats:
        chat = started(chats, "long")
        for number in range(400):
            chat.user_turn(str(number))
    process = subprocess.Popen(
        [LASTRESORT, "export", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith('{"position": 1,')
    process.stdout.close()
    process.wait(30)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_views_as_json(run: Callable[..., Result], url: str) -> None:
    """Three lists of rows, or the one that was asked for."""
    found = as_json(run("views", "--store", url, "--json"))
    assert list(found) == ["active", "ended", "branched"]
    assert [row["branch"] for row in found["active"]] == ["d", "e"]
    assert [row["branch"] for row in found["branched"]] == ["c", "d"]
    last_resort, request = found["ended"]
    assert {"branch", "conversation", "version", "ground", "category", "policy", "evidence"} <= last_resort.keys()
    assert (last_resort["ground"], last_resort["category"], last_resort["version"]) == ("last_resort", "abuse", 23)
    assert last_resort["policy"] == Policy.default().hash
    assert last_resort["evidence"] == {
        "redirections": [5, 9, 13],
        "warning": 17,
        "tested_by": 18,
        "hope": 20,
        "request": None,
        "confirmation": None,
    }
    assert request["evidence"]["request"] == 4
    assert list(as_json(run("views", "ended", "--store", url, "--json"))) == ["ended"]


def test_a_tree_as_json(run: Callable[..., Result], url: str) -> None:
    """Its branches, the root first, from whichever branch it is asked."""
    for branch in ("c", "d"):
        rows = as_json(run("tree", branch, "--store", url, "--json"))
        assert [(row["branch"], row["parent"], row["at"]) for row in rows] == [("c", None, None), ("d", "c", 9)]


def test_a_transcript_as_json(run: Callable[..., Result], url: str) -> None:
    """One object a line of it; up to a version, if one is asked for."""
    lines = as_json(run("show", "c", "--store", url, "--json"))
    assert len(lines) == 23
    assert lines[1] == {
        "version": 2,
        "branch": "c",
        "kind": "UserTurnTaken",
        "speaker": "user",
        "text": "You useless heap of bolts.",
        "gone": None,
        "stop_reason": None,
        "overtook": [],
        "recorded_at": "2026-01-31T12:00:01.000000+00:00",
    }
    assert as_json(run("show", "c", "--at", 3, "--store", url, "--json")) == lines[:3]


def test_why_as_json(run: Callable[..., Result], url: str) -> None:
    """By ground, each rule that stands in the way, with its numbers."""
    found = as_json(run("why", "e", "--store", url, "--json", status=1))
    assert list(found) == ["last_resort", "user_request"]
    assert found["last_resort"][0] == {
        "rule": "redirected-first",
        "text": "failed redirections: 0 of 3 in this episode",
        "have": 0,
        "need": 3,
        "at": None,
        "by_opinion": False,
    }
    assert {one["rule"] for one in found["user_request"]} == {"confirmed-later", "proposed-first"}


def test_an_audit_as_json(run: Callable[..., Result], url: str) -> None:
    """Of a store, and of a file with a finding."""
    clean = as_json(run("audit", url, "--json"))
    assert clean == {"events": 37, "branches": 4, "read_twice": 37, "findings": []}
    lines = [json.loads(line) for line in run("export", url).stdout.splitlines()]
    lines[8] |= {"kind": "UserLeft", "event": {"by": lines[8]["event"]["by"]}}
    found = as_json(run("audit", write(Path("log.jsonl"), *lines), "--json", status=1))
    assert (found["events"], found["branches"]) == (37, 4)
    assert [(one["branch"], one["version"], one["rules"]) for one in found["findings"]] == [
        ("c", 17, ["redirected-first"]),
        ("c", 22, ["redirected-first", "evidence-is-true"]),
    ]
    assert found["findings"][0]["detail"] == "redirected-first: redirections: 2 of 3 in this episode"


def test_an_import_as_json(run: Callable[..., Result], url: str) -> None:
    """As the audit that comes before it."""
    Path("log.jsonl").write_text(run("export", url).stdout)
    imported = as_json(run("import", "log.jsonl", "--store", "sqlite:///new.db", "--json"))
    assert imported == {"events": 37, "branches": 4, "read_twice": 37, "findings": []}


def test_a_simulation_as_json(run: Callable[..., Result]) -> None:
    """The figures of what was played."""
    found = as_json(run("simulate", transcripts(Path("in.jsonl")), "--store", "sqlite:///new.db", "--json"))
    assert (found["conversations"], found["endings"], found["warnings"]) == (2, {"last_resort": 1}, 1)


def test_the_law_as_json(run: Callable[..., Result]) -> None:
    """All rules in their order, or one of them; and the policies with their hashes."""
    rules = as_json(run("rules", "--json"))
    assert [rule["id"] for rule in rules] == list(RULES)
    assert all(rule.keys() == {"id", "text", "source", "since", "governs"} for rule in rules)
    assert as_json(run("rules", "warned-first", "--json")) == [next(r for r in rules if r["id"] == "warned-first")]
    policies = as_json(run("policies", "--json"))
    assert {policy.pop("name"): policy.pop("hash") for policy in policies} == {n: p.hash for n, p in PROFILES.items()}
    assert policies[2]["handshake"] is True


# --- For people -------------------------------------------------------------------------------------------------------


def test_views_tell_what_matters_of_each_branch(run: Callable[..., Result], url: str) -> None:
    """Active: what stands against it; ended: its evidence; branched: where it opened."""
    out = run("views", "--store", url).stdout
    assert "redirections failed at 5, 9, 13" in out
    assert "requested at 4; confirmed at 8" in out
    assert "after 9 of c (edit)" in out
    assert "2026-07" in out
    with opened(url, new_id=counting("more-")) as chats:
        chats.chat("d").raise_risk(About.OTHERS, risk="the-risk")
    out = run("views", "active", "--store", url).stdout
    assert "the-risk" in out
    assert "ended" not in out


def test_a_tree_is_drawn(run: Callable[..., Result], url: str) -> None:
    """With the status of each branch."""
    with opened(url, new_id=counting("more-")) as chats:
        chats.chat("d").raise_risk(risk="r")
    assert run("tree", "d", "--store", url).stdout.splitlines() == [
        "c v24 ended last_resort (abuse) at 22",
        "2026-01-31 12:00 UTC, edition 2",
        "hold: r",
        "└── d v12 active  edit after 9",
        "    2026-01-31 12:00 UTC",
        "    hold: r",
    ]
    assert run("tree", "other", "--store", url).stdout.startswith("other v9 ended user_request at 9\n")


def test_a_transcript_is_printed(run: Callable[..., Result], url: str) -> None:
    """Turns at the margin, the law between them; erased words as erased."""
    with opened(url, new_id=counting("more-")) as chats:
        chats.chat("d").erase(2)
    lines = run("show", "d", "--store", url).stdout.splitlines()
    assert lines[0] == "       2026-01-31 12:00 UTC"
    assert lines[2].startswith("    2  user: [erased at ")
    assert lines[3:6] == [
        "    3    · turn 2 judged harmful (abuse, severity 2), risk none, by assessor assessor",
        "    4  assistant: What can I help you with instead?",
        "    5    · turn 4 redirects the harm in turn 2",
    ]
    assert lines[11] == "   11  user: Shall we start again?"


def test_words_cannot_take_over_a_terminal(run: Callable[..., Result], tmp_path: Path) -> None:
    """Escape sequences are shown as what they are not, and markup is no markup."""
    url = f"sqlite:///{tmp_path}/words.db"
    with opened(url) as chats:
        started(chats).user_turn("\x1b[31mred\x1b[0m \x07 \u202ebackwards [bold]loud[/bold] [/nothing] caf\u00e9")
    out = run("show", "c", "--store", url).stdout
    for character in "\x1b\x07\u202e":
        assert character not in out
    assert "[bold]loud[/bold] [/nothing] caf\u00e9" in out


def asked_and_confirmed(url: str) -> None:
    """Have the user of a conversation `free` ask for an ending, and confirm it."""
    with opened(url, new_id=counting("more-")) as chats:
        chat = started(chats, "free")
        chat.user_turn("Please end it.")
        chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE)
        chat.request_end()
        chat.assistant_turn("Shall I?")
        chat.user_turn("Yes.")
        chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE)
        chat.confirm_end()


def test_why_names_every_rule_and_what_it_lacks(run: Callable[..., Result], url: str) -> None:
    """Or says that nothing stands in the way."""
    out = run("why", "e", "--store", url, status=1).stdout
    assert "failed redirections: 0 of 3 in this episode" in out
    assert "no warning of abuse stands" in out
    asked_and_confirmed(url)
    assert "Ending on ground user_request: nothing stands in the way" in run("why", "free", "--store", url).stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_why_answers_by_its_exit_status_too(run: Callable[..., Result], url: str, options: list[str]) -> None:
    """0 if nothing stands in the way on the ground asked, or else on one; 1 if rules do, after the ending as well."""
    asked_and_confirmed(url)
    store = ["--store", url, *options]
    run("why", "free", *store)
    run("why", "free", "--ground", "user_request", *store)
    out = run("why", "free", "--ground", "last_resort", *store, status=1).stdout
    assert "user_request" not in out
    assert "redirected-first" in out
    for branch in ("c", "d", "e", "other"):
        run("why", branch, *store, status=1)
    run("why", "free", "--ground", "boredom", *store, status=2)


def test_an_audit_is_printed(run: Callable[..., Result], url: str) -> None:
    """Each finding with its branch, version, rules and detail."""
    assert run("audit", url).stdout == "37 events on 4 branches: no finding\n"
    lines = [json.loads(line) for line in run("export", url).stdout.splitlines()]
    lines[8] |= {"kind": "Future"}
    out = run("audit", write(Path("log.jsonl"), *lines), status=1).stdout
    assert "structure-unreadable" in out
    assert "kind: not a known kind of event" in out
    assert "Future" not in out, "in a file it may be somebody's words"
    assert "37 events on 4 branches: 3 findings" in out


def test_an_audit_compares_live_states_with_the_log(
    run: Callable[..., Result], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the service works with is what the log adds up to, or it is a finding."""
    from lastresort import Conversations

    true = Conversations.state
    monkeypatch.setattr(
        Conversations,
        "state",
        lambda self, branch: true(self, branch)._replace(account="another") if branch == "d" else true(self, branch),
    )
    found = as_json(run("audit", url, "--json", status=1))["findings"]
    assert found == [{"branch": "d", "version": 11, "rules": ["structure-state"], "detail": "live state differs"}]


def test_a_simulation_is_summed_up(run: Callable[..., Result]) -> None:
    """By kind, and by rule where attempts were refused."""
    options = ["--store", "sqlite:///new.db", "--model", "another", "--policy", "2025-08"]
    out = run("simulate", wishes(Path("in.jsonl")), *options).stdout
    assert " ".join(out.split()).count("risk-was-checked │ 1") == 1
    assert " ".join(out.split()).count("conversations │ 1") == 1


def test_the_law_is_printed(run: Callable[..., Result]) -> None:
    """All of it, or one rule; and the policies side by side."""
    out = run("rules").stdout
    assert all(rule in out for rule in RULES)
    out = " ".join(run("rules", "no-end-at-risk").stdout.split())
    assert out.startswith("no-end-at-risk While any risk is open: ")
    assert "asked of: WarningGiven, WarningWithheld, HopeExhausted, EndProposed, ConversationEnded" in out
    assert "since: edition 1 asked of" in out
    said = {rule: " ".join(run("rules", rule).stdout.split()) for rule in ("redirected-first", "true-warnings")}
    assert "since: edition 2, in another form since edition 1 asked of" in said["redirected-first"]
    assert "since: edition 2 asked of" in said["true-warnings"]
    assert [rule["since"] for rule in as_json(run("rules", "redirected-first", "--json"))] == [2]
    out = run("policies").stdout
    assert all(name in out for name in PROFILES)
    assert "min_failed_redirections" in out
