"""The Claude Agent SDK: its clients under the law, by hooks. It needs the extra `claude-agent`."""

from lastresort.adapters import missing

try:
    from .session import AgentFailed, LastResort
except ModuleNotFoundError as error:
    missing(error, __name__, "claude-agent")

__all__ = ["AgentFailed", "LastResort"]
