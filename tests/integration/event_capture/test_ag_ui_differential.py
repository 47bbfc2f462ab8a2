"""Our AG-UI contract beside `verifyEvents` of @ag-ui/client 1.0.0, over generated streams, legal and broken.

Where the two disagree it is for one of the reasons in OURS_ONLY, each of which has a test of its own below: streams
that verifyEvents lets pass and that are broken. There is no stream that only verifyEvents refuses.

Shapes of payloads (`null` where a field should be absent, outcomes, names of subagents) are for `ag_ui_strict`. Left
out of the comparison: whose a message is by a MESSAGES_SNAPSHOT or by the input of RUN_STARTED. After such a snapshot
our contract takes every owner for unknown, where verifyEvents takes what the snapshot says.

`python -m integration.event_capture.test_ag_ui_differential 5000` compares more streams and prints the table.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from event_capture.checker import Checker, Violation
from event_capture.contract import Contract, load_contract
from event_capture.records import Kind, Record
from integration.event_capture.ag_ui_node import VerifyEvents, verify_events
from integration.event_capture.ag_ui_streams import (
    Event,
    encrypted,
    legal_streams,
    mutated_streams,
    run,
    text,
    tool,
    tool_result,
)

CONTRACT = load_contract("ag_ui")
STRICT = load_contract("ag_ui_strict")
OURS_ONLY = {
    "wrong-last-event": "the stream ends without RUN_FINISHED or RUN_ERROR",
    "unclosed-pair": "the stream ends with something open",
    "value-changed": "a run finishes under another run id or thread id than it began with",
    "unknown-reference": "a tool result names a call that never was",
    "repeated-reference": "a call gets two results",
    "not-monotonic": "a timestamp goes back",
}
"""Codes of violations that verifyEvents does not look for."""


S1, S2 = {"subagentRunId": "s1"}, {"subagentRunId": "s2"}
PARENT = {"parentMessageId": "m1"}
ACTIVITY: Event = {"type": "ACTIVITY_SNAPSHOT", "messageId": "a1", "activityType": "PLAN", "content": {}}
DELTA: Event = {"type": "ACTIVITY_DELTA", "messageId": "a1", "activityType": "PLAN", "patch": []}
SNAPSHOT: Event = {"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "m1", "role": "assistant"} | S2]}
SUBAGENT: Event = {"type": "SUBAGENT_STARTED", "name": "helper"} | S1
SUBAGENT_END: Event = {"type": "SUBAGENT_FINISHED"} | S1


def thought(part: str = "") -> Event:
    return {"type": f"REASONING{part}_START", "messageId": "r1", "role": "reasoning"}


def thoughts_end() -> list[Event]:
    return [{"type": "REASONING_MESSAGE_END", "messageId": "r1"}, {"type": "REASONING_END", "messageId": "r1"}]


@pytest.fixture(scope="module")
def node() -> Iterator[VerifyEvents]:
    with verify_events() as verifying:
        yield verifying


def violations_in(events: list[Event], contract: Contract = CONTRACT) -> list[Violation]:
    """What our contract says of a stream that was seen to its end."""
    checker = Checker(contract)
    checker.feed(Record(monotonic_ns=0, wall_ns=0, connection="c", kind=Kind.OPEN))
    for number, event in enumerate(events, 1):
        checker.feed(Record(monotonic_ns=number, wall_ns=number, connection="c", data=event))
    checker.feed(Record(monotonic_ns=len(events) + 1, wall_ns=0, connection="c", kind=Kind.CLOSE, data={"code": 1000}))
    return list(checker.finish(complete=True).violations)


def test_a_whole_run_passes_on_both_sides(node: VerifyEvents) -> None:
    events = run(*text(), *tool())
    assert node(events).ok
    assert violations_in(events) == []


@pytest.mark.parametrize(
    ("events", "code"),
    [
        pytest.param(run(*text())[:-1], "wrong-last-event", id="cut before its end"),
        pytest.param(run(*text())[:3], "unclosed-pair", id="cut within a message"),
        pytest.param(
            run(end={"type": "RUN_FINISHED", "threadId": "t", "runId": "other"}), "value-changed", id="another run id"
        ),
        pytest.param(
            run(end={"type": "RUN_FINISHED", "threadId": "other", "runId": "r1"}), "value-changed", id="another thread"
        ),
        pytest.param(run(tool_result("nobody")), "unknown-reference", id="result for an unknown call"),
        pytest.param(run(*tool(), tool_result()), "repeated-reference", id="two results for one call"),
        pytest.param(
            [event | {"timestamp": 1000 - place} for place, event in enumerate(run(*text()))],
            "not-monotonic",
            id="timestamps going back",
        ),
    ],
)
def test_broken_streams_that_only_our_contract_refuses(node: VerifyEvents, events: list[Event], code: str) -> None:
    assert node(events).ok
    found = [violation.code for violation in violations_in(events)]
    assert code in found
    assert set(found) <= set(OURS_ONLY)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(text(), id="no start"),
        pytest.param([*run(), *text()], id="after the end"),
        pytest.param(run(*text()[1:]), id="content without start"),
        pytest.param(run(*text()[:2]), id="message left open"),
        pytest.param(run(*text()[:1], *text()), id="message opened twice"),
        pytest.param(run(*tool()[1:]), id="arguments without start"),
        pytest.param(run({"type": "STEP_STARTED", "stepName": "plan"}), id="step left open"),
        pytest.param(run({"type": "STEP_FINISHED", "stepName": "plan"}), id="step never begun"),
        pytest.param(run({"type": "RUN_STARTED", "threadId": "t", "runId": "r1"}), id="started twice"),
        pytest.param([*run(end={"type": "RUN_ERROR", "message": "no"}), *text()], id="after an error"),
        pytest.param(run(*text()[:2], text(subagentRunId="s1")[2] | {"subagentRunId": "s1"}), id="changed hands"),
        pytest.param(
            run(*text(**S1), tool(result=False)[0] | PARENT | S2, *tool()[1:]), id="call in another's message"
        ),
        pytest.param(
            run(*text(**S1), tool()[0] | PARENT, tool()[1] | S2, *tool()[2:]), id="call inherits from its message"
        ),
        pytest.param(run(thought() | S1, thought("_MESSAGE") | S2, *thoughts_end()), id="a span and its message"),
        pytest.param(
            run(ACTIVITY | S1, ACTIVITY | S2 | {"replace": False}, DELTA | S2), id="activity kept, not replaced"
        ),
        pytest.param(run(*tool(), encrypted("tool-call", "c1") | S2), id="encrypted value for another's call"),
        pytest.param(run(*text(**S1), encrypted("message", "m1") | S2), id="encrypted value for another's message"),
        pytest.param(run(tool_result() | {"messageId": "m1"} | S1, *tool(), *text(**S2)), id="message of a result"),
        pytest.param(run(SUBAGENT | {"parentSubagentRunId": "nobody"}, SUBAGENT_END), id="unknown parent"),
        pytest.param(run(SUBAGENT, SUBAGENT_END, SUBAGENT, SUBAGENT_END), id="subagent twice"),
    ],
)
def test_broken_streams_that_both_refuse(node: VerifyEvents, events: list[Event]) -> None:
    assert not node(events).ok
    assert violations_in(events)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(run(*text(**S1), tool()[0] | PARENT, tool()[1] | S1, *tool()[2:]), id="call inherits"),
        pytest.param(run(*text(), *text(**{**S1, "key": "m2"})), id="two messages of two owners"),
        pytest.param(run(*text("x", **S1), *tool("x")), id="an id names one thing of each kind"),
        pytest.param(run(ACTIVITY | S1, ACTIVITY | S2, DELTA | S2), id="activity replaced"),
        pytest.param(run(*text(**S1), SNAPSHOT, *text(**S2)), id="a snapshot gives the message to another"),
    ],
)
def test_streams_that_are_attributed_rightly_pass_on_both_sides(node: VerifyEvents, events: list[Event]) -> None:
    assert node(events).ok
    assert violations_in(events, STRICT) == []


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(run(*text(), {"type": "CUSTOM", "name": "n", "subagentRunId": None}), id="owner null"),
        pytest.param(run({"type": "SUBAGENT_STARTED", "subagentRunId": "s1"}, SUBAGENT_END), id="no name"),
        pytest.param(run(SUBAGENT | {"description": None}, SUBAGENT_END), id="description null"),
        pytest.param(run(SUBAGENT, {"type": "SUBAGENT_ERROR", "subagentRunId": "s1"}), id="no message"),
        pytest.param(run(SUBAGENT, SUBAGENT_END | {"outcome": {"type": "lost"}}), id="unknown outcome"),
        pytest.param(
            run(SUBAGENT, SUBAGENT_END | {"outcome": {"type": "suspended", "interruptIds": [7]}}), id="interrupt ids"
        ),
        pytest.param(run(SNAPSHOT | {"messages": [{"id": "m1", "subagentRunId": None}]}), id="null in a snapshot"),
        pytest.param(
            [*run()[:-1], run()[-1] | {"outcome": {"type": "interrupt", "interrupts": [{"subagentRunId": None}]}}],
            id="null in an interrupt",
        ),
    ],
)
def test_broken_payloads_that_both_refuse(node: VerifyEvents, events: list[Event]) -> None:
    assert not node(events).ok
    assert {violation.code for violation in violations_in(events, STRICT)} == {"schema-mismatch"}


def compare(node: VerifyEvents, events: list[Event]) -> str:
    """Which side refuses the stream; fails on a disagreement that is not accounted for."""
    theirs = node(events)
    ours = violations_in(events)
    if theirs.ok:
        unexplained = [violation for violation in ours if violation.code not in OURS_ONLY]
        assert not unexplained, f"only we refuse {events}: {unexplained}"
        return "only ours" if ours else "neither"
    assert ours, f"only verifyEvents refuses {events}: event {theirs.at}, {theirs.message}"
    return "both"


def compare_many(node: VerifyEvents, legal: int, mutated: int) -> tuple[dict[str, Counter[str]], str]:
    """Compare so many generated streams of each kind. Returns the counts, and as a table."""
    counts: dict[str, Counter[str]] = {"legal": Counter(), "mutated": Counter()}

    def examples(number: int) -> Callable[..., Callable[[], None]]:
        return settings(max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck))

    @examples(legal)
    @given(legal_streams())
    def compare_legal(events: list[Event]) -> None:
        counts["legal"][compare(node, events)] += 1
        assert violations_in(events, STRICT) == []

    @examples(mutated)
    @given(mutated_streams())
    def compare_mutated(events: list[Event]) -> None:
        counts["mutated"][compare(node, events)] += 1

    compare_legal()
    compare_mutated()
    table = "refused by           both  only ours  only verifyEvents  neither\n" + "".join(
        f"{kind:16} {found['both']:8} {found['only ours']:10} {0:18} {found['neither']:8}\n"
        for kind, found in counts.items()
    )
    return counts, table


def test_legal_and_mutated_streams(node: VerifyEvents, capsys: pytest.CaptureFixture[str]) -> None:
    counts, table = compare_many(node, 120, 280)
    with capsys.disabled():
        print(f"\n{table}", end="")
    assert set(counts["legal"]) == {"neither"}
    assert counts["mutated"]["both"]
    assert counts["mutated"]["only ours"]


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with verify_events() as verifying:
        print(compare_many(verifying, wanted, wanted)[1], end="")
