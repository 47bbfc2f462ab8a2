"""`streamproof infer`, `diff` and `mutate`: drafting, comparing and testing contracts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from event_capture.command.exit_codes import EPILOG, ExitCode
from event_capture.comparison import compare_recordings
from event_capture.contract import load_contract
from event_capture.errors import RecordingError
from event_capture.inference import infer as draft
from event_capture.meaning import compare_contracts
from event_capture.mutation import MutationReport
from event_capture.mutation import mutate as break_recording
from event_capture.recording import read_recording
from event_capture.records import Record
from event_capture.vocabulary import load_vocabulary

MAX_RECORDS = 200_000
"""Most records of a recording that these commands read: they hold it in memory."""
_CONTRACT_SUFFIXES = (".yaml", ".yml")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=EPILOG)(infer)
    app.command(epilog=f"{EPILOG} For diff: 0 alike, 1 different.")(diff)
    app.command(epilog=f"{EPILOG} For mutate: 0 every mutation that the contract speaks of was noticed.")(mutate)


def infer(
    recordings: Annotated[
        list[Path], typer.Argument(help="Good recordings, each seen to its end.", show_default=False)
    ],
    vocabulary: Annotated[
        str, typer.Option("--vocabulary", "-v", help="Name of a vocabulary, or a file.")
    ] = "agent_turn",
    name: Annotated[str, typer.Option(help="What to call the contract.")] = "inferred",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the contract here.")] = None,
) -> None:
    """Draft a contract from good recordings, with the evidence for each clause."""
    reading = load_vocabulary(vocabulary)
    text = draft([_read(path) for path in recordings], reading, name=name).yaml()
    _write(text, output)


def diff(
    before: Annotated[str, typer.Argument(help="A recording, or a contract (.yaml or a built-in name).")],
    after: Annotated[str, typer.Argument(help="Another of the same kind.")],
    vocabulary: Annotated[str, typer.Option("--vocabulary", "-v", help="How to read recordings.")] = "agent_turn",
) -> None:
    """Show what differs: between two recordings run by run, between two contracts by meaning."""
    if _is_contract(before) and _is_contract(after):
        changes = compare_contracts(load_contract(before), load_contract(after))
        lines = [str(change) for change in changes] or ["the contracts demand the same"]
        different = bool(changes)
    elif _is_contract(before) or _is_contract(after):
        raise typer.BadParameter("compare two recordings, or two contracts, not one of each")
    else:
        reading = load_vocabulary(vocabulary)
        found = compare_recordings(_read(Path(before)), _read(Path(after)), reading)
        lines = [f"runs: {found.runs[0]} -> {found.runs[1]}, events: {found.events[0]} -> {found.events[1]}"]
        lines += [*map(str, found.counts), *map(str, found.differences), *found.timing]
        different = not found.alike
    sys.stdout.write("\n".join(lines) + "\n")
    raise typer.Exit(int(ExitCode.VIOLATED if different else ExitCode.HOLDS))


def mutate(
    recording: Annotated[Path, typer.Argument(help="A recording that satisfies the contract.", show_default=False)],
    contract: Annotated[str, typer.Option("--contract", "-c", help="Name of a built-in contract, or a YAML file.")] = (
        "agent_turn"
    ),
    rest: Annotated[int, typer.Option(min=0, help="Most mutations listed of which the contract does not speak.")] = 50,
) -> None:
    """Break a good recording in every way and print which clauses notice: the kill rate of a contract, per clause."""
    wanted = load_contract(contract)
    with _progress("mutants") as step:
        report = break_recording(_read(recording), wanted, progress=step)
    sys.stdout.write("\n".join(_mutation_lines(report, rest)) + "\n")
    raise typer.Exit(int(ExitCode.VIOLATED if report.missed else ExitCode.HOLDS))


def _mutation_lines(report: MutationReport, rest: int) -> Iterator[str]:
    yield f"{report.mutants} mutants of a good recording, contract {report.contract}"
    yield ""
    yield "  noticed  of those it speaks of  clause"
    for score in report.scores:
        rate = f"{score.noticed / score.spoken_of:.0%}" if score.spoken_of else "-"
        yield f"  {rate:>7}  {score.noticed:>9} / {score.spoken_of:<9}  {score.clause}"
    spoken = report.spoken_of
    noticed = len(spoken) - len(report.missed)
    yield ""
    yield f"mutations that the contract speaks of: {noticed} of {len(spoken)} noticed" + (
        f" ({noticed / len(spoken):.0%})" if spoken else ""
    )
    for missed in report.missed:
        yield f"  MISSED {missed.operator} {missed.event} (record {missed.index})"
    survivors = report.survivors
    yield f"mutations that it does not speak of: {len(survivors)}"
    for survivor in survivors[:rest]:
        yield f"  {survivor.operator} {survivor.event} (record {survivor.index})"
    if len(survivors) > rest:
        yield f"  ... {len(survivors) - rest} more"


def _is_contract(text: str) -> bool:
    return text.endswith(_CONTRACT_SUFFIXES) or not Path(text).exists()


def _read(path: Path) -> list[Record]:
    records = []
    for record in read_recording(path):
        records.append(record)
        if len(records) > MAX_RECORDS:
            raise RecordingError(
                f"more than {MAX_RECORDS} records", source=str(path), fix="cut out the runs that matter"
            )
    return records


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


@contextmanager
def _progress(what: str) -> Iterator["_Step"]:
    """Progress on standard error, when that is a terminal."""
    step = _Step(what, shown=sys.stderr.isatty())
    try:
        yield step
    finally:
        step.end()


class _Step:
    """A line that counts up in place."""

    def __init__(self, what: str, *, shown: bool) -> None:
        self.what = what
        self.shown = shown

    def __call__(self, done: int, total: int) -> None:
        if self.shown and (done % 10 == 0 or done == total):
            sys.stderr.write(f"\r{done} of {total} {self.what}")
            sys.stderr.flush()

    def end(self) -> None:
        if self.shown:
            sys.stderr.write("\r\x1b[K")
