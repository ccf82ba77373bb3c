"""The law as an MCP server, for hosts that can call tools and nothing else. It needs the extra `mcp`.

It is advice, and not a gate: a host may ignore it.
"""

from lastresort.adapters import missing

try:
    from .server import law_server
except ModuleNotFoundError as error:
    missing(error, __name__, "mcp")

__all__ = ["law_server"]
