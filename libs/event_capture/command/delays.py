"""`streamproof delays`: where the time went, on the server or on the way."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from event_capture.command.reading import read_noting
from event_capture.recording.delays import Delays, Spread, measure_delays
from event_capture.records import Record
from event_capture.vocabulary import load_vocabulary
from event_capture.vocabulary.pointer import getter


def delays(
    recording: Annotated[Path, typer.Argument(help="Recording, JSON lines, also compressed (.zst).")],
    vocabulary: Annotated[
        str, typer.Option("--vocabulary", "-v", help="Name of a built-in vocabulary, or a YAML file.")
    ] = "agent_turn",
) -> None:
    """Tell server time from transport time, and name the clocks that cannot be trusted.

    Transport is counted from the fastest event of each connection: the two machines' clocks need not agree.
    """
    words = load_vocabulary(vocabulary)
    noted: list[int] = []

    def records() -> Iterator[Record]:
        return read_noting(recording, "measuring", noted)

    measured = measure_delays(records, getter(words.timestamp) if words.timestamp else lambda _: None)
    sys.stdout.write(render(measured))


def render(measured: Delays) -> str:
    """The measurements as text."""
    lines = [f"{'':<12}{'events':>9}{'median':>12}{'95 %':>12}{'largest':>12}   (milliseconds)"]
    rows: tuple[tuple[str, Spread], ...] = (
        ("server", measured.server),
        ("transport", measured.transport),
        ("arrival", measured.arrival),
    )
    for name, spread in rows:
        times = (spread.quantile(0.5), spread.quantile(0.95), float(spread.largest_ns))
        lines.append(f"{name:<12}{spread.count:>9}" + "".join(f"{value / 1e6:>12.3f}" for value in times))
    if measured.unstamped:
        lines.append(f"{measured.unstamped} events have no timestamp that the vocabulary can read")
    lines.extend(
        f"record {step.index} ({step.connection}): the {step.clock.value} clock stepped by {step.step_ns / 1e6:+.3f} ms"
        for step in measured.steps
    )
    if measured.more_steps:
        lines.append(f"and {measured.more_steps} more clock steps")
    return "\n".join(lines) + "\n"
