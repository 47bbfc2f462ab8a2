"""AG-UI streams to compare verdicts on: legal ones, and the same after something went wrong on the way."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from hypothesis import strategies as st

Event = dict[str, Any]


def run(*inner: Event, end: Event | None = None) -> list[Event]:
    finish = end or {"type": "RUN_FINISHED", "threadId": "t", "runId": "r1"}
    return [{"type": "RUN_STARTED", "threadId": "t", "runId": "r1"}, *inner, finish]


def text(key: str = "m1", **tag: str) -> list[Event]:
    return [
        {"type": "TEXT_MESSAGE_START", "messageId": key, "role": "assistant", **tag},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": key, "delta": "words"},
        {"type": "TEXT_MESSAGE_END", "messageId": key},
    ]


def tool(key: str = "c1", *, result: bool = True) -> list[Event]:
    events: list[Event] = [
        {"type": "TOOL_CALL_START", "toolCallId": key, "toolCallName": "search"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": key, "delta": "{}"},
        {"type": "TOOL_CALL_END", "toolCallId": key},
    ]
    return [*events, tool_result(key)] if result else events


def tool_result(key: str = "c1") -> Event:
    return {"type": "TOOL_CALL_RESULT", "messageId": f"result-{key}", "toolCallId": key, "content": "42"}


def encrypted(subtype: str, key: str) -> Event:
    return {"type": "REASONING_ENCRYPTED_VALUE", "subtype": subtype, "entityId": key, "encryptedValue": "x"}


tags = st.sampled_from([{}, {}, {"subagentRunId": "s1"}])
KINDS = ("text", "tool", "step", "reasoning", "subagent", "call of a message", "activity", "free")
KEYS = ("messageId", "toolCallId", "stepName", "runId", "entityId", "parentMessageId", "parentSubagentRunId")


@st.composite
def brackets(draw: st.DrawFn, fresh: Iterator[int]) -> list[Event]:
    """Something that opens, goes on and closes, under an id of its own."""
    tag = draw(tags)
    key = next(fresh)
    kind = draw(st.sampled_from(KINDS))
    if kind == "text":
        middle = draw(st.integers(0, 2))
        opened, content, closed = text(f"m-{key}")
        return [opened | tag, *[content | draw(st.sampled_from([{}, tag]))] * middle, closed]
    if kind == "tool":
        events = tool(f"c-{key}", result=draw(st.booleans()))
        return [events[0] | tag, *events[1:]]
    if kind == "step":
        name = {"stepName": f"step-{key}"} | tag
        return [{"type": "STEP_STARTED"} | name, *draw(st.just([]) | brackets(fresh)), {"type": "STEP_FINISHED"} | name]
    if kind == "reasoning":
        span = {"messageId": f"span-{key}"}
        message = draw(st.sampled_from([span, {"messageId": f"thought-{key}"}]))
        return [
            {"type": "REASONING_START"} | span | tag,
            {"type": "REASONING_MESSAGE_START", "role": "reasoning"} | message | tag,
            {"type": "REASONING_MESSAGE_CONTENT", "delta": "hm"} | message,
            {"type": "REASONING_MESSAGE_END"} | message,
            {"type": "REASONING_END"} | span,
            encrypted("message", message["messageId"]) | draw(st.sampled_from([{}, tag])),
        ]
    if kind == "call of a message":
        owning, call = f"m-{key}", tool(f"c-{key}", result=draw(st.booleans()))
        inherited = draw(st.sampled_from([{}, tag]))
        opened, content, closed = text(owning)
        return [
            opened | tag,
            content,
            closed,
            call[0] | {"parentMessageId": owning} | draw(st.sampled_from([{}, tag])),
            *[event | inherited if event["type"] != "TOOL_CALL_RESULT" else event for event in call[1:]],
            encrypted("tool-call", f"c-{key}") | inherited,
            encrypted("message", owning) | inherited,
        ]
    if kind == "activity":
        activity: Event = {"messageId": f"activity-{key}", "activityType": "PLAN"}
        other = draw(tags)
        kept = {"type": "ACTIVITY_SNAPSHOT", "content": {}, "replace": False} | activity | other
        return [
            {"type": "ACTIVITY_SNAPSHOT", "content": {}} | activity | tag,
            *draw(st.sampled_from([[], [kept]])),
            {"type": "ACTIVITY_DELTA", "patch": []} | activity | draw(st.sampled_from([{}, tag])),
            {"type": "ACTIVITY_SNAPSHOT", "content": {}} | activity | other,
            {"type": "ACTIVITY_DELTA", "patch": []} | activity | other,
        ]
    if kind == "subagent":
        who = {"subagentRunId": f"agent-{key}"}
        end = draw(st.sampled_from([{"type": "SUBAGENT_FINISHED"}, {"type": "SUBAGENT_ERROR", "message": "no"}]))
        child = {"parentSubagentRunId": who["subagentRunId"]} | {"subagentRunId": f"agent-{next(fresh)}"}
        inner = draw(st.just([]) | brackets(fresh))
        nested = [
            {"type": "SUBAGENT_STARTED", "name": "helper"} | child,
            *inner,
            end | {"subagentRunId": child["subagentRunId"]},
        ]
        return [
            {"type": "SUBAGENT_STARTED", "name": "helper"} | who,
            *draw(st.sampled_from([inner, nested])),
            end | who,
        ]
    return [
        draw(st.sampled_from([{"type": "CUSTOM", "name": "n", "value": 1}, {"type": "STATE_SNAPSHOT", "snapshot": {}}]))
    ]


@st.composite
def legal_streams(draw: st.DrawFn) -> list[Event]:
    """Runs one after the other, each of them in order."""
    events: list[Event] = []
    for number in range(draw(st.integers(1, 2))):
        names = {"threadId": "t", "runId": f"r{number}"}
        # A call that has its result is over for good, so calls of the next run have other ids.
        fresh = count(number * 100)
        inner = [event for bracket in draw(st.lists(brackets(fresh), max_size=4)) for event in bracket]
        events.append({"type": "RUN_STARTED"} | names)
        if draw(st.integers(0, 3)):
            events += [*inner, {"type": "RUN_FINISHED"} | names]
        else:
            events += [*inner[: draw(st.integers(0, len(inner)))], {"type": "RUN_ERROR", "message": "no"}]
    moments = draw(st.booleans())
    return [event | {"timestamp": 1000 + place} if moments else event for place, event in enumerate(events)]


@st.composite
def mutated_streams(draw: st.DrawFn) -> list[Event]:
    """Legal streams in which something went wrong on the way."""
    events = list(draw(legal_streams()))
    for _ in range(draw(st.integers(1, 3))):
        if not events:
            break
        place = draw(st.integers(0, len(events) - 1))
        how = draw(st.sampled_from(["drop", "repeat", "swap", "cut", "move", "key", "tag", "time"]))
        if how in ("key", "tag", "time"):
            events[place] = altered(draw, events[place], how)
        else:
            displace(draw, events, place, how)
    return events


def displace(draw: st.DrawFn, events: list[Event], place: int, how: str) -> None:
    if how == "drop":
        del events[place]
    elif how == "repeat":
        events.insert(place, events[place])
    elif how == "swap" and place:
        events[place - 1], events[place] = events[place], events[place - 1]
    elif how == "cut":
        del events[place:]
    elif how == "move":
        events.insert(draw(st.integers(0, len(events) - 1)), events.pop(place))


def altered(draw: st.DrawFn, event: Event, how: str) -> Event:
    fields = [name for name in KEYS if name in event]
    if how == "key" and fields:
        field = draw(st.sampled_from(fields))
        return event | {field: event[field][:-1] + draw(st.sampled_from("012"))}
    if how == "tag":
        return event | {"subagentRunId": draw(st.sampled_from(["s1", "s2"]))}
    return event | {"timestamp": 5} if how == "time" and "timestamp" in event else event
