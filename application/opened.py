"""What is open behind `Conversations`: one store with its service, or several, each with one of its own."""

from typing import TYPE_CHECKING, Self, cast

from .ports import EventStore, StoreError
from .service import Service
from .words import Annotator

if TYPE_CHECKING:
    from .conversations import Conversations


class Opened:
    """An open store, or several of them: see `sharded`.

    Attributes:
        whole: all that was opened together; itself, but for one store of several.
    """

    whole: "Conversations"

    def __init__(self, service: Service | None) -> None:
        self._service = service
        self.whole = cast("Conversations", self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def service(self) -> Service:
        """The low-level door, for adapters: carries out any command on any branch, and holds the ports.

        Raises:
            StoreError: the conversations lie in several stores.
        """
        if self._service is None:
            raise StoreError("this needs the conversations of one store, and these lie in several; name one of them")
        return self._service

    @property
    def store(self) -> EventStore:
        """The log, for what reads it: an audit, an export, a view. What is appended here is not asked of the law."""
        return self.service.ports.store

    @property
    def parts(self) -> "tuple[Conversations, ...]":
        """The conversations of each store; itself, if there is one. The first has the pseudonyms of people."""
        return (cast("Conversations", self),)

    @property
    def annotator(self) -> Annotator:
        """What knows whom the accounts stand for."""
        return self.service.annotator

    def of(self, branch: str) -> "Conversations":
        """Return the conversations of the store in which a branch lies: itself, if there is one store.

        Raises:
            UnknownBranch: there are several, and none has it.
        """
        return cast("Conversations", self)

    def new_id(self) -> str:
        """Return an id that nobody has used."""
        return self.service.ports.new_id()

    def close(self) -> None:
        """Release the stores and their vaults. Whatever is called later raises `StoreClosed`."""
        self.service.close()
