"""What an entry of the transparency log is made of: a row of the log as it is stored.

It is a JSON object, its keys in order and no spaces between them: `branch`, `command_id`, `correlation_id` if it is not
the command's id, `event` (its state as stored, with the digest of its words put back), `kind`, `nth` among the events
of its command, `recorded_at`, `schema_version`, and `version`. Its position is not in it, since its place in the tree
says that. No upcast touches it, and no erasure, since the digest is of the sealed words.

The first entry of a log that goes on after a loss names what it follows: see `continuation`.
"""

import base64
import json
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

from lastresort.adapters.databases.times import unpacked
from lastresort.adapters.tlog.checkpoints import Checkpoint

_WORDLESS = b'"content":"sha256:"'


def leaf(row: Sequence[Any]) -> bytes:
    """Return the entry that a row makes: its position, and the fields of `stores.rows.Row`.

    Somebody may have put anything there, and there is an entry of it all the same.
    """
    _, branch, version, kind, state, digest, schema_version, recorded_at, command_id, nth, correlation_id = row
    if type(recorded_at) is int:
        recorded_at = unpacked(recorded_at)
    quoted = encode_basestring_ascii
    if (
        type(branch) is type(kind) is type(recorded_at) is type(command_id) is str
        and type(version) is type(schema_version) is type(nth) is int
    ):  # as nearly all are, and then it takes half as long
        head = f'{{"branch":{quoted(branch)},"command_id":{quoted(command_id)}'
        tail = (
            f',"kind":{quoted(kind)},"nth":{nth},"recorded_at":{quoted(recorded_at)},'
            f'"schema_version":{schema_version},"version":{version}}}'
        )
    else:
        head = f'{{"branch":{_json(branch)},"command_id":{_json(command_id)}'
        tail = (
            f',"kind":{_json(kind)},"nth":{_json(nth)},"recorded_at":{_json(recorded_at)},'
            f'"schema_version":{_json(schema_version)},"version":{_json(version)}}}'
        )
    if correlation_id is not None:
        head += f',"correlation_id":{_json(correlation_id)}'
    return head.encode() + b',"event":' + _filled(state, digest) + tail.encode()


def _json(value: object) -> str:
    return json.dumps(value, default=repr)


def _filled(state: object, digest: object) -> bytes:
    if type(state) is bytes:
        if digest is None:
            return state
        if type(digest) is bytes and (at := state.find(_WORDLESS)) >= 0:
            at += len(_WORDLESS) - 1
            return state[:at] + digest.hex().encode() + state[at:]
    return json.dumps({"state": repr(state), "digest": repr(digest)}).encode()


def continuation(last: Checkpoint) -> bytes:
    """Return the first entry of a log that goes on after another one, whose last published checkpoint it names."""
    told = {"origin": last.origin, "root": base64.b64encode(last.root).decode(), "size": last.size}
    return json.dumps({"continues": told}, separators=(",", ":")).encode()
