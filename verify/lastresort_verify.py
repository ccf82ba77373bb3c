"""Says in plain words what a proof from a transparency log proves, and what it does not.

    lastresort-verify FILE.tlog-proof --policy POLICY
    lastresort-verify FOLDER_OF_TILES --policy POLICY

It needs the standard library and `cryptography`, shares no line with the program that made the log, and asks nobody:
the policy says whom it believes. Exit status: 0 proven; 1 not proven; 2 what was handed in cannot be read. Formats:
c2sp.org/tlog-proof, -checkpoint, -cosignature, -tiles, -policy, signed-note. RFC 6962, 2.1; RFC 9162, 2.1.3.2.
"""

import argparse
import base64
import hashlib
import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class BadInput(Exception):
    """What was handed in cannot be read."""


class NotProven(Exception):
    """What was handed in can be read, and does not prove it."""


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_from_inclusion(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """Return the root that an inclusion proof leads to; None if it has not as many hashes as it takes."""
    if index < 0 or index >= size:
        return None
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            return None
        if fn % 2 == 1 or fn == sn:
            r = node_hash(p, r)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn // 2, sn // 2
        else:
            r = node_hash(r, p)
        fn, sn = fn // 2, sn // 2
    return r if sn == 0 else None


class Stack:
    """A tree that entries are appended to, which knows its root."""

    def __init__(self) -> None:
        self.count = 0
        self._hashes: list[bytes] = []

    def push(self, leaf: bytes) -> None:
        n, h = self.count, leaf
        while n % 2 == 1:
            h = node_hash(self._hashes.pop(), h)
            n //= 2
        self._hashes.append(h)
        self.count += 1

    def root(self) -> bytes:
        if not self._hashes:
            return hashlib.sha256().digest()
        h = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            h = node_hash(left, h)
        return h


def unbase64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise BadInput(f"{what}: no base64") from None


def whole(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or str(int(text)) != text:
        raise BadInput(f"{what}: a whole number is needed")
    return int(text)


@dataclass(frozen=True)
class Key:
    """A public key of a log or a witness, as `NAME+ID+BASE64`."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def read(cls, text: str) -> "Key":
        parts = text.split("+", 2)
        if len(parts) != 3 or not parts[0]:
            raise BadInput("key: NAME+ID+BASE64 is needed")
        data = unbase64(parts[2], f"key of {parts[0]}")
        if not data or len(data) != {1: 33, 4: 33, 6: 1313}.get(data[0]):
            raise BadInput(f"key of {parts[0]}: its type has to be 1 or 4 (Ed25519) or 6 (ML-DSA-44)")
        key = cls(parts[0], data[0], data[1:])
        if key.id.hex() != parts[1]:
            raise BadInput(f"key of {parts[0]}: its id is not that of its bytes; was it copied whole?")
        return key

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def check(self, text: str, signature: bytes) -> int:
        """Return the time that a signature of this key over this text tells, 0 if none."""
        time = int.from_bytes(signature[:8], "big") if self.kind != 1 else 0
        data = signature if self.kind == 1 else signature[8:]
        try:
            if self.kind == 6:
                self._check_ml_dsa(text, time, data)
            else:
                message = text if self.kind == 1 else f"cosignature/v1\ntime {time}\n{text}"
                Ed25519PublicKey.from_public_bytes(self.public).verify(data, message.encode())
        except (InvalidSignature, ValueError):
            raise NotProven(f"the signature of {self.name} does not verify: the checkpoint was changed") from None
        return time

    def _check_ml_dsa(self, text: str, time: int, data: bytes) -> None:
        try:
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
        except ImportError:
            raise BadInput("the policy names an ML-DSA-44 key: install cryptography 50 or later") from None
        origin, size, root = text.split("\n")[:3]
        name = self.name.encode()
        message = b"subtree/v1\n\x00" + bytes([len(name)]) + name + time.to_bytes(8, "big")
        message += bytes([len(origin.encode())]) + origin.encode() + bytes(8) + int(size).to_bytes(8, "big")
        MLDSA44PublicKey.from_public_bytes(self.public).verify(data, message + unbase64(root, "root"))


@dataclass
class Checkpoint:
    """The head of a log's tree, and the lines of its signatures: name, id, the rest."""

    origin: str
    size: int
    root: bytes
    text: str
    signatures: list[tuple[str, bytes, bytes]]

    @classmethod
    def read(cls, note: str) -> "Checkpoint":
        text, gap, lines = note.rpartition("\n\n")
        parts = text.split("\n")
        if not gap or len(parts) != 3 or not lines.endswith("\n"):
            raise BadInput("checkpoint: an origin, a size and a root, an empty line, and signatures are needed")
        signatures = []
        for line in lines.rstrip("\n").split("\n"):
            words = line.split(" ")
            if len(words) != 3 or words[0] != "—":
                raise BadInput("checkpoint: a signature line is `— NAME BASE64`")
            data = unbase64(words[2], f"signature of {words[1]}")
            signatures.append((words[1], data[:4], data[4:]))
        root = unbase64(parts[2], "root of the checkpoint")
        if len(root) != 32:
            raise BadInput("root of the checkpoint: 32 bytes are needed")
        return cls(parts[0], whole(parts[1], "size of the checkpoint"), root, text + "\n", signatures)


@dataclass
class Policy:
    """Which logs and witnesses are believed, and how many of these it takes."""

    logs: list[Key] = field(default_factory=list)
    witnesses: dict[str, Key] = field(default_factory=dict)
    groups: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    quorum: str | None = None

    @classmethod
    def read(cls, text: str) -> "Policy":
        policy = cls()
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if words and not words[0].startswith("#"):
                try:
                    policy._line(words)
                except BadInput as error:
                    raise BadInput(f"line {number} of the policy: {error}") from None
        if policy.quorum is None:
            raise BadInput("the policy has no quorum; `quorum none` says that no witness is needed")
        return policy

    def _line(self, words: list[str]) -> None:
        kind, count = words[0], len(words)
        if kind == "log" and count in (2, 3):
            self.logs.append(Key.read(words[1]))
        elif kind == "witness" and count in (3, 4):
            key = Key.read(words[2])
            if any(one.public == key.public for one in self.witnesses.values()):
                raise BadInput("this key is another witness's already, and would count twice")
            self.witnesses[self._free(words[1])] = key
        elif kind == "group" and count > 3:
            members = [self._known(name) for name in words[3:]]
            least = {"all": len(members), "any": 1}.get(words[2]) or whole(words[2], "group")
            if not 1 <= least <= len(members) or len(self.groups) >= 64:
                raise BadInput(f"group: {least} of {len(members)} cannot be had, or there are more than 64 groups")
            if self.members & {*members} or len({*members}) < len(members):
                raise BadInput("group: somebody in it is a member already, and would count twice")
            self.members |= {*members}
            self.groups[self._free(words[1])] = least, members
        elif kind == "quorum" and count == 2 and self.quorum is None:
            self.quorum = words[1] if words[1] == "none" else self._known(words[1])
        else:
            raise BadInput("`log KEY`, `witness NAME KEY`, `group NAME all|any|K NAME...` or one `quorum NAME`")

    def _known(self, name: str) -> str:
        if name not in self.witnesses and name not in self.groups:
            raise BadInput(f"{name} is not defined on a line before")
        return name

    def _free(self, name: str) -> str:
        if name == "none" or name in self.witnesses or name in self.groups:
            raise BadInput(f"the name {name} is taken")
        return name

    def believe(self, checkpoint: Checkpoint) -> dict[str, int]:
        """Return who of the witnesses cosigned a checkpoint that its log has signed, and when."""
        if not (keys := [key for key in self.logs if key.name == checkpoint.origin]):
            raise NotProven(f"the policy knows no log {checkpoint.origin}")
        if not [key for key in keys if self._time(checkpoint, key) is not None]:
            raise NotProven(f"no key that the policy has for {checkpoint.origin} has signed this checkpoint")
        times = {name: self._time(checkpoint, key) for name, key in self.witnesses.items()}
        cosigned = {name: time for name, time in times.items() if time}
        if self.quorum != "none" and not self._met(self.quorum or "", cosigned):
            by = ", ".join(cosigned) or "nobody"
            raise NotProven(f"the checkpoint is cosigned by {by}, and the policy asks for more: its quorum is not met")
        return cosigned

    def _time(self, checkpoint: Checkpoint, key: Key) -> int | None:
        found = [one[2] for one in checkpoint.signatures if (one[0], one[1]) == (key.name, key.id)]
        return max((key.check(checkpoint.text, one) for one in found), default=None)

    def _met(self, name: str, cosigned: dict[str, int]) -> bool:
        if name not in self.groups:
            return name in cosigned
        least, members = self.groups[name]
        return sum(self._met(one, cosigned) for one in members) >= least


NEVER = [
    "what was said: the log has digests of sealed words, and no words",
    "that verdicts were right: it has what an assessor found, and not why",
    "when exactly it was recorded: that time is the operator's; a witness only knows that it was there by its own time",
    "that the rules were kept: `lastresort audit` on the whole log says that",
]
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
ALONE = "that others are shown the same log: no witness cosigned this, so the operator may show you one of your own"
EVIDENCE = {
    "redirections": ("RedirectionAttempted",), "warning": ("WarningGiven", "WarningWithheld"),
    "tested_by": ("UserTurnTaken",), "hope": ("HopeExhausted",),
    "request": ("EndRequested",), "confirmation": ("EndConfirmed",),
}  # fmt: skip


@dataclass
class Result:
    proven: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    failed: str | None = None


def at(time: int) -> str:
    try:
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{time} s after 1970"


def signed_by(checkpoint: Checkpoint, cosigned: dict[str, int]) -> str:
    who = ", ".join(f"{name} at {at(time)}" for name, time in sorted(cosigned.items()))
    return f"the log of {checkpoint.origin} had {checkpoint.size:,} entries when this checkpoint was signed, " + (
        f"and it was witnessed by {who}" if who else "by the log alone"
    )


def verify_proof(text: str, policy: Policy) -> Result:
    """Say what a proof file proves."""
    lines, _, note = text.partition("\n\n")
    head = lines.split("\n")
    if len(head) < 3 or head[0] != "c2sp.org/tlog-proof@v1" or head[1][:6] != "extra " or head[2][:6] != "index ":
        raise BadInput("this is not a whole proof: c2sp.org/tlog-proof@v1, `extra BASE64`, `index N` are its head")
    checkpoint = Checkpoint.read(note)
    try:
        extra = json.loads(unbase64(head[1][6:], "extra"))
        own = {"index": whole(head[2][6:], "index"), "entry": extra["entry"], "proof": head[3:]}
        entries = [
            (whole(str(one["index"]), "index"), one["entry"], [unbase64(part, "proof") for part in one["proof"]])
            for one in [own, *extra["rests_on"]]
        ]
        leaves = [leaf_hash(entry.encode()) for _, entry, _ in entries]
        told = [json.loads(entry) for _, entry, _ in entries]
    except UNREADABLE:
        raise BadInput("the extra line of the proof cannot be read") from None
    result = Result(unproven=list(NEVER))
    try:
        cosigned = policy.believe(checkpoint)
        for leaf, (index, _, path) in zip(leaves, entries, strict=True):
            if root_from_inclusion(leaf, index, checkpoint.size, path) != checkpoint.root:
                raise NotProven(f"entry {index} is not in that log as this file has it: it, or its proof, was changed")
        result.proven += [signed_by(checkpoint, cosigned), f"entry {entries[0][0]} of it says: {said(told[0])}"]
        if told[0].get("kind") == "ConversationEnded":
            result.proven += evidence(told[0], [(entries[n][0], told[n]) for n in range(1, len(told))])
    except NotProven as why:
        return Result(failed=str(why))
    except UNREADABLE:
        return Result(failed="the entries are in that log, and are no events of a form that this program reads")
    if not cosigned:
        result.unproven.insert(0, ALONE)
    return result


def word(value: Any) -> str:
    """Return what the log's operator chose as one word; quoted, if it is none and might be read as more."""
    text = str(value)
    return text if 0 < len(text) <= 128 and text.isascii() and text.isprintable() and " " not in text else ascii(text)


def said(entry: dict[str, Any]) -> str:
    if "continues" in entry:
        before = entry["continues"]
        return f"this log goes on after {word(before['size'])} entries of {word(before['origin'])}"
    event, by = entry["event"], entry["event"]["by"]
    who = f"by the {word(by['kind'])} {word(by['id'])}"
    what = f"{word(entry['kind'])} {who}"
    if entry["kind"] == "ConversationEnded":
        what = f"the conversation ended, {who}, on the ground {word(event['ground'])}"
        what += f", for {word(event['category'])}" if event.get("category") else ""
    where = f"branch {word(entry['branch'])}, version {word(entry['version'])}"
    return f"{what} ({where}, as recorded at {word(entry['recorded_at'])})"


def evidence(ending: dict[str, Any], others: list[tuple[int, dict[str, Any]]]) -> list[str]:
    """Say that the events that an ending rests on are in the log, each at the version that the ending names."""
    opened = {one["branch"]: one["event"] for _, one in others if one["kind"] == "BranchOpened"}
    found = {(one["branch"], one["version"]): (index, one) for index, one in others}
    told = []
    for name, kinds in EVIDENCE.items():
        named = ending["event"]["evidence"].get(name)
        for version in named if isinstance(named, list) else [] if named is None else [named]:
            branch = ending["branch"]
            above = dict(opened)  # each is taken once: an operator may have made them a circle
            while branch in above and above[branch]["at"] >= version:
                branch = above.pop(branch)["parent"]
            index, entry = found.get((branch, version), (None, None))
            if entry is None or entry["kind"] not in kinds:
                rests = f"the ending rests on version {word(version)} ({name})"
                raise NotProven(f"{rests}, and no proof of that is in the file")
            told.append(f"entry {index}, on which it rests: {said(entry)}")
    return told


def verify_tiles(folder: Path, policy: Policy) -> Result:
    """Say what a folder of tiles proves: every entry is hashed again."""
    try:
        checkpoint = Checkpoint.read(read(str(folder / "checkpoint")))
        cosigned = policy.believe(checkpoint)
        stack = Stack()
        while stack.count < checkpoint.size:
            entries = bundle(folder, stack.count // 256, min(256, checkpoint.size - stack.count))
            for entry in entries:
                stack.push(leaf_hash(entry))
        if stack.root() != checkpoint.root:
            raise NotProven("the entries do not add up to the root of the checkpoint: some were changed")
    except NotProven as why:
        return Result(failed=str(why))
    told = [signed_by(checkpoint, cosigned), f"these {checkpoint.size:,} entries are all of it, in their order"]
    return Result(told, ([] if cosigned else [ALONE]) + NEVER)


def bundle(folder: Path, number: int, width: int) -> list[bytes]:
    digits = str(number).zfill(-(-len(str(number)) // 3) * 3)
    parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = folder / "tile" / "entries" / "/".join([*("x" + part for part in parts[:-1]), parts[-1]])
    for candidate in [path] if width == 256 else [Path(f"{path}.p/{width}"), path]:
        if candidate.is_file():
            with candidate.open("rb") as file:
                data = file.read(256 * 65_537)
            entries, i = list[bytes](), 0
            while i + 2 <= len(data) and len(entries) < width:
                length = int.from_bytes(data[i : i + 2], "big")
                entries.append(data[i + 2 : i + 2 + length])
                i += 2 + length
            if len(entries) == width and i <= len(data):
                return entries
            raise NotProven(f"{candidate}: entries are missing from it")
    raise NotProven(f"{path}: it is not there")


def main(arguments: list[str] | None = None) -> int:
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser("lastresort-verify", description=about, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("what", help="a .tlog-proof file, or a folder of tiles")
    parser.add_argument("--policy", required=True, help="whose signatures are believed (c2sp.org/tlog-policy)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    try:
        given, more = parser.parse_known_args(arguments)
        if more:
            parser.error(f"no such option, or more arguments than it takes: {len(more)} too many")
        policy, what = Policy.read(read(given.policy)), Path(given.what)
        result = verify_tiles(what, policy) if what.is_dir() else verify_proof(read(given.what), policy)
    except argparse.ArgumentError as error:  # what was typed by mistake is not repeated: it may end up in a log
        parser.error(f"argument {error.argument_name}: this is not what it takes: see --help")
    except (BadInput, OSError) as error:
        print(f"lastresort-verify: {shown(error)}", file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps({"proven": result.proven, "unproven": result.unproven, "failed": result.failed}))
    elif result.failed is not None:
        print(f"NOT PROVEN: {shown(result.failed)}")
    else:
        print("\n".join(["PROVEN:", *(f"  {shown(one)}" for one in result.proven)]))
        print("\n".join(["NOT PROVEN by this:", *(f"  {one}" for one in result.unproven)]))
    return 0 if result.failed is None else 1


def shown(told: object) -> str:
    """Return a line without what a terminal obeys, or shows as something else: names in it may be a stranger's."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in str(told))


def read(path: str) -> str:
    """Read a file, if it is one: a pipe would be waited for, and a device has no end."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise BadInput(f"{path}: it is no file")
        with open(path, encoding="utf-8") as file:
            return file.read(2**23)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {getattr(error, 'strerror', None) or 'no text in UTF-8'}") from None


if __name__ == "__main__":
    sys.exit(main())
