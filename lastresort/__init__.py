"""The law of last resort: a conversation state machine that lets a model end an abusive conversation only as a last
resort, and can prove it.

>>> import lastresort
>>> conversations = lastresort.open_conversations("memory:")
>>> chat = conversations.start(model="claude-opus-4-1")
>>> chat.user_turn("Hello.").version
2

The rest is in rooms of their own: `lastresort.domain` (the law), `lastresort.application` (what carries it out),
`lastresort.projections` (views of the log) and `lastresort.adapters` (stores, Claude, the command line, the test kit).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lastresort.adapters.asyncio import AsyncChat, AsyncConversations, open_async_conversations
    from lastresort.adapters.opening import open_conversations
    from lastresort.application.accounts import AccountErasure, AccountHold, ExportedConversation
    from lastresort.application.arguments import NotAllowed, Principal, as_actor
    from lastresort.application.chat import Chat
    from lastresort.application.conversations import Conversations
    from lastresort.application.directory import ConversationRow, DirectoryPage, HoldPage, HoldRow, Metadata
    from lastresort.application.erasing import Retention
    from lastresort.application.experiments import Arm, Experiment
    from lastresort.application.outcomes import (
        BranchEnded,
        BranchRow,
        CommandIdReused,
        Contention,
        Page,
        Receipt,
        UnknownBranch,
        UnknownTurn,
    )
    from lastresort.application.ports import StoreClosed, StoreError
    from lastresort.application.transcript import TranscriptPage, TranscriptTurn
    from lastresort.domain.decider import Acceptance, Refused, decide, in_the_way
    from lastresort.domain.events import EVENTS, Event, RecordedEvent
    from lastresort.domain.law import RULES, Broken, Missing, Rule, broken_by, broken_rules
    from lastresort.domain.policy import PROFILES, Policy, PolicyError
    from lastresort.domain.state import Conversation, evolve, fold
    from lastresort.domain.values import (
        About,
        Actor,
        ActorKind,
        AppealOutcome,
        ErasureCause,
        ForkCause,
        Ground,
        HoldReason,
        Mode,
        Rating,
        Risk,
        Verdict,
    )

__version__ = "0.1.0"

_HOMES = {
    "adapters.asyncio": ("AsyncChat", "AsyncConversations", "open_async_conversations"),
    "adapters.opening": ("open_conversations",),
    "application.accounts": ("AccountErasure", "AccountHold", "ExportedConversation"),
    "application.erasing": ("Retention",),
    "application.arguments": ("NotAllowed", "Principal", "as_actor"),
    "application.chat": ("Chat",),
    "application.conversations": ("Conversations",),
    "application.directory": ("ConversationRow", "DirectoryPage", "HoldPage", "HoldRow", "Metadata"),
    "application.experiments": ("Arm", "Experiment"),
    "application.outcomes": (
        "BranchEnded", "CommandIdReused", "Receipt", "Contention", "BranchRow", "Page", "UnknownBranch",
        "UnknownTurn",
    ),
    "application.ports": ("StoreClosed", "StoreError"),
    "application.transcript": ("TranscriptPage", "TranscriptTurn"),
    "domain.decider": ("Acceptance", "Refused", "decide", "in_the_way"),
    "domain.events": ("EVENTS", "Event", "RecordedEvent"),
    "domain.law": ("RULES", "Broken", "Missing", "Rule", "broken_by", "broken_rules"),
    "domain.policy": ("PROFILES", "Policy", "PolicyError"),
    "domain.state": ("Conversation", "evolve", "fold"),
    "domain.values": (
        "About", "Actor", "ActorKind", "AppealOutcome", "ErasureCause", "ForkCause", "Ground", "HoldReason", "Mode",
        "Rating", "Risk", "Verdict",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_HIDDEN = (
    "in a clone, its folder lastresort/ hides the package that is installed: run Python in another folder, or install "
    "the clone by pip install -e '.[cli]'"
)

__all__ = [
    "EVENTS",
    "PROFILES",
    "RULES",
    "About",
    "Acceptance",
    "AccountErasure",
    "AccountHold",
    "Actor",
    "ActorKind",
    "AppealOutcome",
    "Arm",
    "AsyncChat",
    "AsyncConversations",
    "BranchEnded",
    "BranchRow",
    "Broken",
    "Chat",
    "CommandIdReused",
    "Contention",
    "Conversation",
    "ConversationRow",
    "Conversations",
    "DirectoryPage",
    "ErasureCause",
    "Event",
    "Experiment",
    "ExportedConversation",
    "ForkCause",
    "Ground",
    "HoldPage",
    "HoldReason",
    "HoldRow",
    "Metadata",
    "Missing",
    "Mode",
    "NotAllowed",
    "Page",
    "Policy",
    "PolicyError",
    "Principal",
    "Rating",
    "Receipt",
    "RecordedEvent",
    "Refused",
    "Retention",
    "Risk",
    "Rule",
    "StoreClosed",
    "StoreError",
    "TranscriptPage",
    "TranscriptTurn",
    "UnknownBranch",
    "UnknownTurn",
    "Verdict",
    "__version__",
    "as_actor",
    "broken_by",
    "broken_rules",
    "decide",
    "evolve",
    "fold",
    "in_the_way",
    "open_async_conversations",
    "open_conversations",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import lastresort` is quick and the core is enough."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name == f"{__name__}.{home.partition('.')[0]}":
            raise ModuleNotFoundError(_HIDDEN, name=error.name) from None
        from lastresort.adapters import missing

        missing(error, f"lastresort.{name}", "store")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
