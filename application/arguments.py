"""What callers pass, checked under the name that it has there, before a command is made of it.

A message names the argument and says how long it was, and does not repeat it: it may be a word that was passed by
mistake, and messages end up in logs.

And who is passed: somebody who was authenticated becomes an actor here. Inside, `by` is taken on trust: the law asks
what kind of actor it is, and believes it. So a program that lets others in, as a web application or the command line
does, says what each of them may be, and gets an actor or an error.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, ParamSpec, TypeVar

from pydantic import ValidationError

from lastresort.domain.events import RecordedEvent
from lastresort.domain.plainly import AN_ID, FORMS, MadeByHand, plainly
from lastresort.domain.turn_text import messages_in
from lastresort.domain.values import EDITIONS, MOST_POSITION, Actor, ActorKind, Frozen, Id, Messages

Content = str | Sequence[Mapping[str, Any]]
"""What somebody said: text, or content blocks, `{"type": ...}`, as an API of a model has them."""

_USERS_BLOCKS = {"text", "image", "document", "search_result", "container_upload"}
_ROLES = {"user", "assistant"}
_CALLS, _RESULT = ("tool_use", "server_tool_use", "mcp_tool_use"), "tool_result"
P = ParamSpec("P")
T = TypeVar("T")

MOST_TITLE, MOST_TAGS, MOST_TAG, MOST_PERSON = 500, 50, 100, 500
"""How many characters a title has, how many tags there are, how long each, and what a person is called, at most."""
_ID = re.compile(r"[!-~]{1,128}")
_ADDRESS = re.compile(r".(?:@|%40).", re.IGNORECASE)
_TELEPHONE = re.compile(r"(?:[a-z]+:)?(?:\+|%2b)[\d().-]{7,}|(?:tel|sms|whatsapp|signal):[\d().-]{7,}", re.IGNORECASE)
_DERIVED = re.compile(r"derived:[0-9a-f]{32}")


# --- ids ------------------------------------------------------------------------------------------------------------


class DerivedId(str):
    """An id that follows from others, in a form of its own. No request, file or model can pass one of this class.

    What comes as a plain str of that form goes into the log under another id, so any may be passed.
    """

    __slots__ = ()


def derived_id(act: str, *parts: object) -> DerivedId:
    """Return the id that follows from `parts` for an act, so that this takes effect once however often it is sent."""
    named = json.dumps([act, *map(str, parts)], ensure_ascii=False, separators=(",", ":"))
    return DerivedId("derived:" + hashlib.sha256(named.encode(errors="surrogatepass")).hexdigest()[:32])


def chosen_id(id: str) -> str:
    """Return the id under which something is recorded that a caller called `id`: that one, unless it looks derived."""
    return str(derived_id("chosen", id)) if _DERIVED.fullmatch(id) else id


def checked_id(argument: str, value: str) -> str:
    """Return an id that was passed as `argument`.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str):
        raise ValueError(f"{argument}: a str is needed, not {type(value).__name__}")
    value = _exact(value)
    if not _ID.fullmatch(value):
        were = "character was" if len(value) == 1 else "characters were"
        raise ValueError(f"{argument}: an id is {AN_ID}; {len(value):,} {were} passed")
    return value


def checked_command_id(value: str) -> str:
    """Return the id under which a command is recorded that a caller passed as `command_id`.

    Raises:
        ValueError: it is none.
    """
    return str(value) if type(value) is DerivedId else chosen_id(checked_id("command_id", value))


def _exact(value: str) -> str:
    """Return a text as it is: one of a class derived from str may say other things of its length and its bytes."""
    return value if type(value) in (str, Messages) else str.__str__(value)


def described_id(value: object) -> str:
    """Say of an id only how long it is, and of what is none that: either may be a word that was passed by mistake."""
    if isinstance(value, str) and _ID.fullmatch(value := _exact(value)):
        return f"of this id (length {len(value)})"
    return "of a malformed id"


def optional_id(argument: str, value: str | None) -> str | None:
    """Return an id that was passed as `argument`, or None if none was.

    Raises:
        ValueError: it is none.
    """
    return None if value is None else checked_id(argument, value)


def checked_edition(value: int) -> int:
    """Return the edition of the law that was passed as `edition`.

    Raises:
        ValueError: this program does not know it, so nothing could be recorded under it.
    """
    if type(value) is not int or value not in EDITIONS:
        known = ", ".join(map(str, EDITIONS))
        raise ValueError(
            f"edition: this program knows the editions {known} of the law, and not the one that was passed; name one "
            "of them, or install a release that knows it"
        )
    return value


def pseudonymous_id(argument: str, value: str | None) -> str | None:
    """Return the id that was passed as `argument` and names a user, or what is theirs; None if none was.

    It stays in the log for ever. So what looks like an address is refused: an @ within it, as in those of mail, of
    chat networks and of their threads; a telephone number with a + or a scheme before it. A name, or a number of digits
    alone, could be anything. What is recorded already is not asked, so conversations of before are read and go on.

    Raises:
        ValueError: it is no id, or looks like an address.
    """
    if (id := optional_id(argument, value)) is None:
        return None
    if _ADDRESS.search(id):
        looks = "an e-mail address, or one of a chat network"
    elif _TELEPHONE.fullmatch(id):
        looks = "a telephone number"
    else:
        return id
    looks += f" (length {len(id)})"
    raise ValueError(f"{argument}: this looks like {looks}, and it would stay in the log for ever; pass a pseudonym")


def checked_words(argument: str, value: str) -> str:
    """Return what a user said, as it was passed as `argument`.

    Raises:
        ValueError: it is no text, or there is nothing in it but white space, which no API takes.
    """
    if not isinstance(value, str):
        raise ValueError(f"{argument}: a str is needed, not {type(value).__name__}")
    if not (words := _exact(value)).strip():
        raise ValueError(f"{argument}: nothing was said; a turn of the user has words")
    return words


def users_content(value: Content, foreign_id: str | None = None) -> str:
    """Return the words to keep of what a user said, text or blocks, with the id that it has elsewhere.

    Raises:
        ValueError: there is nothing in it, white space aside, or something that is not the user's to say.
    """
    if isinstance(value, str | bytes) or value is None:
        return _with_id(checked_words("words", value), "user", foreign_id)
    blocks = _blocks(value)
    if strange := sorted({str(block["type"]) for block in blocks} - _USERS_BLOCKS):
        may = ", ".join(sorted(_USERS_BLOCKS))
        raise ValueError(
            f"words: a user's turn may hold blocks of these types: {may}; {len(strange)} of others were passed"
        )
    if all(block["type"] == "text" and not block["text"].strip() for block in blocks):
        raise ValueError("words: nothing was said; a turn of the user has words")
    return _kept([{"role": "user", "content": blocks}], foreign_id)


def models_content(value: Content, foreign_id: str | None = None) -> str:
    """Return the words to keep of what a model answered: text, blocks, or the messages of a turn with calls of tools.

    Raises:
        ValueError: there is nothing in it, or a call of a tool has no result, which no API would take back.
    """
    if isinstance(value, str):
        return _with_id(_exact(value), "assistant", foreign_id)
    parts = _parts(value)
    messages: list[Any] = [*parts] if "role" in parts[0] else [{"role": "assistant", "content": _blocks(parts)}]
    kept = _kept(messages, foreign_id)
    if messages_in(kept) is None or not {"assistant"} <= {message["role"] for message in messages} <= _ROLES:
        raise ValueError('words: pass blocks, {"type": ...}, or messages, {"role": ..., "content": [blocks]}')
    blocks = [block for message in messages for block in message["content"]]
    called = [str(block.get("id")) for block in blocks if block["type"] in _CALLS]
    results = [str(block.get("tool_use_id")) for block in blocks if str(block["type"]).endswith(_RESULT)]
    if sorted(called) != sorted(results):
        raise ValueError(f"words: {len(called)} calls of tools have {len(results)} results; each needs its own")
    return kept


def _parts(value: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if isinstance(value, bytes | Mapping) or not isinstance(value, Sequence):
        raise ValueError(f"words: text or a list of blocks is needed, not {type(value).__name__}")
    if not value:
        raise ValueError("words: nothing was said; a turn has words")
    if not all(isinstance(part, Mapping) for part in value):
        raise ValueError("words: each block is a mapping")
    return list(value)


def _blocks(value: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    blocks = _parts(value)
    if not all(isinstance(block.get("type"), str) for block in blocks):
        raise ValueError('words: each block has a "type"')
    if not all(isinstance(block.get("text"), str) for block in blocks if block["type"] == "text"):
        raise ValueError('words: a block of text has a "text"')
    return blocks


def _with_id(words: str, role: str, foreign_id: str | None) -> str:
    if foreign_id is None:
        return words
    if isinstance(words, Messages):
        raise ValueError("foreign_id: pass it with text or blocks")
    return _kept([{"role": role, "content": [{"type": "text", "text": words}]}], foreign_id)


def _kept(messages: Sequence[Mapping[str, Any]], foreign_id: str | None) -> Messages:
    """Return messages as they are kept, the id that they have elsewhere beside them: no API would take it in them."""
    kept: dict[str, Any] = {"messages": messages}
    if foreign_id is not None:
        kept["id"] = checked_id("foreign_id", foreign_id)
    try:
        words = json.dumps(kept, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        words.encode()
    except (TypeError, ValueError) as error:
        why = "it holds half a character" if isinstance(error, UnicodeError) else "it is not JSON"
        raise ValueError(f"words: {why}") from None
    return Messages(words)


def checked_title(title: str | None) -> str | None:
    """Return a title that was passed.

    Raises:
        ValueError: it is no text, or too long.
    """
    return None if title is None else _some_text("title", title, MOST_TITLE)


def checked_tags(tags: Any) -> tuple[str, ...] | None:
    """Return the tags that were passed, each once.

    Raises:
        ValueError: they are no list of texts, too many, or too long.
    """
    if tags is None:
        return None
    if isinstance(tags, str | bytes) or not isinstance(tags, Iterable):
        raise ValueError("tags: a list of texts is needed")
    kept = tuple(dict.fromkeys(_some_text("tags", tag, MOST_TAG) for tag in tags))
    if len(kept) > MOST_TAGS or "" in kept:
        raise ValueError(f"tags: at most {MOST_TAGS}, and none of them empty; {len(kept)} were passed")
    return kept


def checked_person(person: str) -> str:
    """Return what an application calls a person.

    Raises:
        ValueError: it is no text, empty, or too long.
    """
    if not (said := _some_text("person", person, MOST_PERSON)):
        raise ValueError("person: nobody was named")
    return said


def _some_text(argument: str, given: Any, most: int) -> str:
    if not isinstance(given, str) or isinstance(given, Messages):
        raise ValueError(f"{argument}: a str is needed, not {type(given).__name__}")
    value = _exact(given)
    if len(value) > most:
        raise ValueError(f"{argument}: {len(value):,} characters were passed, where {most:,} is the limit")
    try:
        value.encode()
    except UnicodeError:
        raise ValueError(f"{argument}: it holds half a character") from None
    return value


def checked_version(argument: str, value: int) -> int:
    """Return the version that was passed as `argument`. Whether anything stands there is not asked.

    Raises:
        ValueError: it is no int, or one that no log can hold and no message can tell.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{argument}: an int is needed, not {type(value).__name__}")
    if (version := int(value)).bit_length() > MOST_POSITION.bit_length():
        raise ValueError(f"{argument}: a version is at most {MOST_POSITION:,}")
    return version


def checked_events(argument: str, value: Iterable[RecordedEvent]) -> list[RecordedEvent]:
    """Return the recorded events that were passed as `argument`.

    Raises:
        ValueError: they are none.
    """
    events = list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(one, RecordedEvent) for one in events):
        raise ValueError(f"{argument}: recorded events are needed, as `path` returns them")
    return events


def checked_day(argument: str, value: str | None) -> str | None:
    """Return a day that was passed as `argument`, or None if none was.

    A log may hold a day of its form that no calendar has, 2027-02-30 say, from before this was asked.

    Raises:
        ValueError: it is none.
    """
    try:
        if value is not None:
            date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"{argument}: needs to be {FORMS['until']}") from None
    return value  # in a form that the command may still refuse: 20270131


def checked(make: Callable[P, T], *args: P.args, **fields: P.kwargs) -> T:
    """Make a command of what was passed, or say in plain words which argument is wrong, and what it needs to be.

    Raises:
        ValueError: an argument is malformed.
    """
    try:
        return make(*args, **fields)
    except ValidationError as error:
        wrong = plainly(error)
    raise ValueError(wrong)


# --- who may act as what ----------------------------------------------------------------------------------------------


class NotAllowed(PermissionError):
    """A principal may not act as the kind of actor that was asked for."""


class Principal(Frozen, metaclass=MadeByHand):
    """Somebody who was authenticated outside, and the kinds of actor that they may be.

    Attributes:
        id: a pseudonym, which stands in the log for ever.
        may: the kinds. A kind is authority: `operator` may clear a risk, decide an appeal and change the policy.
    """

    id: Id
    may: frozenset[ActorKind]


def as_actor(principal: Principal, kind: ActorKind) -> Actor:
    """Return the actor of a kind that a principal is.

        chat.clear_risk(risk, by=as_actor(principal, ActorKind.OPERATOR))

    Raises:
        NotAllowed: the principal may not be one. It names what is lacking.
    """
    if kind not in principal.may:
        may = ", ".join(sorted(principal.may)) or "nothing"
        raise NotAllowed(f"this principal (length {len(principal.id)}) may not act as {kind.value}, but as: {may}")
    return Actor(kind=kind, id=principal.id)
