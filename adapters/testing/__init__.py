"""The kit: the instruments that prove this project, for an embedder's own code. It needs the extra `testing`."""

from lastresort.adapters import missing

try:
    from .given import given
    from .hosts import HOST_CHECKS, Host, check_host
    from .lawful import Unlawful, as_text, assert_lawful
    from .machine import ConversationMachine
    from .stores import STORE_CHECKS, check_store
    from .strategies import commands, in_memory, lawful_histories, policies, trees, unlawful_histories
except ModuleNotFoundError as error:
    missing(error, __name__, "testing")

__all__ = [
    "HOST_CHECKS",
    "STORE_CHECKS",
    "ConversationMachine",
    "Host",
    "Unlawful",
    "as_text",
    "assert_lawful",
    "check_host",
    "check_store",
    "commands",
    "given",
    "in_memory",
    "lawful_histories",
    "policies",
    "trees",
    "unlawful_histories",
]
