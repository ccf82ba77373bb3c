"""An import of chats: all files are read and checked, and only then is anything written, in one transaction.

Files are read twice, value by value, so memory is bounded by the longest chat, and some 200 bytes for each of them. A
chat that stands in several files comes in as if they were sent one after the other: what of it came in from the first
is held until the last.
What is wrong with a file is found when nothing is written yet. If the second reading finds something else, since the
file was changed meanwhile, the transaction is taken back.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from lastresort.adapters.chats.fields import NESTED, is_deep, within
from lastresort.adapters.chats.files import BadFile, Source, Value, sources, values_in
from lastresort.adapters.chats.formats import FORMATS, Format, format_of
from lastresort.adapters.chats.shapes import ForeignChat, Wrong
from lastresort.application.arguments import pseudonymous_id
from lastresort.application.conversations import Conversations
from lastresort.application.ports import Append, CommandRecorded, EventTooLarge, VersionConflict
from lastresort.domain.policy import Policy
from lastresort.domain.rules import ineligible
from lastresort.domain.state import Conversation
from lastresort.domain.values import Actor, ActorKind

from .chat_turns import Note, Part, is_rated, turns_of
from .chat_words import whole, words_of
from .chat_writing import UNKNOWN_MODEL, Brought, Writer
from .inputs import STANDARD_INPUT, BadInput, of_another_kind

_PLACES = 3
_BLOCKS_TO_WORDS = 32  # as `application.words` has it
_MOST_HELD = 128 * 2**20  # bytes of the words of chats that stand in several files
TOO_MUCH_AGAIN = (
    f"what several of the files have of the same conversations is longer than {_MOST_HELD:,} bytes, which are held in "
    "memory; import the files one after the other, the oldest first"
)
SAME_CHAT = "the same conversation again, left out"
NO_TURNS = "conversations without a turn of a user, left out"
RATED = "feedback on a message that no model gave, left out"
NO_CHAT = "is an empty array: there is no chat in it"
NO_FORM = f"not a chat in a known format; name it by --format: {', '.join(FORMATS)}"
OTHER_FILES = "other files of a zip file, left out"

Told = Callable[[int, int], None]


@dataclass
class FileReport:
    """What came in of a file.

    Attributes:
        file, format: which it is.
        brought: what was written, and what was there before.
        became: how many messages are no turn of their own, by what became of them.
        asides: how many things in the file are no message, by why.
        places: by the same names, where the first of them are.
    """

    file: str
    format: str
    brought: Brought = field(default_factory=Brought)
    became: Counter[str] = field(default_factory=Counter)
    asides: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def note(self, place: str, note: Note) -> None:
        """Count a message that is no turn of its own."""
        self.became[note.became.value] += 1
        self._place(note.became.value, place)

    def leave(self, place: str, why: str, number: int = 1, places: Sequence[str] = ()) -> None:
        """Count what is no message: at `place`, unless there are `places`."""
        self.asides[why] += number
        for one in (places or (place,))[:_PLACES]:
            self._place(why, one)

    def _place(self, why: str, place: str) -> None:
        if len(places := self.places.setdefault(why, [])) < _PLACES:
            places.append(place)

    def as_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "file": self.file,
            "format": self.format,
            **vars(self.brought),
            "models": dict(self.brought.models),
            "became": dict(self.became),
            "left_out": dict(self.asides),
            "places": self.places,
        }


class _Work(NamedTuple):
    """Files that are read together, as one, and of which form they are."""

    files: tuple[Source, ...]
    format: Format
    others: int

    @property
    def name(self) -> str:
        return ", ".join(one.name for one in self.files)


def import_chats(
    paths: Sequence[Path],
    conversations: Conversations,
    *,
    format: str | None = None,
    policy: Policy | None = None,
    account: str | None = None,
    progress: Told = lambda read, of: None,
) -> list[FileReport]:
    """Bring in the chats of files: all of them, or none.

    Args:
        paths: of the files.
        conversations: where they come in.
        format: of which form all files are; if None, each is told by its first value.
        policy: the terms that new conversations start on.
        account: whose they are; if None, each is of the user that its file names, by a pseudonym.
        progress: is told how many bytes were read, and of how many.

    Raises:
        BadInput: a file is not what it should be; or the store changed meanwhile. Nothing was written.
        Locked, StoreError: as every act.
        ValueError: `account` is no id, or looks like an address.
    """
    checked = check_chats(
        paths, format=format, policy=policy, progress=progress, max_words=conversations.service.ports.max_words
    )
    return checked.bring_into(conversations, account)


def check_chats(
    paths: Sequence[Path],
    *,
    format: str | None = None,
    policy: Policy | None = None,
    progress: Told = lambda read, of: None,
    max_words: int = 2**20,
) -> "CheckedChats":
    """Read files and check all that is in them, before a store is so much as opened. Arguments are as for
    `import_chats`; `max_words` is as for `open_conversations`.

    Raises:
        BadInput: a file is not what it should be.
    """
    policy = policy or Policy.default()
    _check_unknown(policy)
    if STANDARD_INPUT in paths:
        raise BadInput("standard input: is read once, and chats are read twice; write them to a file")
    with _told_as_bad_input():
        work = _work(paths, format)
        total = 2 * sum(one.size for each in work for one in each.files)
        checking = _Progress(progress, 0, total)
        seen = _Seen()
        for each in work:
            for _ in _chats(each, FileReport("", ""), seen, max_words, checking):
                pass
            checking.done(each)
    return CheckedChats(work, policy, max_words, progress, total, frozenset(seen.again))


class CheckedChats(NamedTuple):
    """Files of chats in which nothing was found that is wrong."""

    work: list["_Work"]
    policy: Policy
    max_words: int
    progress: Told
    total: int  # bytes that are read, both times
    again: frozenset[bytes]  # the names of chats that stand in several files

    def bring_into(self, conversations: Conversations, account: str | None = None) -> list[FileReport]:
        """Write them: see `import_chats`."""
        pseudonymous_id("account", account)
        writing = _Progress(self.progress, self.total // 2, self.total)
        reports = [FileReport(each.name, each.format.name) for each in self.work]
        with TemporaryFile("w+", encoding="ascii") as waiting, _told_as_bad_input():
            writer = Writer(conversations, self.policy, account, waiting)
            conversations.store.import_log(_appends(self, reports, writer, writing))
        return reports


@contextmanager
def _told_as_bad_input() -> Iterator[None]:
    try:
        yield
    except BadFile as error:
        raise BadInput(str(error)) from None
    except (VersionConflict, CommandRecorded):
        raise BadInput("somebody wrote to these conversations meanwhile: nothing was imported; send it again") from None
    except EventTooLarge as error:
        raise BadInput(str(error)) from None


def _check_unknown(policy: Policy) -> None:
    """Check that a model that nobody named may not end anything.

    Raises:
        BadInput: it may, by a pattern such as `*`.
    """
    nobody = Conversation()._replace(model=UNKNOWN_MODEL, policy=policy)
    if ineligible(nobody, Actor(kind=ActorKind.MODEL, id=UNKNOWN_MODEL)) is None:
        raise BadInput(
            f"policy {policy.name}: a pattern of eligible_models is that of `{UNKNOWN_MODEL}`, the model that a file "
            "does not name; name the models that may end"
        )


class _Progress:
    """Adds up what is read of several files."""

    def __init__(self, told: Told, before: int, total: int) -> None:
        self._told, self._before, self._total = told, before, total

    def __call__(self, read: int) -> None:
        self._told(min(self._before + read, self._total), self._total)

    def done(self, each: _Work) -> None:
        """Count files that are read whole."""
        self._before += sum(one.size for one in each.files)
        self(0)


def _work(paths: Iterable[Path], format: str | None) -> list[_Work]:
    work: list[_Work] = []
    joined: dict[str, int] = {}
    for path in paths:
        found, others = sources(path)
        for source in found:
            form = FORMATS[format] if format is not None else _detected(source)
            if form.joins and form.name in joined:
                at = joined[form.name]
                work[at] = work[at]._replace(files=(*work[at].files, source))
                continue
            if form.joins:
                joined[form.name] = len(work)
            work.append(_Work((source,), form, others))
            others = 0
    return work


def _detected(source: Source) -> Format:
    first = next(values_in(source), None)
    if first is None:
        raise BadInput(f"{source.name}: {NO_CHAT}")
    if (form := format_of(first.value)) is None:
        if isinstance(first.value, Mapping) and (other := of_another_kind(first.value)) is not None:
            raise BadInput(f"{source.name}: {first.place}: {other}")
        raise BadInput(f"{source.name}: {first.place}: {NO_FORM}")
    return form


def _values(each: _Work, progress: Callable[[int], None]) -> Iterator[Value]:
    if len(each.files) == 1:
        return values_in(each.files[0], progress)
    parts = (
        (Value(f"{one.name}: {value.place}", value.value) for value in values_in(one, progress)) for one in each.files
    )
    return chain.from_iterable(parts)


class _Checked(NamedTuple):
    """A chat that can come in: what it is called by the store, and its parts."""

    chat: ForeignChat
    key: str
    name: bytes
    parts: tuple[Part, ...]


class _Place(NamedTuple):
    """Where a chat stands, and what is in it: a digest of it, and how many bytes its words have."""

    work: _Work
    place: str
    digest: bytes
    size: int


class _Seen:
    """Which chats were read so far, by their names.

    Attributes:
        again: those that several files have, each with other messages.
    """

    def __init__(self) -> None:
        self._places: dict[bytes, _Place] = {}
        self.again: set[bytes] = set()
        self._held = 0

    def has(self, name: bytes, work: _Work, place: str, digest: bytes) -> bool:
        """Whether a chat was read before, as it is.

        Raises:
            Wrong: the same file has it with other messages, and which of them came later nobody knows.
        """
        before = self._places.get(name)
        if before is not None and before.digest != digest and before.work is work:
            raise Wrong(place, f"the same conversation stands at {work.name}: {before.place}, with other messages")
        return before is not None and before.digest == digest

    def add(self, name: bytes, found: _Place) -> None:
        """Add a chat.

        Raises:
            Wrong: chats that stand in several files are longer than may be held.
        """
        if (before := self._places.get(name)) is not None:
            self._held += found.size + (0 if name in self.again else before.size)
            self.again.add(name)
            if self._held > _MOST_HELD:
                raise Wrong(found.place, TOO_MUCH_AGAIN)
        self._places[name] = found


def _chats(
    each: _Work, report: FileReport, seen: _Seen, max_words: int, progress: Callable[[int], None]
) -> Iterator[_Checked]:
    """Yield the chats of a file, checked.

    Raises:
        BadInput: something is wrong with one.
    """
    read = _Read(_values(each, progress), each.format)
    held = False
    try:
        for place, chat in each.format.read(read):
            held = held or bool(chat.messages)
            with within(place):
                parts, notes = turns_of(chat)
            for note in notes:
                report.note(chat.places.get(note.number) or f"{place}, message {note.number}", note)
            for aside in chat.asides:
                report.leave(place, aside.why, aside.number or 1, aside.places)
            for why, number in _not_taken_in(chat).items():
                report.leave(place, why, number)
            if chat.asides and not chat.messages:
                continue  # it is told what it was instead
            key, digest = _key_of(chat)
            name = sha256(key.encode(errors="surrogatepass")).digest()[:16]
            if seen.has(name, each, place, digest):
                report.leave(place, SAME_CHAT)
                continue
            seen.add(name, _Place(each, place, digest, _check_words(place, chat, parts, max_words)))
            if not parts:
                report.leave(place, NO_TURNS)
            else:
                yield _Checked(chat, key, name, parts)
    except Wrong as wrong:
        before_it = f"{each.name}: " if len(each.files) == 1 else ""
        other = read.other_form()
        looks = f"; this looks like {other}, and is read as {each.format.name}" if other else ""
        raise BadFile(f"{before_it}{wrong}{looks}") from None
    if not held and not read.known:
        raise BadFile(_nothing_of(each, read))


def _not_taken_in(chat: ForeignChat) -> dict[str, int]:
    rated = sum(bool(one.rating or one.remark) and not is_rated(one) for one in chat.messages)
    return {**chat.left_out, **({RATED: rated} if rated else {})}


class _Read:
    """The values of a file as they are read, and how many of them are of the form that they are read as."""

    def __init__(self, values: Iterator[Value], form: Format) -> None:
        self._values, self._form = values, form
        self.last: Value | None = None
        self._knows_last = True
        self.known = 0

    def __iter__(self) -> Iterator[Value]:
        for value in self._values:
            self.last, self._knows_last = value, self._form.knows(value.value)
            self.known += self._knows_last
            yield value

    def other_form(self) -> str | None:
        """Return the name of the form of the value that was read last, if it is another one."""
        other = None if self._knows_last or self.last is None else format_of(self.last.value)
        return other.name if other else None


def _nothing_of(each: _Work, read: _Read) -> str:
    """Say that nothing was recognised, and what to do."""
    if read.last is None:
        return f"{each.name}: {NO_CHAT}"
    other = read.other_form()
    what_to_do = f"it looks like {other}; leave out --format, or name that" if other else NO_FORM
    return f"{each.name}: nothing in it is in the format {each.format.name}: {what_to_do}"


def _key_of(chat: ForeignChat) -> tuple[str, bytes]:
    """Return what names a chat, which nobody sees, and a digest of all that it holds."""
    said = [(one.id, one.parent, one.speaker, one.blocks) for one in chat.messages]
    digest = sha256(json.dumps([chat.system, said], sort_keys=True).encode()).digest()[:16]
    known = chat.id if chat.id is not None else digest.hex()
    return json.dumps([chat.format, known, chat.told_apart]), digest


def _check_words(place: str, chat: ForeignChat, parts: Iterable[Part], max_words: int) -> int:
    """Check what is kept of each turn, for those who have to keep and to read it; return how many bytes that is."""
    total = 0
    for turn in (turn for part in parts for turn in part.turns):
        where = _where(place, chat, turn.said[0].number)
        about = chat.about if turn.parent is None else {}
        if any(is_deep([one.blocks, one.extra, about]) for one in (*turn.before, *turn.said)):
            raise Wrong(where, NESTED)
        total += (size := len(words_of(chat, turn).encode()))
        if size > max_words * _BLOCKS_TO_WORDS:
            raise Wrong(where, f"{size:,} bytes; a turn may have {max_words * _BLOCKS_TO_WORDS:,}")
        for said in turn.said:
            if said.remark and (size := len(whole(said.remark).encode())) > max_words:
                where = _where(place, chat, said.number)
                raise Wrong(where, f"{size:,} bytes of feedback; there may be {max_words:,}")
    return total


def _where(place: str, chat: ForeignChat, number: int) -> str:
    return chat.places.get(number) or f"{place}: message {number}"


def _appends(
    checked: CheckedChats, reports: Iterable[FileReport], writer: Writer, progress: _Progress
) -> Iterator[Append]:
    seen = _Seen()
    for each, report in zip(checked.work, reports, strict=True):
        if each.others:
            report.leave(each.name, OTHER_FILES, each.others)
        for found in _chats(each, report, seen, checked.max_words, progress):
            for part in found.parts:
                again = found.name in checked.again
                yield from writer.appends(found.chat, found.key, part, report.brought, again=again)
        progress.done(each)
    writer.describe()  # before it is committed: if it ends in between, sent again it is described
