"""The names under which things are told: those of OpenTelemetry's conventions for GenAI, and our own.

The conventions are in `open-telemetry/semantic-conventions-genai`, status Development, as of November 2026 (schema
1.44). Python's constants of them are marked deprecated, so they are written out here, and nowhere else.
"""

GENAI_VERSION = "1.44.0"
EVALUATION_RESULT = "gen_ai.evaluation.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"
EVALUATION_VALUE = "gen_ai.evaluation.score.value"
CONVERSATION = "gen_ai.conversation.id"
MODEL = "gen_ai.response.model"

SCOPE = "lastresort"
BRANCH = "lastresort.branch"
VERSION = "lastresort.version"
COMMAND = "lastresort.command"
OUTCOME = "lastresort.outcome"
VERDICT, RISK = "lastresort.verdict", "lastresort.risk"

TURN, ASSESS, COMMIT = "lastresort.turn", "lastresort.assess", "lastresort.commit"
"""Spans, and with `.duration` histograms, in seconds."""

EVENTS = "lastresort.events"
REFUSALS = "lastresort.refusals"
ENDINGS = "lastresort.endings"
CONFLICTS = "lastresort.conflicts"
SECOND_OPINIONS = "lastresort.second_opinions"
OPEN_HOLDS = "lastresort.holds.open"
LAG = "lastresort.follower.lag"
QUEUE = "lastresort.queue.waiting"
COMMITS_WAITING = "lastresort.commit.waiting"
AUDITED_AT = "lastresort.audit.time"
AUDIT_FINDINGS = "lastresort.audit.findings"
DROPPED = "lastresort.telemetry.dropped"

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds of the buckets of a histogram."""
