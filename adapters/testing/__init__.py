"""The kit: the instruments that prove this project, for an embedder's own code. It needs `lastresort[testing]`."""

from .lawful import Unlawful, as_text, assert_lawful
from .machine import ConversationMachine

__all__ = ["ConversationMachine", "Unlawful", "as_text", "assert_lawful"]
