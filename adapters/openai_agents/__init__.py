"""The OpenAI Agents SDK: runs under the law. It needs the extra `openai-agents`."""

from lastresort.adapters import missing

try:
    from .runs import GuardedStream, guarded_run, guarded_stream, law_tools
    from .sessions import ClosedSession, GuardedSession
except ModuleNotFoundError as error:
    missing(error, __name__, "openai-agents")

__all__ = ["ClosedSession", "GuardedSession", "GuardedStream", "guarded_run", "guarded_stream", "law_tools"]
