"""What was said: sealed, opened, and erased.

Words stand beside the log under the digest of their sealed bytes, which events carry. They can be erased, and the log
stays as it is.
"""

from collections.abc import Iterable, Mapping

from lastresort.domain.commands import Command, FileAppeal, GiveFeedback, TakeAssistantTurn, TakeUserTurn
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
from lastresort.domain.values import Actor, Messages, with_content

from .ports import Place, Ports, SealedWords, Unmarked
from .reading import Reading

_FORMERLY = "messages:"  # so began the ids of commands that came with messages, before that was sealed with them

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


class Words:
    """The words beside the log. Threads may share it."""

    def __init__(self, ports: Ports, reading: Reading) -> None:
        self._ports = ports
        self._reading = reading

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
                said[Place(one.branch, one.version)] = one, digest
        tree = ""
        words: dict[str, str] = {}
        for place, data in self._ports.store.contents(said).items():
            recorded, digest = said[place]
            tree = tree or self._reading.tree_of(place.branch)
            role = role_of(recorded.kind, recorded.event.by)
            opened = self._ports.vault.open(tree, *place, SealedWords(digest, data), role)
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
            raise ValueError(f"no words of this conversation have the digest {', '.join(sorted(strange))}")
        return tuple(_place_of(said[digest]) for digest in dict.fromkeys(digests))

    def destroy(self, tree: str, retired: str, said: Mapping[str, RecordedEvent]) -> None:
        """Destroy the keys of a conversation that were `retired`, and then the sealed words of `said`, by digest.

        If this was interrupted, what is left of the words says which keys are left. What was said since is sealed under
        another one, which stays.
        """
        standing = {_place_of(one): (digest, role_of(one.kind, one.event.by)) for digest, one in said.items()}
        sealed = {
            place: (SealedWords(standing[place][0], data), standing[place][1])
            for place, data in self._ports.store.contents(standing).items()
        }
        self._ports.vault.forget(tree, retired, sealed)
        self._ports.store.drop(standing)


def _place_of(recorded: RecordedEvent) -> Place:
    return Place(recorded.branch, recorded.version)
