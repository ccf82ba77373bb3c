"""Claude under the law of last resort, through the official `anthropic` SDK.

The model states by tools what it is doing, and may ask for anything; what the law does not allow does not happen. How
that goes is in docs/reference/claude.md, what it can and cannot promise in docs/explanation/promises.md.
"""

from lastresort.adapters import missing

try:
    from lastresort.adapters.assessors.claude import AsyncClaudeAssessor, ClaudeAssessor, NoOpinion
    from lastresort.adapters.turns.assessor import Assessor, AsyncAssessor, Case, Opinion
    from lastresort.adapters.turns.replies import Ended, Outcome, Overtaken, Pending, Reply, ToolCall

    from .client import AsyncClaude, Claude
    from .leaving_out import Full
    from .setup import SetupChanged
    from .streams import AsyncStream, Stream
    from .turn import Interrupted
except ModuleNotFoundError as error:
    missing(error, __name__, "claude")

__all__ = [
    "Assessor",
    "AsyncAssessor",
    "AsyncClaude",
    "AsyncClaudeAssessor",
    "AsyncStream",
    "Case",
    "Claude",
    "ClaudeAssessor",
    "Ended",
    "Full",
    "Interrupted",
    "NoOpinion",
    "Opinion",
    "Outcome",
    "Overtaken",
    "Pending",
    "Reply",
    "SetupChanged",
    "Stream",
    "ToolCall",
]
