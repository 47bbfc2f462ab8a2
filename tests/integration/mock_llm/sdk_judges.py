"""What the installed SDKs make of an answer: their models for each event, their helpers for the whole.

Each judge takes the bytes of a body and returns what is wrong with it, nothing when all is well.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import httpx2
import openai
from openai.lib.streaming.chat import ChatCompletionStream
from openai.lib.streaming.responses import ResponseStream
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter, ValidationError

# The helpers copy what they have so far with every event, so a huge stream would take them minutes.
MAX_HELPED: Final = 512 * 1024
# Reasoning has no field of its own in Chat Completions; these are the names that providers gave it.
DIALECTS: Final = frozenset({"reasoning", "reasoning_content"})
# The union of all events is a type to pydantic and to the SDK's streams, but not to a type checker.
RESPONSE_EVENT: Any = ResponseStreamEvent

Event = tuple[str | None, dict[str, Any]]


def judge_stream(protocol: str, body: bytes, *, finished: bool = True) -> list[str]:
    """What is wrong with a stream; of one that is not finished only the whole events are judged."""
    try:
        return list(_STREAMS[protocol](body, finished))
    except (ValueError, KeyError) as error:
        return [f"the stream cannot be read: {error!r}"]


def judge_whole(protocol: str, body: bytes) -> list[str]:
    """What is wrong with an answer that is not streamed."""
    model = _whole(protocol)
    try:
        found = _adapter(model).validate_json(body, strict=True)
    except ValidationError as error:
        return [f"no {model.__name__}: {error}"]
    return [f"the SDK knows no field {name!r}" for name in _unknown(found)]


def _chat(body: bytes, finished: bool) -> Iterator[str]:
    events, done = _events(body, finished)
    yield from _each(ChatCompletionChunk, events)
    choices = [choice for _, event in events for choice in event.get("choices") or ()]
    for index in {choice.get("index") for choice in choices}:
        mine = [choice for choice in choices if choice.get("index") == index]
        roles = [choice["delta"].get("role") for choice in mine if "role" in choice["delta"]]
        if roles != ["assistant"] or "role" not in mine[0]["delta"]:
            yield f"choice {index}: the role comes once, first, as assistant; here {roles}"
        reasons = [choice.get("finish_reason") for choice in mine if choice.get("finish_reason")]
        if finished and (len(reasons) != 1 or not mine[-1].get("finish_reason")):
            yield f"choice {index}: one finish_reason, in its last chunk; here {reasons}"
    if not finished:
        return
    if not done:
        yield "the stream ends without [DONE]"
    yield from _chat_usage([event for _, event in events])
    stream: Any = openai.Stream(cast_to=ChatCompletionChunk, response=_response(body), client=_openai())
    yield from _helped(body, lambda: _chat_helper(ChatCompletionStream(
        raw_stream=stream, response_format=openai.omit, input_tools=openai.omit
    )))  # fmt: skip


def _chat_usage(events: list[dict[str, Any]]) -> Iterator[str]:
    with_usage = [event for event in events if event.get("usage") is not None]
    if not with_usage:
        return
    if with_usage != events[-1:] or events[-1]["choices"]:
        yield "usage comes once, in a last chunk without choices"
    if any("usage" not in event for event in events):
        yield "with usage to come, every other chunk says usage null"


def _chat_helper(stream: Any) -> Iterator[str]:
    try:
        completion = stream.get_final_completion()
    except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
        return
    for choice in completion.choices:
        if choice.message.role != "assistant":
            yield f"the helper reads the role {choice.message.role!r}"
        for call in choice.message.tool_calls or ():
            if not (call.id and call.function.name):
                yield "the helper reads a tool call without id or name"


def _responses(body: bytes, finished: bool) -> Iterator[str]:
    events, _ = _events(body, finished)
    yield from _each(RESPONSE_EVENT, events)
    yield from _named(events)
    numbers = [event.get("sequence_number") for _, event in events]
    if numbers != list(range(len(events))):
        yield f"sequence numbers with a gap: {numbers}"
    names = [event.get("type") for _, event in events]
    if names[:1] != ["response.created"][: len(names)]:
        yield f"begins with {names[0]}"
    if not finished:
        return
    if names[-1] not in ("response.completed", "response.incomplete"):
        yield f"ends with {names[-1]}"
    stream: Any = openai.Stream(cast_to=RESPONSE_EVENT, response=_response(body), client=_openai())
    yield from _helped(body, lambda: _responses_helper(ResponseStream(
        raw_stream=stream, text_format=openai.omit, input_tools=openai.omit, starting_after=None
    ), events[-1][1]["response"]))  # fmt: skip


def _responses_helper(stream: Any, last: dict[str, Any]) -> Iterator[str]:
    if last.get("status") == "completed" and stream.get_final_response().to_dict().get("output") is None:
        yield "the helper reads no output"
    else:
        for _ in stream:
            pass


def _messages(body: bytes, finished: bool) -> Iterator[str]:
    # Here and not above: most tests emit nothing in this protocol, and its SDK takes a second to import.
    import anthropic
    from anthropic.lib.streaming import MessageStream
    from anthropic.types import RawMessageStreamEvent

    model: Any = RawMessageStreamEvent
    events, _ = _events(body, finished)
    # A ping is on the wire and in the SDK's decoder, but it is no event of its models.
    yield from _each(model, [event for event in events if event[1] != {"type": "ping"}])
    yield from _named(events)
    names = [event.get("type") for _, event in events]
    if names[:1] != ["message_start"][: len(names)]:
        yield f"begins with {names[0]}"
    if not finished:
        return
    if names[-2:] != ["message_delta", "message_stop"]:
        yield f"ends with {names[-2:]}"
    if names.count("content_block_start") != names.count("content_block_stop"):
        yield "a block that starts does not stop"
    client = anthropic.Anthropic(api_key="k", base_url="http://mock")
    stream: Any = anthropic.Stream(cast_to=model, response=_response(body), client=client)
    yield from _helped(body, lambda: _messages_helper(MessageStream(stream, anthropic.NOT_GIVEN)))


def _messages_helper(stream: Any) -> Iterator[str]:
    message = stream.get_final_message()
    if message.role != "assistant" or message.stop_reason is None:
        yield f"the helper reads role {message.role!r}, stop_reason {message.stop_reason!r}"


_STREAMS: Final[dict[str, Callable[[bytes, bool], Iterator[str]]]] = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
}
_WHOLE: Final[dict[str, Any]] = {"chat": ChatCompletion, "responses": Response, "embeddings": CreateEmbeddingResponse}


def _whole(protocol: str) -> Any:
    if protocol == "messages":
        from anthropic.types import Message

        return Message
    return _WHOLE[protocol]


def _events(body: bytes, finished: bool) -> tuple[list[Event], bool]:
    """The events as name and data, and whether `[DONE]` ended them."""
    *blocks, rest = body.decode("utf-8", "strict" if finished else "replace").split("\n\n")
    if finished and rest:
        raise ValueError(f"ends in the middle of an event: {rest[:80]}")
    found: list[Event] = []
    done = False
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        if done or not set(fields) <= {"event", "data"}:
            raise ValueError(f"an event out of place: {block[:80]}")
        if fields["data"] == "[DONE]":
            done = True
        else:
            found.append((fields.get("event"), json.loads(fields["data"])))
    return found, done


def _each(model: Any, events: list[Event]) -> Iterator[str]:
    for _, event in events:
        try:
            found = _adapter(model).validate_json(json.dumps(event), strict=True)
        except ValidationError as error:
            yield f"no event that the SDK knows: {json.dumps(event)[:200]}: {error}"
        else:
            yield from (f"the SDK knows no field {name!r}" for name in _unknown(found))


def _named(events: list[Event]) -> Iterator[str]:
    for name, event in events:
        if name != event.get("type"):
            yield f"the line `event: {name}` stands above the type {event.get('type')!r}"


def _unknown(found: Any) -> Iterator[str]:
    if isinstance(found, BaseModel):
        yield from (name for name in found.model_extra or () if name not in DIALECTS)
        for name in type(found).model_fields:
            yield from _unknown(getattr(found, name))
    elif isinstance(found, list | tuple):
        for each in found:
            yield from _unknown(each)


def _helped(body: bytes, read: Callable[[], Iterator[str]]) -> Iterator[str]:
    if len(body) > MAX_HELPED:
        return
    try:
        yield from read()
    except Exception as error:  # noqa: BLE001  whatever the helper raises is a finding
        yield f"the helper raises {type(error).__name__}: {error}"


def _response(body: bytes) -> httpx2.Response:
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    return httpx2.Response(200, headers=headers, content=body, request=httpx2.Request("POST", "http://mock/v1"))


@cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


@cache
def _openai() -> openai.OpenAI:
    return openai.OpenAI(api_key="k", base_url="http://mock/v1")
