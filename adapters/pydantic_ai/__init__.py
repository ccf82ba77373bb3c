"""pydantic-ai: agents under the law, by a capability. It needs the extra `pydantic-ai`."""

from lastresort.adapters import missing

try:
    from .capability import ConversationOver, LastResort, shown
except ModuleNotFoundError as error:
    missing(error, __name__, "pydantic-ai")

__all__ = ["ConversationOver", "LastResort", "shown"]
