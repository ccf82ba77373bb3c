"""A guardrail of LiteLLM's proxy, for chat completions. The proxy calls `async_pre_call_hook` before it asks the model,
and one of the others with what the model said.

A client of the proxy knows nothing of our tools, so their calls are answered here: the model is asked on until it calls
none of them. A stream is shown once it is whole: only then is it known whether the model called to end.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple

import litellm
from litellm import ModelResponse, ModelResponseStream
from litellm.exceptions import ModifyResponseException
from litellm.integrations.custom_guardrail import CustomGuardrail, get_session_id_from_request_data

from lastresort.adapters.turns.assessor import Assessor
from lastresort.adapters.turns.hosted import OnOutcome, Turn, all_tools, nobody_judges, told
from lastresort.adapters.turns.replies import Outcome
from lastresort.adapters.turns.tools import CALLS, Call, read_input
from lastresort.application.chat import Chat
from lastresort.domain.policy import Policy
from lastresort.domain.turn_text import BETWEEN
from lastresort.domain.values import Usage

_OF_ONE_CALL = frozenset({"litellm_call_id", "litellm_logging_obj"})
_STREAM_HOOK = "async_post_call_streaming_iterator_hook"
COMPLETIONS = ("acompletion", "completion")
OTHER_DOORS = ("aresponses", "responses", "anthropic_messages", "atext_completion", "text_completion")
"""Other requests to which a model answers in words."""


async def asked_on(**request: Any) -> Any:
    """Ask a model as the proxy does: by its router, which knows by their names the models that it is configured with.
    Where no proxy runs, LiteLLM is asked."""
    router = getattr(sys.modules.get("litellm.proxy.proxy_server"), "llm_router", None)
    return await (router or litellm).acompletion(**request)


class _UnderWay(NamedTuple):
    """A turn whose model was asked. `sent` names what the request was made of, before the proxy added its own."""

    turn: Turn
    sent: frozenset[str]


class LastResort(CustomGuardrail):  # type: ignore[misc]  # its types are not read: see pyproject.toml
    """Puts chat completions of a proxy under the law. Its `litellm_session_id` says which chat a request is of.

    If the user asks to end or confirms it by a control of the application, `metadata` has `asks_to_end` or
    `confirms_end`; `sent_as` there is the id of what they say.

    Args:
        chat_of: finds the chat of a session; see `turns.hosted.threads`.
        assessor: gives second opinions. Without one, nothing ends.
        policy: says which categories of harm the tools name.
        complete: asks the model on; the router of the proxy does, if nothing is passed.
        answered_by: says of a response which model answered, where LiteLLM does not: its `model` is the one that was
            asked then.
        on_outcome: is told how each turn went.
        options: those of `CustomGuardrail`.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Have a class that is made of this one its own stream hook: the proxy passes over one that is inherited."""
        super().__init_subclass__(**options)
        if _STREAM_HOOK not in vars(cls):
            setattr(cls, _STREAM_HOOK, getattr(cls, _STREAM_HOOK))

    def __init__(
        self,
        chat_of: Callable[[str], Chat],
        assessor: Assessor = nobody_judges,
        *,
        policy: Policy | None = None,
        complete: Callable[..., Awaitable[Any]] = asked_on,
        answered_by: Callable[[Any], str | None] = lambda response: None,
        on_outcome: OnOutcome = lambda chat, outcome: None,
        **options: Any,
    ) -> None:
        super().__init__(**{"guardrail_name": "lastresort", "default_on": True, **options})
        self._chat_of, self._assessor, self._on_outcome, self._complete = chat_of, assessor, on_outcome, complete
        self._answered_by = answered_by
        self._under_way: dict[str, _UnderWay] = {}
        self._tools = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
            }
            for tool in all_tools(policy)
        ]

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> Any:
        """Record what the user says; give the model our tools.

        Raises:
            ValueError: the request names no session, or is no chat completion and yet has a model answer in words.
            ModifyResponseException: the turn is over; the proxy answers with what it says, with status 200.
        """
        if call_type in OTHER_DOORS:
            raise ValueError("lastresort: only chat completions are under the law here: use /v1/chat/completions")
        if call_type not in COMPLETIONS:
            return data
        if (session := get_session_id_from_request_data(data)) is None:
            raise ValueError("lastresort: the request names no session: pass litellm_session_id")
        turn, asks = await asyncio.to_thread(self._begun, session, data)
        if not asks:
            self._on_outcome(turn.chat, turn.finish())
            raise ModifyResponseException(turn.shown, data["model"], data, self.guardrail_name)
        sent = frozenset({*data, "tools"} - _OF_ONE_CALL)
        self._under_way[data.setdefault("litellm_call_id", turn.new_id())] = _UnderWay(turn, sent)
        noted = [] if turn.note is None else [{"role": "user", "content": turn.note}]
        return data | {"tools": [*self._tools, *(data.get("tools") or [])], "messages": [*data["messages"], *noted]}

    def _begun(self, session: str, data: dict[str, Any]) -> tuple[Turn, bool]:
        """Begin a turn; return it and whether the model is to be asked."""
        turn = Turn(self._chat_of(session), self._assessor)
        _begin(turn, data)
        return turn, turn.ask()

    async def async_post_call_success_hook(self, data: dict[str, Any], user_api_key_dict: Any, response: Any) -> Any:
        """Carry out all calls of each message, ask the model on, and record the answer."""
        under_way = self._under_way.pop(data.get("litellm_call_id", ""), None)
        return response if under_way is None else await self._answered(under_way, data, response)

    async def async_post_call_failure_hook(
        self, request_data: dict[str, Any], original_exception: Any, user_api_key_dict: Any, traceback_str: Any = None
    ) -> None:
        """Forget a turn whose model did not answer. What the user said waits; sent again, it is answered."""
        self._under_way.pop(request_data.get("litellm_call_id", ""), None)

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: Any, request_data: dict[str, Any]
    ) -> AsyncGenerator[ModelResponseStream, None]:
        """The same for a stream: what it comes to is shown in one piece."""
        under_way = self._under_way.pop(request_data.get("litellm_call_id", ""), None)
        pieces = []
        async for piece in response:
            if under_way is None:
                yield piece
            pieces.append(piece)
        if under_way is not None:
            built = litellm.stream_chunk_builder(pieces)
            built.model = _named(pieces) or built.model
            whole = await self._answered(under_way, request_data, built)
            message, choice = whole.choices[0].message, whole.choices[0]
            calls = [{**call.model_dump(), "index": n} for n, call in enumerate(message.tool_calls or [])]
            delta = {"role": "assistant", "content": message.content, "tool_calls": calls or None}
            yield ModelResponseStream(
                id=whole.id,
                model=whole.model,
                choices=[{"index": 0, "delta": delta, "finish_reason": choice.finish_reason}],
            )

    async def _answered(self, under_way: "_UnderWay", data: dict[str, Any], response: ModelResponse) -> ModelResponse:
        turn, sent = under_way
        request = {name: value for name, value in data.items() if name in sent}
        messages = list(data["messages"])
        while True:
            choice: Any = response.choices[0]
            calls = choice.message.tool_calls or []
            ours = [call for call in calls if call.function.name in CALLS]
            model = self._answered_by(response) or response.model
            last = await turn.take_awaited(response.id, choice.message.content or "", **_taken(response, ours, model))
            theirs = [] if last else [call for call in calls if call not in ours]
            if theirs:  # the client runs its tools, and the turn goes on with their results
                choice.message.tool_calls = theirs
                return response
            if not ours or not await asyncio.to_thread(turn.ask):
                break
            results = [{"role": "tool", "tool_call_id": one.id, "content": turn.results[one.id]} for one in ours]
            noted = [] if turn.note is None else [{"role": "user", "content": turn.note}]
            messages += [choice.message.model_dump(exclude_none=True), *results]
            response = await self._complete(**request | {"messages": [*messages, *noted], "stream": False})
        outcome: Outcome = await asyncio.to_thread(turn.finish)
        self._on_outcome(turn.chat, outcome)
        choice.message.tool_calls, choice.message.content, choice.finish_reason = None, told(outcome), "stop"
        return response


def _named(pieces: list[Any]) -> str | None:
    """Return who answered in a stream, as far as LiteLLM says. Its `model` there is the one that was asked."""
    told = (getattr(piece, "_hidden_params", None) or {} for piece in pieces)
    return next((one["provider_response_model"] for one in told if one.get("provider_response_model")), None)


def _begin(turn: Turn, data: dict[str, Any]) -> None:
    said = data["messages"][-1]
    if said["role"] != "user":  # the results of tools, say
        turn.resume()
        return
    content = said["content"]
    words = content if isinstance(content, str) else BETWEEN.join(part["text"] for part in content if part.get("text"))
    turn.begin_with(words, data.get("metadata") or {})


def _taken(response: Any, calls: list[Any], model: str | None) -> dict[str, Any]:
    used = response.usage
    return {
        "calls": [Call(call.id, call.function.name, read_input(call.function.arguments)) for call in calls],
        "model": model,
        "usage": Usage(input_tokens=used.prompt_tokens, output_tokens=used.completion_tokens),
        "stop_reason": response.choices[0].finish_reason,
    }
