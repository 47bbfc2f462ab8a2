"""Whatever clients do, in whatever order: each gets every event of its threads once, in order, as the log has them.

Hypothesis plays two users who connect, talk, lose their connections, come back and cancel, over real sockets against
one gateway for each backend. What they get is judged by event_capture: the gateway's contract while it goes on, and in
the end a comparison with the log, read by somebody who was never cut off.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from event_capture import ChatTester, Checker, Recorder, Violation, compare_resumed, parse_contract
from event_capture.records import Direction, Kind, Record
from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import TERMINAL_EVENTS
from mock_llm.testing import running_mock_llm

PACED = """
name: paced
rules:
  - name: told
    match: {tool_result: true}
    reply: [{text: ["It ", "is ", "42", "."]}]
    timing: {chunk_delay: 3ms}
  - name: compute
    match: {user: "compute"}
    reply:
      - reasoning: ["Let me ", "compute."]
      - tool_call: {name: calculator, arguments: {expression: "6 * 7"}}
    timing: {chunk_delay: 3ms}
  - name: breaks-off
    match: {user: "break off"}
    reply: [{text: ["one ", "two"]}]
    fault: {kind: disconnect, after_event: 3}
  - name: talk
    match: {}
    reply: [{reasoning: ["Well, "]}, {text: ["one ", "two ", "three ", "four ", "five ", "six"]}]
    timing: {chunk_delay: 3ms}
"""

# Times say nothing about a user who was away.
CONTRACT = parse_contract(f"""
name: turns_of_users_who_come_and_go
extends: {resources.files("chat_protocol") / "contracts" / "agent_turn.yaml"}
drop:
  - "within: first_event within 2s"
  - "within: total within 30s"
  - "within: tool within 10s unless error_event"
""")

USERS: Final = ("ada", "bob")
THREADS: Final = ("one", "two")
IN_TIME: Final = 30.0

users = st.sampled_from(USERS)
threads = st.sampled_from(THREADS)


def is_answer(record: Record) -> bool:
    """Refused requests and message ids that are known: about a request, so without a place in the log of a run."""
    return record.data["type"] in ("message_accepted", "error_event") and "seq" not in record.data


@dataclass
class World:
    """What all examples share: one gateway, and the event loop that it runs in."""

    portal: BlockingPortal
    gateway: RunningGateway
    tenants: Iterator[int] = field(default_factory=lambda: count(1))
    runs: int = 0
    drops: int = 0


@dataclass
class Person:
    """One user's client: it resumes what it has seen, and sends again what it does not know to have arrived."""

    tester: ChatTester
    here: bool = True
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was sent, by message id."""

    def events(self) -> list[dict[str, Any]]:
        return list(self.tester.events)

    def runs(self) -> dict[str, str]:
        """Run id by message id, of the messages that are known to have arrived."""
        return {
            event["payload"]["message_id"]: event["run_id"]
            for event in self.events()
            if event["type"] == "message_accepted"
        }

    def open_runs(self) -> list[str]:
        ended = {event.get("run_id") for event in self.events() if event["type"] in TERMINAL_EVENTS}
        return [run_id for run_id in self.runs().values() if run_id not in ended]

    async def come_back(self) -> None:
        await self.tester.reconnect()
        self.here = True
        events = self.events()
        epoch = next(event["epoch"] for event in events if event["type"] == "welcome")
        seen = {event["thread_id"] for event in events if "seq" in event}
        for thread_id in {message["thread_id"] for message in self.messages.values()} - seen:
            await self.tester.send_raw({"type": "resume", "thread_id": thread_id, "epoch": epoch, "seq": 0})
        arrived = self.runs()
        for message_id, message in self.messages.items():
            if message_id not in arrived:
                await self.tester.send_raw(message)

    async def hear_all(self) -> None:
        """Wait until every message has arrived and every run has ended."""
        with anyio.fail_after(IN_TIME):
            while len(self.runs()) < len(self.messages) or self.open_runs():
                await self.tester.wait_for((*TERMINAL_EVENTS, "message_accepted"), IN_TIME)


class DeliveryMachine(RuleBasedStateMachine):
    """Two users of a tenant of their own."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.gateway = self.world.gateway.of_tenant(f"tenant-{next(self.world.tenants)}")
        self.numbers = count(1)
        self.people: dict[str, Person] = {}
        self.checker = Checker(CONTRACT)
        self.violations: list[Violation] = []
        self.stack = ExitStack()
        self.recorder = self.call(Recorder)
        self.stack.callback(self.recorder.subscribe(self.look_at))

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return self.world.portal.call(partial(function, *arguments, **options))

    def look_at(self, record: Record) -> None:
        if record.kind is not Kind.EVENT or record.direction is Direction.SENT or not is_answer(record):
            self.violations.extend(self.checker.feed(record))

    def tester(self, user: str, recorder: Recorder) -> ChatTester:
        return ChatTester(self.gateway.ws_url, user=user, token=self.gateway.token(user), recorder=recorder)

    def somebody(self, user: str) -> Person:
        """The user, connected."""
        person = self.people.get(user)
        if person is None:
            tester = self.call(self.tester, user, self.recorder)
            self.stack.enter_context(self.world.portal.wrap_async_context_manager(tester))
            person = self.people[user] = Person(tester)
        if not person.here:
            self.call(person.come_back)
        return person

    def away(self) -> list[str]:
        return [user for user in USERS if user not in self.people or not self.people[user].here]

    @precondition(lambda self: self.away())
    @rule(data=st.data())
    def connect_or_resume(self, data: st.DataObject) -> None:
        self.somebody(data.draw(st.sampled_from(self.away())))

    @rule(
        user=users,
        thread_id=threads,
        content=st.sampled_from(["talk", "compute", "compute", "break off"]),
        times=st.integers(1, 3),
    )
    def send(self, user: str, thread_id: str, content: str, times: int) -> None:
        person = self.somebody(user)
        for _ in range(times):
            message_id = f"m{next(self.numbers)}"
            fields = {"content": content, "thread_id": f"{user}-{thread_id}", "message_id": message_id}
            person.messages[message_id] = {"type": "user_message", **fields}
            self.call(person.tester.send_raw, person.messages[message_id])

    # What may be done next depends on what was done, never on how far the gateway has come.

    @precondition(lambda self: any(person.messages for person in self.people.values()))
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from([name for name, person in self.people.items() if person.messages]))
        person = self.somebody(user)
        message_id = data.draw(st.sampled_from(sorted(person.messages)))
        self.call(person.tester.send_raw, person.messages[message_id])

    @precondition(lambda self: any(person.here and person.messages for person in self.people.values()))
    @rule()
    def hear_something(self) -> None:
        person = next(person for person in self.people.values() if person.here and person.messages)
        if person.open_runs():
            names = ("agent_thinking", "partial_result", "tool_executing", *TERMINAL_EVENTS)
            self.call(person.tester.wait_for, names, IN_TIME)

    @precondition(lambda self: any(person.here for person in self.people.values()))
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        person = self.people[data.draw(st.sampled_from([name for name in self.people if self.people[name].here]))]
        self.call(person.tester.drop)
        person.here = False
        self.world.drops += 1

    @precondition(lambda self: any(person.messages for person in self.people.values()))
    @rule()
    def cancel(self) -> None:
        user = next(name for name, person in self.people.items() if person.messages)
        person = self.somebody(user)
        for run_id in person.open_runs()[:1]:
            self.call(person.tester.send_raw, {"type": "cancel", "run_id": run_id})

    @precondition(lambda self: any(person.here and person.messages for person in self.people.values()))
    @rule()
    def acknowledge(self) -> None:
        person = next(person for person in self.people.values() if person.here and person.messages)
        for newest in [event for event in person.events() if "seq" in event][-1:]:
            position = {name: newest[name] for name in ("thread_id", "epoch", "seq")}
            self.call(person.tester.send_raw, {"type": "ack", **position})

    @invariant()
    def the_contract_holds_so_far(self) -> None:
        assert not self.violations, in_words(self.violations)

    def teardown(self) -> None:
        with self.stack:
            for user in self.people:
                self.call(self.somebody(user).hear_all)
            self.every_message_ran_once()
            for user in self.people:
                self.what_came_is_the_log(user)
        if any(person.messages for person in self.people.values()):
            report = self.checker.finish(complete=True)
            assert report.passed, in_words(report.violations)

    def every_message_ran_once(self) -> None:
        for person in self.people.values():
            runs = person.runs()
            assert len(set(runs.values())) == len(person.messages)
            ends = [event["run_id"] for event in person.events() if event["type"] in TERMINAL_EVENTS and "seq" in event]
            assert sorted(ends) == sorted(runs.values())
            self.world.runs += len(runs)

    def what_came_is_the_log(self, user: str) -> None:
        person = self.people[user]
        places = [(event["thread_id"], event["seq"]) for event in person.events() if "seq" in event]
        last = {thread_id: max(seq for name, seq in places if name == thread_id) for thread_id, _ in places}
        log: Recorder = self.call(Recorder)
        self.call(self.read_log, user, log, last)
        for thread_id in last:
            compared = compare_resumed(
                of_thread(log.records(), thread_id), of_thread(person.tester.records, thread_id), CONTRACT.vocabulary
            )
            # Whoever was never away has no resume to prove, and the whole log all the same.
            assert not compared.differences, compared.explain()
            assert compared.events == last[thread_id]

    async def read_log(self, user: str, log: Recorder, last: dict[str, int]) -> None:
        async with self.tester(user, log) as reader:
            epoch = next(iter(reader.events))["epoch"]
            for thread_id, seq in last.items():
                await reader.send_raw({"type": "resume", "thread_id": thread_id, "epoch": epoch, "seq": 0})
                with anyio.fail_after(IN_TIME):
                    while (thread_id, seq) not in {
                        (event.get("thread_id"), event.get("seq")) for event in reader.events
                    }:
                        await reader.wait_for(TERMINAL_EVENTS, IN_TIME)


def in_words(violations: Iterable[Violation]) -> str:
    return "\n".join(violation.message for violation in violations)


def of_thread(records: Iterator[Record], thread_id: str) -> Iterator[Record]:
    for record in records:
        if record.kind is Kind.EVENT and record.data.get("thread_id") == thread_id:
            yield record


@contextmanager
def served(backend: str, folder: Path) -> Iterator[World]:
    with start_blocking_portal(backend) as portal, ExitStack() as stack:
        llm = stack.enter_context(portal.wrap_async_context_manager(running_mock_llm(PACED)))
        # Runs that are cut off by their model must not close the circuit for the others.
        chosen = make_settings(folder, llm.openai_url, breaker_failures=1000, queue_size=100)
        yield World(portal, stack.enter_context(portal.wrap_async_context_manager(running_gateway(chosen))))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_users_who_come_and_go_get_their_whole_streams(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # No shrinking: the network is part of the example, so it does not repeat to the letter.
    chosen = settings(
        max_examples=8,
        stateful_step_count=20,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with served(backend, tmp_path) as world:
        machine = type("DeliveryMachine", (DeliveryMachine,), {"world": world})
        run_state_machine_as_test(machine, settings=chosen)
        with capsys.disabled():
            print(f"\n{backend}: {world.runs} runs over {world.drops} dropped connections, 0 lost, 0 doubled")
    assert world.drops
