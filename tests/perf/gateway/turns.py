"""Turns per second and the delay of the first events, beside python-socketio and Flask-SocketIO, in one run.

    PYTHONPATH=libs:services:tests python -m perf.gateway.turns --turns 1000 --concurrency 200 --rounds 3

All sides serve the same turn of seven events over WebSocket: the same scripted model (a process of its own) thinks,
calls a tool and answers, and what is said is committed to PostgreSQL. The server has one core; clients, model and
database have the other. Sides take turns within a round, each with a fresh process; the table shows medians over the
rounds. What a line promises:

    gateway                    every event is committed before it is sent, and can be replayed
    python-socketio, events    every event is committed before it is sent: the same promise
    python-socketio, messages  the user's message and the answer are committed: two commits in a turn
    Flask-SocketIO, ...        the same two

Delays are from sending the message to `message_accepted` and to `agent_started`. The first table is about turns per
second: the model answers at once and users send again as soon as they are answered, so the processor is always full,
and delays tell who gets it. The second is about delays: as many turns are under way at any time, but the model takes
its time for them, as models do.
"""

import argparse
import asyncio
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

from perf.gateway import stage
from perf.gateway.clients import Delays, GatewayUser, SocketIOUser, User, closed_loop

SCENARIO: Final = """
name: bench
rules:
  - name: told
    match: {{tool_result: true}}
    reply: [{{text: ["The answer is forty-two."]}}]
    timing: &slowly {{first_token: {seconds}}}
  - name: ask
    match: {{}}
    reply: [{{reasoning: ["Let me compute."]}}, {{tool_call: {{name: calculator, arguments: {{expression: "6 * 7"}}}}}}]
    timing: *slowly
"""
"""Two requests to the model in a turn, each with so many seconds to its first token."""

KINDS: Final = ("accepted p50 ms", "p99 ms", "started p50 ms", "p99 ms")

Serve = Callable[[str, str], AbstractContextManager[stage.Server]]
MakeUser = Callable[[stage.Server, str], User]


def peer(module: str, commits: str) -> Serve:
    return lambda dsn, llm: stage.peer(module, dsn, llm, commits)


SIDES: Final[dict[str, tuple[Serve, MakeUser]]] = {
    "gateway": (stage.gateway, GatewayUser),
    "python-socketio, events": (peer("socketio_peer", "events"), SocketIOUser),
    "python-socketio, messages": (peer("socketio_peer", "messages"), SocketIOUser),
    "Flask-SocketIO, events": (peer("flask_peer", "events"), SocketIOUser),
    "Flask-SocketIO, messages": (peer("flask_peer", "messages"), SocketIOUser),
}


@dataclass(frozen=True)
class Result:
    """One side of one round."""

    turns_per_second: float
    cpu_ms: float
    """Processor time of the server for one turn: the figure that a busy machine distorts least."""
    delays: Delays
    megabytes: float


def run_turns(
    serve: Serve, make_user: MakeUser, dsn: str, llm: str, turns: int, concurrency: int, spread: float
) -> Result:
    """All users at once, each as fast as it is answered."""
    before = 0.0

    def ready() -> None:
        nonlocal before
        before = server.cpu_seconds

    with serve(dsn, llm) as server:
        seconds, delays = asyncio.run(closed_loop(partial(make_user, server), turns, concurrency, spread, ready))
        cpu_ms = (server.cpu_seconds - before) * 1000 / turns
        return Result(turns / seconds, cpu_ms, delays, server.memory_kib / 1024)


def centile(number: int, delays: list[list[float]]) -> str:
    """Median over the rounds of a centile within each, as text."""
    return f"{statistics.median(statistics.quantiles(round_, n=100)[number - 1] for round_ in delays):.1f}"


def delay_cells(delays: list[Delays]) -> list[str]:
    accepted, started = [one.accepted for one in delays], [one.started for one in delays]
    return [centile(50, accepted), centile(99, accepted), centile(50, started), centile(99, started)]


def cells(results: list[Result], best: float) -> list[str]:
    rate = statistics.median(result.turns_per_second for result in results)
    cpu = statistics.median(result.cpu_ms for result in results)
    memory = statistics.median(result.megabytes for result in results)
    delays = delay_cells([result.delays for result in results])
    return [f"{rate:.1f}", f"{best / rate:.1f}x", f"{cpu:.1f}", *delays, f"{memory:.0f}"]


def main() -> None:
    """Run all sides and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1000, help="turns of each side in a round")
    parser.add_argument("--concurrency", type=int, default=200, help="users, each with one turn at a time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model-seconds", type=float, default=1.0, help="what the model takes of a turn in table two")
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES), help="leave out the other sides")
    options = parser.parse_args()
    sides = {name: SIDES[name] for name in options.only}
    stage.stay_on_the_clients_core()
    tables = {
        f"{options.turns} turns of 7 events, {options.concurrency} at a time, PostgreSQL, one core for the server": 0.0,
        f"the same turns of a model that takes {options.model_seconds:g} s for each": options.model_seconds,
    }
    with stage.database() as database:
        for title, model_seconds in tables.items():
            with stage.model(SCENARIO.format(seconds=model_seconds / 2)) as llm:

                def measure(side: tuple[Serve, MakeUser], llm: str = llm, spread: float = model_seconds) -> Result:
                    return run_turns(*side, database.dsn, llm, options.turns, options.concurrency, spread)

                results: dict[str, list[Result]] = stage.in_turns(
                    options.rounds, {name: partial(measure, side) for name, side in sides.items()}
                )
            best = statistics.median(result.turns_per_second for result in next(iter(results.values())))
            stage.print_table(
                title,
                ["turns/s", f"{next(iter(results))} is", "CPU ms/turn", *KINDS, "MiB"],
                [(name, cells(result, best)) for name, result in results.items()],
            )


if __name__ == "__main__":
    main()
