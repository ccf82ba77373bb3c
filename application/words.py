"""What stands beside the log, sealed and erasable: what was said, and annotations.

Words stand there under the digest of their sealed bytes, which events carry. They can be erased, and the log stays as
it is.

Annotations belong to no event, and no rule looks at them: the application's title and tags of a conversation, whom a
pseudonym stands for, and what the user was shown of an answer that their next message overtook. A conversation's are
sealed under its own key and erased with its words; the others under a key of the store.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, get_args

from lastresort.domain.commands import (
    Command,
    EraseContents,
    FileAppeal,
    GiveFeedback,
    TakeAssistantTurn,
    TakeUserTurn,
    check_words,
)
from lastresort.domain.decider import Refused, decide
from lastresort.domain.events import (
    AppealFiled,
    AssistantTurnTaken,
    ContentErased,
    Event,
    FeedbackGiven,
    RecordedEvent,
    UserTurnTaken,
    content_of,
)
from lastresort.domain.state import Conversation
from lastresort.domain.tuples import made
from lastresort.domain.values import Actor, ErasureCause, Messages, with_content

from .arguments import checked_id, checked_person, checked_tags, checked_title
from .directory import Metadata
from .ports import Annotations, Forgotten, Place, Ports, SealBroken, SealedWords, Unmarked, Vault
from .reading import Reading

_FORMERLY = "messages:"  # so began the ids of commands that came with messages, before that was sealed with them

ROLE = "Annotation"
"""What annotations are bound to beside their owner and name, as words are to the kind of their event."""

_TITLE, _TAGS, _SYSTEM = "title", "tags", "system"
_ACCOUNTS = "the accounts of this store"  # no conversation is called that: an id has no spaces
_SECRET, _PERSON, _ACCOUNT = "secret", "person", "account"
_SHOWN, _DEFERRED = "shown", "deferred"

_BLOCKS_TO_WORDS = 32  # times as long as words may be what a turn has in content blocks: pictures, documents
_COMMANDS = frozenset(get_args(Command))
_STAND_FOR: dict[type[Command], str] = {
    TakeUserTurn: UserTurnTaken.kind,
    TakeAssistantTurn: AssistantTurnTaken.kind,
    GiveFeedback: FeedbackGiven.kind,
    FileAppeal: AppealFiled.kind,
}
"""The kind of event that the words of a command stand for."""


def role_of(kind: str, by: Actor) -> str:
    """Return what words are bound to beside their place: the kind of their event, and its actor."""
    return f"{kind} {by.kind}:{by.id}"


class Erased(NamedTuple):
    """A conversation whose erasure is recorded: the mark of its keys, and the events of its words, by digest."""

    tree: str
    retired: str
    said: Mapping[str, RecordedEvent]


class Words:
    """The words beside the log. Threads may share it."""

    def __init__(self, ports: Ports, reading: Reading, annotator: "Annotator") -> None:
        self._ports = ports
        self._reading = reading
        self.annotator = annotator

    def check(self, command: Command, words: str | None) -> None:
        """Check that a command is one, that it comes with words if it needs some, and that these are not too long.

        Raises:
            ValueError: one of these does not hold.
        """
        if type(command) not in _COMMANDS:
            raise ValueError("a command is one of `domain.commands`, and no other class that is derived from one")
        check_words(command, words)
        most = self._ports.max_words * (_BLOCKS_TO_WORDS if isinstance(words, Messages) else 1)
        if words is not None and (size := len(words.encode(errors="surrogatepass"))) > most:
            raise ValueError(f"words: {size:,} bytes; a turn may have {most:,}. `max_words` sets another limit")

    def seal(
        self, command: Command, conversation: str, branch: str, version: int, words: str | None
    ) -> tuple[Command, SealedWords | None]:
        """Seal `words` for the place that the command's event would take; return the command with their digest."""
        if words is None:
            return command, None
        role = role_of(_STAND_FOR[type(command)], command.by)
        sealed = self._ports.vault.seal(conversation, branch, version, words, role)
        return with_content(command, sealed.digest), sealed

    def on(self, path: Iterable[RecordedEvent]) -> dict[str, str]:
        """Return the words that stand on a path, by digest, those that are still kept: text, or `Messages`.

        Raises:
            SealBroken: kept bytes are not what was sealed there.
        """
        said: dict[Place, tuple[RecordedEvent, str]] = {}
        for one in path:
            if digest := content_of(one.event):
                said[made(Place, (one.branch, one.version))] = one, digest
        tree, open_ = "", self._ports.vault.open
        words: dict[str, str] = {}
        for place, data in self._ports.store.contents(said).items():
            recorded, digest = said[place]
            branch, version = place
            tree = tree or self._reading.tree_of(branch)
            role = role_of(recorded.kind, recorded.event.by)
            opened = open_(tree, branch, version, made(SealedWords, (digest, data)), role)
            if isinstance(opened, Unmarked):
                opened = (Messages if recorded.command_id.startswith(_FORMERLY) else str)(opened)
            if opened is not None:
                words[digest] = opened
        return words

    # --- erasing --------------------------------------------------------------------------------------------------

    def said_on(self, tree: str, branches: Iterable[str]) -> dict[str, RecordedEvent]:
        """Return the events of the words on branches, by digest, without what these inherited."""
        return {
            digest: one
            for branch in branches
            for one in self._ports.store.read(tree, branch)
            if (digest := content_of(one.event))
        }

    def places_of(self, events: Iterable[Event], tree: str, branches: Iterable[str]) -> tuple[Place, ...]:
        """Find where in a tree the words stand that `events` erase.

        Raises:
            ValueError: some of them were not said in it.
        """
        digests = [digest for event in events if isinstance(event, ContentErased) for digest in event.contents]
        if not digests:
            return ()
        said = self.said_on(tree, branches)
        strange = set(digests) - said.keys()
        if strange:
            raise ValueError(f"contents: this conversation has no words of {len(strange)} of these digests")
        return tuple(_place_of(said[digest]) for digest in dict.fromkeys(digests))

    def destroy(self, erased: Sequence[Erased]) -> None:
        """Destroy the keys of conversations that were retired, and then the sealed words, and the annotations that were
        sealed with them.

        If this was interrupted, what is left of the words says which keys are left. What was said since is sealed under
        another one, which stays, though another erasure retired it that came to nothing.
        """
        standing = {_place_of(one): (tree, digest, one) for tree, _, said in erased for digest, one in said.items()}
        sealed: dict[str, dict[Place, tuple[SealedWords, str]]] = {one.tree: {} for one in erased}
        for place, data in self._ports.store.contents(standing).items():
            tree, digest, one = standing[place]
            sealed[tree][place] = SealedWords(digest, data), role_of(one.kind, one.event.by)
        self._ports.vault.forget_all([Forgotten(tree, retired, sealed[tree]) for tree, retired, _ in erased])
        self._ports.store.drop(standing)
        for tree, *_ in erased:
            self._drop_stale(tree)

    def _drop_stale(self, tree: str) -> None:
        """Erase the annotations of a conversation that were sealed under keys which are destroyed, or are to be."""
        stale = self.annotator.stale(tree)
        left = {name: data for name, data in stale.items() if self.annotator.opens(tree, name, data)}
        if left and self._are_of_no_other_erasure(tree):
            sealed = {place_of(name): (as_sealed(data), ROLE) for name, data in left.items()}
            self._ports.vault.forget_all([Forgotten(tree, "", sealed)])
            left = {}
        self.annotator.drop(tree, stale.keys() - left.keys())

    def _are_of_no_other_erasure(self, tree: str) -> bool:
        """Whether no words stand under retired keys, as after an erasure that came to nothing, and nothing is held."""
        branches = self._reading.tree(tree)
        if any(state.holds for state in branches.values()):
            return False
        places = map(_place_of, self.said_on(tree, branches).values())
        return all(self._ports.vault.seals(tree, data) for data in self._ports.store.contents(places).values())


def _place_of(recorded: RecordedEvent) -> Place:
    return Place(recorded.branch, recorded.version)


# --- annotations --------------------------------------------------------------------------------------------------


class Annotator:
    """Seals, keeps, opens and erases annotations. Threads may share it."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    @property
    def _kept(self) -> Annotations:
        if self._ports.annotations is None:
            raise ValueError("these conversations were opened without annotations")
        return self._ports.annotations

    # --- metadata -------------------------------------------------------------------------------------------------

    def metadata(self, tree: str) -> Metadata:
        """Return the metadata of a conversation."""
        return self.metadata_of([tree])[tree]

    def metadata_of(self, trees: Sequence[str]) -> dict[str, Metadata]:
        """Return the metadata of conversations."""
        titles, tags = (
            {tree: self._opened(tree, name, data) for tree, data in self._kept.named(name, trees).items()}
            for name in (_TITLE, _TAGS)
        )
        return {tree: Metadata(titles.get(tree), tuple(json.loads(tags.get(tree) or "[]"))) for tree in trees}

    def describe(self, tree: str, title: str | None, tags: Sequence[str] | None) -> None:
        """Set what is not None; an empty title, and no tags, are dropped."""
        said = {} if title is None else {_TITLE: title}
        if tags is not None:
            said[_TAGS] = json.dumps(tags, ensure_ascii=False) if tags else ""
        if set_ := {name: self._sealed(tree, name, words) for name, words in said.items() if words}:
            self._kept.put(tree, set_)
        self._kept.drop(tree, [name for name, words in said.items() if not words])

    # --- the conversation's own system prompt ----------------------------------------------------------------------

    def instructions(self, tree: str) -> str | None:
        """Return the system prompt that a conversation was given, as its driver keeps it; None if it has none."""
        if self._ports.annotations is None:
            return None
        data = self._kept.find(tree, _SYSTEM)
        return None if data is None else self._opened(tree, _SYSTEM, data)

    def instruct(self, tree: str, system: str) -> str:
        """Give a conversation its own system prompt, unless it has one; return the one that it has."""
        if (before := self.instructions(tree)) is not None:
            return before
        self._kept.put(tree, {_SYSTEM: self._sealed(tree, _SYSTEM, system)}, replace=False)
        return self.instructions(tree) or system

    # --- people ---------------------------------------------------------------------------------------------------

    def pseudonym(self, person: str) -> str:
        """Return the pseudonym of a person, a new one if they have none."""
        name = self._name_of(person)
        if (account := self._account(name)) is not None:
            return account
        account = self._ports.new_id()
        words = {name: account, f"{_ACCOUNT} {account}": person}
        sealed = {name: self._sealed(_ACCOUNTS, name, said) for name, said in words.items()}
        self._kept.put(_ACCOUNTS, sealed, replace=False)  # nothing, if another process was first
        return self._account(name) or self.pseudonym(person)  # or they were forgotten again

    def account_of(self, person: str) -> str | None:
        """Return the pseudonym of a person, None if they have none."""
        return None if self._kept.find(_ACCOUNTS, _SECRET) is None else self._account(self._name_of(person))

    def person_of(self, account: str) -> str | None:
        """Return whom a pseudonym stands for, None if nobody knows."""
        name = f"{_ACCOUNT} {account}"
        data = self._kept.find(_ACCOUNTS, name)
        return None if data is None else self._opened(_ACCOUNTS, name, data)

    def forget(self, account: str, unless: Callable[[], bool]) -> bool:
        """Forget whom a pseudonym stands for, unless the log says otherwise, which is asked while it is kept still.

        Returns:
            Whether nobody knows: not if it says otherwise, nor if somebody else changed what is known meanwhile.
        """
        known: dict[str, bytes] = {}
        taken = False
        try:
            with self._ports.store.still():
                if unless():
                    return False
                known = self._known(account)
                taken = self._kept.take(_ACCOUNTS, known)
        except BaseException:
            if taken:  # the log was not kept still, so a hold may have come before
                self._kept.put(_ACCOUNTS, known, replace=False)
            raise
        if taken:
            self._kept.drop(_ACCOUNTS, [f"{_ACCOUNT} {account}"])  # from the files; also if that was interrupted before
        return taken

    def defer(self, account: str, tree: str, erasure: Mapping[str, str] | None) -> None:
        """Keep what is to be done to a conversation of an account once it is not held any more; None: nothing."""
        owner = f"{_DEFERRED} {account}"
        if erasure is not None:
            self._kept.put(owner, {tree: self._sealed(_ACCOUNTS, f"{owner} {tree}", json.dumps(dict(erasure)))})
        elif tree in self.deferred(account):
            self._kept.drop(owner, [tree])

    def deferred(self, account: str) -> dict[str, dict[str, str]]:
        """Return what `defer` keeps of an account, by conversation."""
        if self._ports.annotations is None:
            return {}
        kept, name = self._kept.of(f"{_DEFERRED} {account}").items(), f"{_DEFERRED} {account}"
        return {tree: json.loads(self._opened(_ACCOUNTS, f"{name} {tree}", data) or "{}") for tree, data in kept}

    def _known(self, account: str) -> dict[str, bytes]:
        """Return what is kept of whom a pseudonym stands for."""
        if (person := self.person_of(account)) is None:
            return {}
        names = {f"{_ACCOUNT} {account}": person, self._name_of(person): account}
        found = {name: data for name in names if (data := self._kept.find(_ACCOUNTS, name)) is not None}
        return {name: data for name, data in found.items() if self._opened(_ACCOUNTS, name, data) == names[name]}

    def _account(self, name: str) -> str | None:
        data = self._kept.find(_ACCOUNTS, name)
        return None if data is None else self._opened(_ACCOUNTS, name, data)

    def namer(self) -> Callable[[str], str]:
        """Return what makes ids of names from elsewhere: of one name always the same 32 hexadecimal digits, which tell
        nobody the name without the store's keys."""
        key = self._secret()
        return lambda name: hmac.digest(key, b"named " + name.encode(errors="surrogatepass"), "sha256").hex()[:32]

    def _name_of(self, person: str) -> str:
        """Return what a person's pseudonym is looked up by: it tells nobody who they are without the store's keys."""
        return f"{_PERSON} {hmac.digest(self._secret(), person.encode(), 'sha256').hex()}"

    def _secret(self) -> bytes:
        secret = self._kept.find(_ACCOUNTS, _SECRET)
        if secret is None:
            made = self._sealed(_ACCOUNTS, _SECRET, self._ports.vault.new_secret())
            self._kept.put(_ACCOUNTS, {_SECRET: made}, replace=False)
            secret = self._kept.find(_ACCOUNTS, _SECRET) or made
        return bytes.fromhex(self._opened(_ACCOUNTS, _SECRET, secret) or "")

    # --- what was shown, and overtaken ----------------------------------------------------------------------------

    def keep_shown(self, tree: str, before: Place, id: str, words: str) -> None:
        """Keep what the user was shown before they said what stands at `before`, which overtook it."""
        if self._ports.annotations is None:
            return
        name = f"{_SHOWN} {before.branch} {before.version} {id}"
        self._kept.put(tree, {name: self._sealed(tree, name, words)}, replace=False)

    def shown(self, tree: str) -> dict[Place, tuple[str, ...]]:
        """Return what the user was shown and then overtook, by the place of the turn that overtook it."""
        found: dict[Place, tuple[str, ...]] = {}
        for name, data in self._of(tree).items():
            if (place := _shown_before(name)) and (words := self._opened(tree, name, data)) is not None:
                found[place] = (*found.get(place, ()), words)
        return found

    def drop_shown(self, tree: str, places: Callable[[], Iterable[Place]]) -> None:
        """Erase what was shown before turns whose words are erased."""
        if shown := {name: place for name in self._of(tree) if (place := _shown_before(name))}:
            gone = set(places())
            self.drop(tree, [name for name, place in shown.items() if place in gone])

    # --- erasing --------------------------------------------------------------------------------------------------

    def stale(self, tree: str) -> dict[str, bytes]:
        """Return the annotations of a conversation that were sealed under keys which seal nothing more."""
        vault = self._ports.vault
        return {name: data for name, data in self._of(tree).items() if not vault.seals(tree, data)}

    def opens(self, tree: str, name: str, data: bytes) -> bool:
        """Whether an annotation is one that a key is left for, be it damaged or not."""
        try:
            return self._opened(tree, name, data) is not None
        except SealBroken:
            return True

    def drop(self, tree: str, names: Iterable[str]) -> None:
        """Erase annotations of a conversation for good."""
        if names := list(names):
            self._kept.drop(tree, names)

    def _of(self, tree: str) -> Mapping[str, bytes]:
        return {} if self._ports.annotations is None else self._ports.annotations.of(tree)

    def _sealed(self, owner: str, name: str, words: str) -> bytes:
        return self._ports.vault.seal(owner, *place_of(name), words, ROLE).data

    def _opened(self, owner: str, name: str, data: bytes) -> str | None:
        return opened(self._ports.vault, owner, name, data)


def place_of(name: str) -> Place:
    """Return the place that an annotation is sealed for; no event has that version."""
    return Place(name, 0)


def as_sealed(data: bytes) -> SealedWords:
    """Return sealed bytes as a vault takes them."""
    return SealedWords("sha256:" + hashlib.sha256(data).hexdigest(), data)


def opened(vault: Vault, owner: str, name: str, data: bytes) -> str | None:
    """Return the words of an annotation, None if their key was destroyed.

    Raises:
        SealBroken: the bytes were not sealed for this owner and name.
    """
    return vault.open(owner, *place_of(name), as_sealed(data), ROLE)


def _shown_before(name: str) -> Place | None:
    kind, *rest = name.split(" ")
    return Place(rest[0], int(rest[1])) if kind == _SHOWN else None


def one_account(annotator: Annotator, account: str | None, person: str | None) -> str | None:
    """Return the account that was passed, or that of the person who was, None if they have none.

    Raises:
        ValueError: both were passed, or neither, or one is malformed.
    """
    if (account is None) == (person is None):
        raise ValueError("account: a str is needed, or else a person")
    return annotator.account_of(checked_person(person)) if person is not None else checked_id("account", account or "")


def described(
    annotator: Annotator, state_of: Callable[[], Conversation], by: Actor, title: str | None, tags: Iterable[str] | None
) -> Metadata | Refused:
    """Set the title or the tags of a conversation; return what it has now. See `Chat.describe`.

    They are in no transaction of the log's, so the law is asked before and after; what was replaced is put back if a
    hold came in between.
    """
    meant, tree = (checked_title(title), checked_tags(tags)), state_of().conversation
    before = annotator.metadata(tree)
    erasure = EraseContents(id="asked", by=by, contents=(), cause=ErasureCause.USER_REQUEST)
    replaces = any(old and new is not None and new != old for old, new in zip(before, meant, strict=True))
    if replaces and isinstance(refused := decide(erasure, state_of()), Refused):
        return refused
    annotator.describe(tree, *meant)
    if replaces and isinstance(refused := decide(erasure, state_of()), Refused):
        annotator.describe(tree, before.title or "", before.tags)
        return refused
    return annotator.metadata(tree)
