"""The server: what a model may state, as tools, and what the law says of a conversation.

The application records the turns, for this server sees none. What a tool does is by the model of the conversation. No
tool asks to end in the user's name or confirms it: that is a control of the application, never a model's to press.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import signature
from typing import Any, Literal

from mcp.server.mcpserver import MCPServer

from lastresort.adapters.turns import notes
from lastresort.adapters.turns.tools import END, HARM, HOPELESS, OTHER, REDIRECT, RISK, WARN, declarations
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import Receipt
from lastresort.domain.decider import Refused, harm_of
from lastresort.domain.rules import awaits_proposal
from lastresort.domain.values import About, Ground, Risk, Verdict
from lastresort.projections import audit

INSTRUCTIONS = (
    "Tools by which a model states what it is doing, under rules that let it end a conversation only as a last resort. "
    "`branch` names the conversation; the application says which. Most conversations need none of them."
)


def law_server(conversations: Conversations, *, name: str = "lastresort") -> MCPServer[Any]:
    """Return a server for the conversations of a store. `run()` serves it over stdio.

    Args:
        conversations: of the store in which the application records turns.
        name: what the server calls itself.
    """
    server: MCPServer[Any] = MCPServer(name, instructions=INSTRUCTIONS)
    told = {tool.name: tool.description for tool in declarations(())}
    acts = Acts(conversations)
    for tool, act in (
        (HARM, acts.harm),
        (REDIRECT, acts.redirect),
        (WARN, acts.warn),
        (RISK, acts.risk),
        (HOPELESS, acts.hopeless),
        (END, acts.end),
    ):
        server.add_tool(_in_thread(act), name=tool, description=told[tool])
    for asked in (acts.state, acts.why, acts.audit):
        server.add_tool(_in_thread(asked), name=f"lastresort_{asked.__name__}", description=asked.__doc__)
    return server


class Acts:
    """What the tools do. Each says in words what came of it."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    def _chat(self, branch: str) -> Chat:
        return self._conversations.chat(branch)

    def harm(
        self, branch: str, category: str, severity: Literal[1, 2, 3], risk: Literal["none", "possible", "imminent"]
    ) -> str:
        chat = self._chat(branch)
        known = category if category in chat.state.policy.categories else OTHER
        judged = chat.judge(Verdict.HARMFUL, category=known, severity=severity, risk=Risk(risk), by=chat.model)
        return _came_of(chat, judged)

    def redirect(self, branch: str) -> str:
        chat = self._chat(branch)
        return _came_of(chat, chat.redirect())

    def warn(self, branch: str, names_behaviour: bool, redirects: bool, states_consequence: bool) -> str:
        chat = self._chat(branch)
        warned = chat.warn(
            harm_of(chat.state) or OTHER,
            names_behaviour=names_behaviour,
            redirects=redirects,
            states_consequence=states_consequence,
        )
        return _came_of(chat, warned)

    def risk(self, branch: str, about: Literal["self", "others"]) -> str:
        chat = self._chat(branch)
        chat.raise_risk(About(about), by=chat.model)
        return notes.AT_RISK

    def hopeless(self, branch: str) -> str:
        chat = self._chat(branch)
        return _came_of(chat, chat.declare_hope_exhausted())

    def end(self, branch: str, ground: Literal["last_resort", "user_request"]) -> str:
        chat = self._chat(branch)
        category = (harm_of(chat.state) or OTHER) if ground == "last_resort" else None
        if awaits_proposal(chat.why(Ground(ground), category)):
            proposed = chat.propose(Ground(ground))
            return notes.PROPOSED if isinstance(proposed, Receipt) else _came_of(chat, proposed)
        ended = chat.end(Ground(ground), category=category)
        return "Ended. Say nothing more in this conversation." if isinstance(ended, Receipt) else _came_of(chat, ended)

    def state(self, branch: str) -> dict[str, Any]:
        """Say how a conversation stands: whether it has ended, whether anybody is at risk, what counts so far."""
        state = self._conversations.state(branch)
        return {
            "ended": state.ended is not None,
            "held": bool(state.risks),
            "redirections_failed": state.now.failed,
            "redirections_needed": state.governing.min_failed_redirections,
            "warnings": [warning.category for warning in state.now.warnings],
            "version": state.version,
        }

    def why(
        self, branch: str, ground: Literal["last_resort", "user_request"] = "last_resort", category: str | None = None
    ) -> list[str]:
        """Say what stands in the way of an ending now, rule by rule; nothing, if it would be lawful."""
        return [str(broken) for broken in self._chat(branch).why(Ground(ground), category)]

    def audit(self, branch: str) -> list[str]:
        """Audit the log, and return what was found in this conversation and its branches; nothing, if it is lawful."""
        report, tree = audit(self._conversations.store.log()), self._conversations.tree(branch)
        return [f"{found.branch} {found.version}: {found}" for found in report.findings if found.branch in tree]


def _came_of(chat: Chat, outcome: Receipt | Refused) -> str:
    state = chat.refresh()
    return notes.refused(outcome, state) if isinstance(outcome, Refused) else notes.standing(state)


def _in_thread(act: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a tool that does not block the server while the store does."""

    @wraps(act)
    async def tool(**given: Any) -> Any:
        return await asyncio.to_thread(act, **given)

    tool.__signature__ = signature(act)  # type: ignore[attr-defined]  # the SDK reads it
    return tool
