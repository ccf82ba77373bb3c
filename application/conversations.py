"""What an embedder holds first: the conversations in a store, with lists of them and of their branches."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Self
from uuid import NAMESPACE_URL, uuid5

from lastresort.domain.commands import StartConversation
from lastresort.domain.decider import Refused
from lastresort.domain.events import RecordedEvent
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import LATEST, Actor, ActorKind, ErasureCause, HoldReason, LegalHold, Mode

from .accounts import (
    AccountErasure,
    AccountHold,
    ExportedConversation,
    conversations_page,
    erase_all,
    export_all,
    hold_all,
    holds_page,
    release_all,
    trees_of,
)
from .arguments import (
    checked,
    checked_command_id,
    checked_day,
    checked_edition,
    checked_events,
    checked_id,
    checked_person,
    checked_version,
    optional_id,
    pseudonymous_id,
)
from .chat import Chat
from .directory import DirectoryPage, HoldPage, Order, Status, TimeField, checked_query
from .erasing import Retention, erase_older
from .experiments import Experiment, allocated
from .outcomes import Page, Receipt, check_page, listed
from .ports import List
from .reading import unknown
from .service import Opened
from .words import one_account

STARTED = uuid5(NAMESPACE_URL, "https://github.com/lastresort/started")
"""Names the conversation that a command starts, where nobody does."""

RETENTION = Actor(kind=ActorKind.SYSTEM, id="retention")
"""Who erases by age, where nobody is named."""


class Conversations(Opened):
    """The conversations in a store. Get it from `lastresort.open_conversations`. Threads may share it.

        with open_conversations("sqlite:///chats.db") as conversations:
            chat = conversations.start(model="claude-opus-4-1")

    The path of a `shards.toml` opens those of several stores as one.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def new_id(self) -> str:
        """Return an id that nobody has used."""
        return self.service.ports.new_id()

    def close(self) -> None:
        """Release the store and the vault. Whatever is called later raises `StoreClosed`."""
        self.service.close()

    def _command_id(self, command_id: str | None) -> str:
        return self.new_id() if command_id is None else checked_command_id(command_id)

    def start(
        self,
        *,
        model: str,
        account: str | None = None,
        person: str | None = None,
        policy: Policy | None = None,
        conversation: str | None = None,
        arm: str | None = None,
        edition: int = LATEST,
        mode: Mode = Mode.ENFORCED,
        experiment: Experiment | None = None,
        by: Actor | None = None,
        command_id: str | None = None,
    ) -> Chat:
        """Start a conversation and return its root branch, which bears the conversation's id.

        Args:
            model: the name of the model that answers.
            account: a pseudonym of the user, never a name or an address: it stays in the log for ever. What looks like
                an e-mail address or a telephone number is refused.
            person: what your application calls them, in place of `account`: their pseudonym is looked up, and made if
                they have none. Who it is can be forgotten.
            policy: the terms; the default profile, if none are given.
            conversation: what to call it, a pseudonym too; if nothing is given, it follows from `command_id`.
            arm: the arm of an experiment that it is in.
            edition: of the law, which governs it: `law` in the events that name it.
            mode: whether the law is enforced, or runs in the shadow, where nothing is said to the user.
            experiment: the experiment that it is part of, whose arm for this account says the policy and the mode.
            by: who starts it; the user, if nobody is named.
            command_id: by which it is started once however often this is sent.

        Raises:
            CommandIdReused: `command_id` belongs to another command.
            ValueError: a conversation of that id exists, an argument is malformed, or the experiment cannot take it.
        """
        if person is not None:
            if account is not None:
                raise ValueError("person: pass either an account or a person")
            account = self.pseudonym(person)
        for argument, value in (("account", account), ("conversation", conversation)):
            pseudonymous_id(argument, value)
        policy, mode, arm = allocated(experiment, account, (policy, mode, arm))
        for argument, value in (("arm", arm), ("command_id", command_id)):
            optional_id(argument, value)
        id = self._command_id(command_id)
        checked_id("model", model)
        if conversation is None:
            conversation = self.new_id() if command_id is None else uuid5(STARTED, command_id).hex
        command = checked(
            StartConversation, id=id, by=by or Actor(kind=ActorKind.USER, id=account or "user"),
            conversation=conversation, account=account, policy=policy or Policy.default(), model=model, arm=arm,
            law=checked_edition(edition), mode=mode,
        )  # fmt: skip
        return self.chat(self.service.begin(command))

    def chat(self, branch: str, *, account: str | None = None) -> Chat:
        """Return a handle on a branch as it stands now.

        Args:
            branch: which.
            account: whose it has to be, if it matters: a branch of somebody else is then as unknown as one that does
                not exist.

        Raises:
            UnknownBranch: the store has no such branch, or it is not of that account.
        """
        state = self.state(branch)
        if account is not None and state.account != account:
            raise unknown(branch)
        return Chat(self, branch, state)

    def state(self, branch: str) -> Conversation:
        """Return the state of a branch as the log has it now.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        return self.service.reading.state(branch)

    def path(self, branch: str, upto: int | None = None) -> list[RecordedEvent]:
        """Return the events on the path of a branch, the inherited prefix first, up to version `upto`.

        Raises:
            UnknownBranch: the store has no such branch.
            ValueError: `upto` is no version.
        """
        return self.service.reading.path(branch, None if upto is None else checked_version("upto", upto))

    def tree(self, branch: str) -> dict[str, Conversation]:
        """Return the states of the branches of the tree that `branch` belongs to, root first.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        return self.service.reading.tree(branch)

    def tree_log(self, branch: str) -> list[RecordedEvent]:
        """Return the events of every branch of the tree that `branch` belongs to, parents before children.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        return self.service.reading.tree_log(branch)

    def appeal_until(self, branch: str) -> str | None:
        """Return the day, YYYY-MM-DD, until which an appeal is open at least; None if the branch has not ended."""
        return self.service.reading.appeal_until(branch)

    def words(self, path: Iterable[RecordedEvent]) -> dict[str, str]:
        """Return the words that stand on a path, by digest, those that are still kept: text, or `Messages`.

        Raises:
            SealBroken: kept bytes are not what was sealed there.
        """
        return self.service.words.on(checked_events("path", path))

    def erase_conversation(
        self, branch: str, *, by: Actor, cause: ErasureCause, command_id: str | None = None
    ) -> Receipt | Refused:
        """Erase every word of the conversation that `branch` belongs to, and destroy its key.

        The law is asked first. If this is interrupted, send it again under the same `command_id`, and what is left to
        do is done.

        Raises:
            UnknownBranch: the store has no such branch.
            CommandIdReused, Contention: as every act.
        """
        id = self._command_id(command_id)
        return self.service.erase_conversation(branch, by=by, cause=cause, command_id=id)

    def pseudonym(self, person: str) -> str:
        """Return the account of a person, a random id that is made when they are first asked for.

        It is kept beside the log, sealed, until `erase_account(..., forget=True)`.

        Args:
            person: what your application calls them: 1 to 500 characters, an e-mail address if you like.
        """
        return self.annotator.pseudonym(checked_person(person))

    def person_of(self, account: str) -> str | None:
        """Return whom an account stands for, None if it was not made by `pseudonym`, or is forgotten.

        Raises:
            ValueError: `account` is no id.
        """
        return self.annotator.person_of(checked_id("account", account))

    def erase_account(
        self,
        account: str | None = None,
        *,
        person: str | None = None,
        by: Actor,
        cause: ErasureCause,
        forget: bool = False,
        command_id: str | None = None,
    ) -> AccountErasure:
        """Erase every word of every conversation of an account, and destroy their keys, one conversation at a time.

        What the law refuses to erase, as under a legal hold, is left whole and named. If this is interrupted, send it
        again under the same `command_id`, and what is left to do is done. The pseudonym stays in the log.

        Args:
            account: whose; or `person`, as `pseudonym` takes it.
            person: in place of the account.
            by: who erases.
            cause: why.
            forget: whether to forget whom the pseudonym stands for, too, once all is erased. What else says so must be
                erased where that is kept.
            command_id: by which it is carried out once however often this is sent.

        Raises:
            CommandIdReused, Contention: as every act.
            ValueError: an argument is no id, or these conversations were opened without a directory.
        """
        id = self._command_id(command_id)
        meant = one_account(self.annotator, account, person)
        return AccountErasure((), {}) if meant is None else erase_all(self, meant, by, cause, id, forget=forget)

    def retain(
        self,
        older_than: timedelta,
        *,
        by: Actor = RETENTION,
        dry_run: bool = False,
        progress: Callable[[int], None] = lambda looked_at: None,
    ) -> Retention:
        """Erase every word of the conversations in which nobody spoke for that long, and destroy their keys.

        What the law refuses to erase, as under a legal hold, is left whole and named. If this is interrupted, send it
        again, and what is left to do is done. Meant to be sent again and again: a conversation that is erased already
        costs a look.

        Args:
            older_than: how long ago, by the clock, somebody has to have spoken last on any branch.
            by: who erases, as the log will say; the system, if nobody is named.
            dry_run: whether to say only what would be erased, and what would not.
            progress: is told after each conversation how many were looked at.

        Raises:
            Contention: as every act.
            ValueError: `older_than` is out of range, or these conversations were opened without a directory.
        """
        return erase_older(self, older_than, by, dry_run=dry_run, progress=progress)

    def hold_account(
        self,
        account: str | None = None,
        hold: str = "",
        *,
        person: str | None = None,
        reason: HoldReason,
        until: str | None = None,
        by: Actor,
        command_id: str | None = None,
    ) -> AccountHold:
        """Hold the words of every conversation that an account has now from erasure. An operator's.

        It is the `hold` of each conversation, in whichever edition of the law. Conversations that are begun later are
        not held: call this again, and what is held so already is passed over. If it is interrupted, the same is true.

        Args:
            account: the pseudonym of the user; or `person`, as `pseudonym` takes it.
            hold, reason, until, by: as `Chat.hold` has them.
            person: in place of the account.
            command_id: by which it is set once on each however often this is sent.

        Raises:
            CommandIdReused, Contention: as every act.
            ValueError: an argument is malformed, or no conversation of the account, or of the person, is known.
        """
        id = self._command_id(command_id)
        meant = checked(LegalHold, hold=hold, reason=reason, until=checked_day("until", until))
        return hold_all(self, trees_of(self, account, person), meant, by, id)

    def release_account(
        self,
        account: str | None = None,
        hold: str = "",
        *,
        person: str | None = None,
        by: Actor,
        command_id: str | None = None,
    ) -> AccountHold:
        """Release a legal hold on every conversation of an account, or of a person, on which it stands. An operator's.

        Raises:
            CommandIdReused, Contention: as every act.
            ValueError: an argument is malformed, or these conversations were opened without a directory.
        """
        id = self._command_id(command_id)
        return release_all(self, trees_of(self, account, person), checked_id("hold", hold), by, id)

    def holds(
        self, *, account: str | None = None, person: str | None = None, after: str | None = None, limit: int = 50
    ) -> HoldPage:
        """Return a page of the legal holds that stand, by conversation.

            page = conversations.holds()
            page = conversations.holds(after=page.after)  # unless it is None

        Args:
            account, person: of this account, or this person, alone.
            after: where the page before left off.
            limit: how many, 1 to 1,000.

        Raises:
            ValueError: an argument is out of range, or these conversations were opened without a list of holds.
        """
        return holds_page(self.service, account, person, after, limit)

    def export_account(
        self, account: str | None = None, *, person: str | None = None
    ) -> Iterator[ExportedConversation]:
        """Yield everything that the store has of an account, words included, a conversation at a time, oldest first.

        What comes out is in plain: keep it as carefully as the words. `lastresort.adapters.exporters` writes it as JSON
        and as a page.

        Raises:
            SealBroken: kept bytes are not what was sealed there.
            ValueError: `account` is no id, or these conversations were opened without a directory.
        """
        meant = one_account(self.annotator, account, person)
        return iter(()) if meant is None else export_all(self, meant)

    def page(self, which: List, *, after: int = 0, limit: int = 50) -> Page:
        """Return a part of the list of the branches that are `active`, `ended` or `branched`, as they began.

        `active` and `ended` are disjoint and cover all branches; `branched` is every branch of each conversation that
        has more than one. A page takes as long in a large store as in a small one, wherever in the list it stands.

            page = conversations.page("ended", limit=100)
            page = conversations.page("ended", after=page.after, limit=100)  # unless page.after is None

        Args:
            which: the list.
            after: where the page before left off; a position, 0 to 2**63 - 1.
            limit: how many rows, 1 to 1,000.

        Raises:
            ValueError: an argument is out of range.
        """
        check_page(which, after, limit)
        found = self.store.page(which, after=after, limit=limit + 1)
        rows = tuple(listed(one, lambda branch: self.state(branch).policy.name) for one in found[:limit])
        return Page(rows, found[limit - 1].began.position if len(found) > limit else None)

    def list(
        self,
        *,
        account: str | None = None,
        arm: str | None = None,
        model: str | None = None,
        status: Status | None = None,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        by: TimeField = "started",
        order: Order = "newest",
        after: str | None = None,
        limit: int = 50,
        person: str | None = None,
        with_metadata: bool = False,
    ) -> DirectoryPage:
        """Return a page of the conversations for which everything that is passed holds, in order of time.

            page = conversations.list(account="user-17", status="ended")
            page = conversations.list(account="user-17", status="ended", after=page.after)  # unless it is None

        The directory follows the log; it is brought up to date first. A page takes as long in a large store as in a
        small one.

        Args:
            account: the pseudonym of the user.
            arm: the arm of an experiment.
            model: the model that answers on the root branch.
            status: `active` while a branch of the conversation is, `ended` when all have ended.
            since, until: bounds of the time that `by` names, since <= time < until: with a zone, ISO 8601 if text.
            by: what orders the list: when a conversation was `started`, or its `last_turn`.
            order: the `newest` or the `oldest` first.
            after: where the page before left off.
            limit: how many rows, 1 to 1,000.
            person: in place of the account: what your application calls the user.
            with_metadata: whether the page has the titles and tags of its conversations.

        Raises:
            ValueError: an argument is out of range; it names which.
            SealBroken: kept metadata is not what was sealed.
        """
        query = checked_query(
            account=account, arm=arm, model=model, status=status, since=since, until=until, by=by, order=order,
            after=after, limit=limit,
        )  # fmt: skip
        return conversations_page(self.service, query, person, with_metadata=with_metadata)

    def branch_rows(self) -> Iterator[str]:
        """Yield a row of every branch as JSON, in the order in which the branches began: see `projections.Branch`."""
        if self.service.ports.directory is None:
            raise ValueError("these conversations were opened without a directory")
        return self.service.ports.directory.branches()
