"""Carries the law out: reads a branch, decides, appends; and the handles that an embedder holds.

It knows the store, the vault and the clock by the ports in `ports` alone.
"""

from .chat import Chat
from .conversations import Conversations
from .outcomes import BranchEnded, BranchRow, CommandIdReused, Contention, Page, Receipt, UnknownBranch

__all__ = [
    "BranchEnded",
    "BranchRow",
    "Chat",
    "CommandIdReused",
    "Contention",
    "Conversations",
    "Page",
    "Receipt",
    "UnknownBranch",
]
