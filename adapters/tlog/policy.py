"""Which logs are believed, and whose cosignatures it takes: files as c2sp.org/tlog-policy says."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Self

from .checkpoints import Checkpoint
from .notes import COSIGNED_ED25519, ED25519, ML_DSA_44, BadNote, Note, VerifierKey, verified


class PolicyError(ValueError):
    """A policy's file is malformed: the message says in which line, and what is wrong."""


class WitnessKey(NamedTuple):
    """A witness: what the policy calls it, its key, and where it takes checkpoints."""

    name: str
    key: VerifierKey
    url: str | None


class Group(NamedTuple):
    """So many of these have to have cosigned."""

    least: int
    members: tuple[str, ...]


class Witnessed(NamedTuple):
    """What a note with a checkpoint shows under a policy: who signed, and when, in seconds since 1970."""

    checkpoint: Checkpoint
    logs: tuple[VerifierKey, ...]
    witnesses: dict[str, int]
    enough: bool


class TrustPolicy(NamedTuple):
    """What makes a checkpoint valid: one of the logs has signed it, and so have witnesses to the quorum."""

    logs: tuple[VerifierKey, ...] = ()
    witnesses: tuple[WitnessKey, ...] = ()
    groups: Mapping[str, Group] = {}
    quorum: str = "none"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a policy.

        Raises:
            PolicyError: it is malformed.
        """
        reading = _Reading()
        for number, line in enumerate(text.split("\n"), start=1):
            words = line.replace("\t", " ").split(" ")
            items = [word for word in words if word]
            if items and not items[0].startswith("#"):
                try:
                    reading.read(items)
                except (BadNote, ValueError) as error:
                    raise PolicyError(f"line {number} of the policy: {error}") from None
        if reading.quorum is None:
            raise PolicyError("the policy has no quorum: `quorum none` says that no witness is needed")
        return cls(tuple(reading.logs), tuple(reading.witnesses), reading.groups, reading.quorum)

    def look_at(self, note: Note) -> Witnessed:
        """Say who signed a checkpoint.

        Raises:
            BadNote: it is no checkpoint, or a signature of a key of the policy does not verify.
        """
        checkpoint = Checkpoint.parse(note.text)
        logs = [key for key in self.logs if key.name == checkpoint.origin]
        signed = verified(note, [*logs, *(one.key for one in self.witnesses)])
        times = {one.name: signed[one.key] for one in self.witnesses if signed.get(one.key)}
        by = tuple(key for key in logs if key in signed)
        return Witnessed(checkpoint, by, times, bool(by) and self.is_met(times))

    def is_met(self, cosigned: Mapping[str, int]) -> bool:
        """Whether those who cosigned are a quorum."""

        def holds(name: str) -> bool:
            group = self.groups.get(name)
            if group is None:
                return name in cosigned
            return sum(map(holds, group.members)) >= group.least

        return self.quorum == "none" or holds(self.quorum)


class _Reading:
    """A policy, as far as it is read."""

    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: list[WitnessKey] = []
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()

    def read(self, items: Sequence[str]) -> None:
        readers: dict[str, Callable[[Sequence[str]], None]] = {
            "log": self._log, "witness": self._witness, "group": self._group, "quorum": self._quorum,
        }  # fmt: skip
        if items[0] not in readers:
            raise ValueError("log, witness, group or quorum is needed")
        readers[items[0]](items[1:])

    def _log(self, items: Sequence[str]) -> None:
        if not 1 <= len(items) <= 2:
            raise ValueError("`log VKEY [URL]` is needed")
        key = VerifierKey.parse(items[0])
        if key.kind not in (ED25519, ML_DSA_44):
            raise ValueError("this is not the key of a log: its type is of cosignatures")
        self._check_new(key, self.logs)
        self.logs.append(key)

    def _witness(self, items: Sequence[str]) -> None:
        if not 2 <= len(items) <= 3:
            raise ValueError("`witness NAME VKEY [URL]` is needed")
        key = VerifierKey.parse(items[1])
        if key.kind not in (COSIGNED_ED25519, ML_DSA_44):
            raise ValueError("this is not the key of a witness: its type tells no time")
        self._check_free(items[0])
        self._check_new(key, [one.key for one in self.witnesses])
        self.witnesses.append(WitnessKey(items[0], key, items[2] if len(items) == 3 else None))

    def _group(self, items: Sequence[str]) -> None:
        if len(items) < 3:
            raise ValueError("`group NAME all|any|K NAME...` is needed")
        name, least, *members = items
        self._check_free(name)
        for member in members:
            if not self._is_known(member):
                raise ValueError("a member is not defined on a line before")
            if member in self._members:
                raise ValueError("a member is one already")
            self._members.add(member)
        if not least.isdecimal() and least not in ("all", "any"):
            raise ValueError("`all`, `any` or a number is needed")
        number = {"all": len(members), "any": 1}.get(least) or int(least)
        if not 1 <= number <= len(members):
            raise ValueError(f"{number} of {len(members)} cannot be had")
        self.groups[name] = Group(number, tuple(members))

    def _quorum(self, items: Sequence[str]) -> None:
        if len(items) != 1 or self.quorum is not None:
            raise ValueError("one `quorum NAME` is needed")
        if items[0] != "none" and not self._is_known(items[0]):
            raise ValueError("the name is not defined on a line before")
        self.quorum = items[0]

    def _is_known(self, name: str) -> bool:
        return name in self.groups or any(one.name == name for one in self.witnesses)

    def _check_free(self, name: str) -> None:
        if name == "none" or self._is_known(name):
            raise ValueError("the name is taken")

    def _check_new(self, key: VerifierKey, others: Sequence[VerifierKey]) -> None:
        if any(one.public == key.public for one in others):
            raise ValueError("this key is in the policy already")
