"""What people hand in is checked before anything is done with it; what is wrong is named by file, line and field."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lastresort import PROFILES, Policy
from lastresort.adapters.importers.inputs import MAX_LINE_BYTES, BadInput, load_policy, read_lines
from lastresort.adapters.importers.log_lines import LogLine
from lastresort.adapters.importers.transcripts import Transcript, read_transcripts, steps

USER_SAYS = {"role": "user", "text": "Hello."}
ANSWER = {"role": "assistant", "text": "Good morning."}


def transcript(*turns: dict[str, Any], conversation: str = "c", **fields: Any) -> dict[str, Any]:
    return {"conversation": conversation, "account": None, "turns": list(turns), **fields}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


# --- Transcripts ------------------------------------------------------------------------------------------------------


def test_transcripts_are_read_from_several_files_in_order(tmp_path: Path) -> None:
    """Blank lines are passed over."""
    one = write(tmp_path / "one.jsonl", transcript(USER_SAYS), "", "  ", transcript(conversation="d"))
    other = write(tmp_path / "other.jsonl", transcript(ANSWER, conversation="e", account="a-17"))
    read = read_transcripts([one, other])
    assert [(t.conversation, t.account, len(t.turns)) for t in read] == [
        ("c", None, 1),
        ("d", None, 0),
        ("e", "a-17", 1),
    ]


HARM = {**USER_SAYS, "verdict": "harmful", "category": "abuse", "severity": 2, "risk": "none"}


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        ("{", "value", "Invalid JSON: EOF while parsing an object at column 1; a line holds a whole JSON object"),
        ("[]", "value", "Input should be an object"),
        ('{"conversation": "c"}', "account", "Field required; turns: Field required"),
        (transcript(text="Hello."), "value", "a field that is not known"),
        (transcript(conversation="two words"), "conversation", "String should match pattern"),
        (transcript(conversation="a~b"), "conversation", "String should match pattern"),
        (transcript(conversation="x" * 101), "conversation", "String should match pattern"),
        (transcript(conversation=""), "conversation", "String should match pattern"),
        (transcript(account="two words"), "account", "String should match pattern"),
        (
            transcript(account="ada@example.org"),
            "account",
            "this looks like an e-mail address, or one of a chat network",
        ),
        (transcript(conversation="+4915112345678"), "conversation", "this looks like a telephone number"),
        (transcript(turns={}), "turns", "Input should be a valid"),
        (transcript({"role": "system", "text": "Hello."}), "turns.0.role", "Input should be 'user' or 'assistant'"),
        (transcript(USER_SAYS, {"role": "user"}), "turns.1.text", "Field required"),
        (transcript({"role": "user", "text": 1}), "turns.0.text", "Input should be a valid string"),
        (transcript({**HARM, "verdict": "bad"}), "turns.0.verdict", "Input should be 'productive', 'unproductive'"),
        (transcript({**HARM, "category": "Very Bad"}), "turns.0.category", "String should match pattern"),
        (transcript({**HARM, "severity": 4}), "turns.0.severity", "Input should be less than or equal to 3"),
        (transcript({**HARM, "severity": "2"}), "turns.0.severity", "Input should be a valid integer"),
        (transcript({**HARM, "risk": "maybe"}), "turns.0.risk", "Input should be 'none', 'possible'"),
        (transcript({**HARM, "asks_to_end": "yes"}), "turns.0.asks_to_end", "Input should be a valid boolean"),
        (transcript({**HARM, "mood": "bad"}), "turns.0", "a field that is not known"),
        (transcript({**USER_SAYS, "text": ""}), "turns.0", "text: a turn of the user has words"),
        (transcript({**USER_SAYS, "text": " \n"}), "turns.0", "text: a turn of the user has words"),
        (
            transcript({**HARM, "verdict": "productive"}),
            "turns.0",
            "only a harmful verdict has a category and a severity",
        ),
        (transcript({**USER_SAYS, "severity": 1}), "turns.0", "only a harmful verdict has a category"),
        (
            transcript({**ANSWER, "risk": "none", "confirms_end": True}),
            "turns.0",
            "only a user turn has: risk, confirms_end",
        ),
        (transcript({**USER_SAYS, "edits": 0}), "turns.0.edits", "0 is not the index of an earlier"),
        (transcript(USER_SAYS, ANSWER, {**USER_SAYS, "edits": 1}), "turns.2.edits", "1 is not the"),
        (transcript(USER_SAYS, {**USER_SAYS, "edits": 5}), "turns.1.edits", "5 is not the index"),
        (
            transcript(USER_SAYS, {**USER_SAYS, "edits": -1}),
            "turns.1.edits",
            "Input should be greater than or equal to 0",
        ),
        (transcript(USER_SAYS, {**USER_SAYS, "edits": "0"}), "turns.1.edits", "Input should be a valid integer"),
    ],
)
def test_a_broken_line_is_named_by_file_line_and_field(tmp_path: Path, line: object, field: str, problem: str) -> None:
    """In the middle of a file whose other lines are good."""
    path = write(tmp_path / "in.jsonl", transcript(conversation="one"), "", line, transcript(conversation="two"))
    with pytest.raises(BadInput) as raised:
        read_transcripts([path])
    assert str(raised.value).startswith(f"{path}:3: {field}: {problem}")
    assert "\n" not in str(raised.value)


def test_what_is_wrong_with_several_fields_is_said_once(tmp_path: Path) -> None:
    """Unknown ones are not named, so they would all read alike."""
    with pytest.raises(BadInput) as raised:
        read_transcripts([write(tmp_path / "in.jsonl", transcript(one=1, two=2, three=3))])
    assert str(raised.value).endswith(":1: value: a field that is not known")


def test_a_message_repeats_nothing_of_what_was_said(tmp_path: Path) -> None:
    """A transcript holds people's words, and a message goes to logs and screens."""
    path = write(
        tmp_path / "in.jsonl", transcript({"role": "xylophone", "text": "xylophone", "xylophone": ["xylophone"]})
    )
    with pytest.raises(BadInput) as raised:
        read_transcripts([path])
    assert "xylophone" not in str(raised.value)


def test_a_place_in_json_is_a_column_of_the_line(tmp_path: Path) -> None:
    """As JSON is read line by line, pydantic's line is always the first: two numbers of lines say nothing."""
    path = write(tmp_path / "in.jsonl", transcript(), '  {"conversation": nonsense}')
    with pytest.raises(BadInput, match=rf"^{path}:2: value: Invalid JSON: expected ident at column 21$"):
        read_transcripts([path])


@pytest.mark.parametrize(
    "line",
    [
        '{"conversation": "c", "account": null, "turns": [], "conversation": "d"}',
        '{"conversation": "c", "account": null, "turns": [{"role": "user", "text": "a", "te\\u0078t": "b"}]}',
    ],
)
def test_a_field_that_comes_twice_is_refused(tmp_path: Path, line: str) -> None:
    """However it is written: two readers may read two transcripts."""
    path = write(tmp_path / "in.jsonl", transcript(conversation="one"), line)
    with pytest.raises(BadInput, match=rf"^{path}:2: value: an object has a field twice"):
        read_transcripts([path])


def test_a_mark_that_a_file_is_utf_8_is_passed_over(tmp_path: Path) -> None:
    """Some editors put one at the beginning, and it is allowed there only."""
    path = tmp_path / "in.jsonl"
    line = json.dumps(transcript()).encode()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n")
    assert len(read_transcripts([path])) == 1
    path.write_bytes(b"\n\xef\xbb\xbf" + line)
    with pytest.raises(BadInput, match=rf"^{path}:2: value: Invalid JSON"):
        read_transcripts([path])
    toml = tmp_path / "mine.toml"
    toml.write_bytes(b'\xef\xbb\xbfname = "mine"\n')
    assert load_policy(str(toml)).name == "mine"


def test_a_conversation_that_comes_twice_is_named_with_both_places(tmp_path: Path) -> None:
    """In the same file, and in another."""
    one = write(tmp_path / "one.jsonl", transcript(), transcript(conversation="d"))
    other = write(tmp_path / "other.jsonl", transcript(conversation="e"), "", transcript(conversation="d"))
    with pytest.raises(BadInput, match=rf"^{other}:3: conversation: this id is also at {one}:2; ids are unique$"):
        read_transcripts([one, other])


def test_a_file_that_is_handed_in_twice_is_named(tmp_path: Path) -> None:
    """Or the second round would stop in the middle, when its first conversation is there already."""
    path = write(tmp_path / "in.jsonl", transcript())
    with pytest.raises(BadInput, match="conversation: this id is also at"):
        read_transcripts([path, path])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8, or a line without end."""
    with pytest.raises(BadInput, match=r"nowhere\.jsonl: cannot be read: No such file or directory$"):
        read_transcripts([tmp_path / "nowhere.jsonl"])
    with pytest.raises(BadInput, match=rf"^{tmp_path}: cannot be read: Is a directory$"):
        read_transcripts([tmp_path])
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(
        json.dumps(transcript({"role": "user", "text": "gr\u00fcezi"}), ensure_ascii=False).encode("latin-1")
    )
    with pytest.raises(BadInput, match=rf"^{latin}:1: value: Invalid JSON: invalid unicode code point"):
        read_transcripts([latin])


def test_a_line_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    """Memory is bounded, whatever a file holds; a line just within the bound is read."""
    path = tmp_path / "in.jsonl"
    good = json.dumps(transcript({"role": "user", "text": "x"}))
    fill = MAX_LINE_BYTES - len(good) - 1
    path.write_text(good.replace('"x"', f'"x{"x" * fill}"') + "\n")
    assert path.stat().st_size == MAX_LINE_BYTES
    assert len(read_transcripts([path])) == 1
    path.write_text("\n" + good.replace('"x"', f'"xx{"x" * fill}"') + "\n")
    with pytest.raises(BadInput, match=rf"^{path}:2: the line is longer than 16,777,216 bytes; split it$"):
        read_transcripts([path])


# --- Who answers what -------------------------------------------------------------------------------------------------


def rhythm(*turns: dict[str, Any]) -> list[tuple[int, str | None]]:
    return [(step.number, step.reply) for step in steps(Transcript.model_validate(transcript(*turns)))]


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "text": text}


def test_each_user_turn_comes_with_its_recorded_answer() -> None:
    """Assistant turns in a row are one answer; one that answers nobody is left out."""
    assert rhythm(USER_SAYS) == [(0, None)]
    assert rhythm(said("Hello?"), USER_SAYS, said("One."), said("Two."), USER_SAYS, USER_SAYS, said("Three.")) == [
        (1, "One.\nTwo."),
        (4, None),
        (5, "Three."),
    ]


def test_a_transcript_in_which_no_user_speaks_has_no_steps() -> None:
    """With turns of the assistant, or with none."""
    assert rhythm() == rhythm(said("Hello?")) == []


# --- Policies ---------------------------------------------------------------------------------------------------------


def test_a_profile_is_found_by_its_name() -> None:
    """Each that is shipped."""
    assert {name: load_policy(name) for name in PROFILES} == PROFILES


def test_a_policy_is_read_from_toml(tmp_path: Path) -> None:
    """What is left out is as in the default profile."""
    path = write(tmp_path / "mine.toml", 'name = "mine"', "min_severity = 3")
    assert load_policy(str(path)) == Policy(name="mine", min_severity=3)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ['name = "mine"', "", "min_failed_redirections = 1"],
            "line 3: min_failed_redirections: Input should be greater",
        ),
        (["name = 'mine'", "productive_to_close = 0"], "line 2: productive_to_close: Input should be greater than"),
        (["name = 'mine'", "min_severity = 9"], "line 2: min_severity: Input should be less than or equal to 3"),
        (["name = 'mine'", "handshake = 'yes'"], "line 2: handshake: Input should be a valid boolean"),
        (["name = 'mine'", "hold_on = ['possible']"], "line 2: hold_on: an imminent risk always raises a"),
        (["name = 'mine'", "trusted_for_risk = ['user']"], "line 2: trusted_for_risk: the word of a user"),
        (["name = 'mine'", "trusted_for_risk = ['model']"], "line 2: trusted_for_risk: the word of a model"),
        (["name = 'mine'", "patience = 3"], "line 2: no key of a policy (length 8)"),
        (["name = 'mine'", "[patience]", "days = 3"], "line 2: no key of a policy (length 8)"),
        (["min_severity = 2"], "name: it is missing"),
        (["name = "], "not TOML: Invalid value (at line 1, column 8)"),
    ],
)
def test_a_policy_that_cannot_be_is_named_by_file_line_and_key(tmp_path: Path, lines: list[str], message: str) -> None:
    """A policy below a floor cannot be handed in."""
    path = write(tmp_path / "mine.toml", *lines)
    with pytest.raises(BadInput) as raised:
        load_policy(str(path))
    assert str(raised.value).startswith(f"{path}: {message}")


def test_every_wrong_key_of_a_policy_is_named(tmp_path: Path) -> None:
    """Each on a line of its own, so that they can be mended at once."""
    path = write(tmp_path / "mine.toml", 'name = "mine"', "min_severity = 0", "handshake = 1")
    with pytest.raises(BadInput) as raised:
        load_policy(str(path))
    assert [line.split(": Input")[0] for line in str(raised.value).splitlines()] == [
        f"{path}: line 2: min_severity",
        f"{path}: line 3: handshake",
    ]


def test_a_policy_that_is_not_there_says_what_there_is(tmp_path: Path) -> None:
    """And a file that is no text is named."""
    with pytest.raises(
        BadInput,
        match=r"^no policy \(length 6\): neither a profile \(default, 2025-08, 2026-07, code-2026-07\) nor a file$",
    ):
        load_policy("strict")
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match=r"mine\.toml: cannot be read: "):
        load_policy(str(tmp_path / "mine.toml"))


# --- Files of another kind, and slips of the pen ----------------------------------------------------------------------

TRANSCRIPT: dict[str, object] = {"conversation": "c", "account": None, "turns": []}
LOG_LINE = {
    "position": 1, "branch": "c", "version": 1, "kind": "UserLeft", "recorded_at": "2026-01-31T12:00:00+00:00",
    "command_id": "k", "event": {"by": {"kind": "user", "id": "u"}},
}  # fmt: skip


@pytest.mark.parametrize("words", [b"", b"\n\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_says_so(tmp_path: Path, words: bytes) -> None:
    """It is no log without a finding, and no policy."""
    (tmp_path / "empty").write_bytes(words)
    with pytest.raises(BadInput, match="empty: is empty: there is not one line of JSON in it"):
        list(read_lines(tmp_path / "empty", LogLine))
    with pytest.raises(BadInput, match="empty: is empty: there is no policy in it"):
        load_policy(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("wanted", "line", "told"),
    [
        (LogLine, TRANSCRIPT, "in.jsonl:1: this is a transcript: use `lastresort simulate`"),
        (LogLine, {**TRANSCRIPT, "more": 1}, "in.jsonl:1: this is a transcript: use `lastresort simulate`"),
        (Transcript, LOG_LINE, "in.jsonl:1: this is an exported log: use `lastresort import`, or `lastresort audit`"),
    ],
)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, wanted: type[BaseModel], line: dict[str, object], told: str
) -> None:
    """With the command that takes it."""
    path = write(tmp_path / "in.jsonl", json.dumps(line))
    with pytest.raises(BadInput) as raised:
        list(read_lines(path, wanted))
    assert str(raised.value) == f"{tmp_path}/{told}"


def test_a_field_is_suggested_for_a_slip_of_the_pen(tmp_path: Path) -> None:
    """The one that is known; what was written instead may be somebody's words, and is not repeated."""
    turn = {"role": "user", "text": "Hello.", "verdit": "harmful"}
    path = write(tmp_path / "in.jsonl", json.dumps({**TRANSCRIPT, "turns": [turn]}))
    with pytest.raises(BadInput) as raised:
        read_transcripts([path])
    assert str(raised.value).endswith("a field that is not known; did you mean verdict?")
    assert "verdit" not in str(raised.value)
    path = write(tmp_path / "in.jsonl", json.dumps({**TRANSCRIPT, "anything else": 1}))
    with pytest.raises(BadInput) as raised:
        read_transcripts([path])
    assert "did you mean" not in str(raised.value)


def test_a_key_and_a_profile_are_suggested_for_a_slip_of_the_pen(tmp_path: Path) -> None:
    """On the line of the slip."""
    path = write(tmp_path / "mine.toml", 'name = "mine"', "min_sevrity = 2", "nonsense = 1")
    with pytest.raises(BadInput) as raised:
        load_policy(str(path))
    first, second = str(raised.value).splitlines()
    assert first.endswith("line 2: no key of a policy (length 11); did you mean min_severity?")
    assert second.endswith("line 3: no key of a policy (length 8)")
    with pytest.raises(BadInput, match=r"^no policy \(length 7\): .*; did you mean default\?$"):
        load_policy("defualt")
