"""`streamproof infer`, `diff` and `mutate`: drafting, comparing and testing contracts."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from event_capture.checker.completeness import Completeness
from event_capture.command.check import Ending
from event_capture.command.exit_codes import EPILOG, ExitCode
from event_capture.command.reading import read_noting, steps
from event_capture.comparison import compare_recordings
from event_capture.contract import load_contract
from event_capture.errors import RecordingError
from event_capture.inference import infer as draft
from event_capture.meaning import compare_contracts
from event_capture.mutation import MutationReport
from event_capture.mutation import mutate as break_recording
from event_capture.records import Record
from event_capture.vocabulary import load_vocabulary

MAX_RECORDS = 200_000
"""Most records of a recording that these commands read: they hold it in memory."""
_CONTRACT_SUFFIXES = (".yaml", ".yml", ".json")
_Ending = Annotated[
    Ending,
    typer.Option(help="Was the stream seen to its end? auto: when every connection has a proper close record."),
]


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
    ending: _Ending = Ending.AUTO,
) -> None:
    """Draft a contract from good recordings, with the evidence for each clause."""
    words = load_vocabulary(vocabulary)
    good = [_read_whole(path, ending) for path in recordings]
    with steps("drafting", "clauses") as step:
        text = draft(good, words, name=name, progress=step).yaml()
    _write(text, output)


def diff(
    before: Annotated[str, typer.Argument(help="A recording, or a contract (.yaml or a built-in name).")],
    after: Annotated[str, typer.Argument(help="Another of the same kind.")],
    vocabulary: Annotated[str, typer.Option("--vocabulary", "-v", help="How to read recordings.")] = "agent_turn",
    names_only: Annotated[
        bool, typer.Option("--names-only", help="Compare names of events, not what stands in the events.")
    ] = False,
) -> None:
    """Show what differs: between two recordings run by run, between two contracts by meaning.

    Of events it compares names and contents. Ids, timestamps and sequence numbers may be others as long as they go
    together in the same way.
    """
    if _is_contract(before) and _is_contract(after):
        changes = compare_contracts(load_contract(before), load_contract(after))
        lines = [str(change) for change in changes] or ["the contracts demand the same"]
        different = bool(changes)
    elif _is_contract(before) or _is_contract(after):
        raise typer.BadParameter("compare two recordings, or two contracts, not one of each")
    else:
        words = load_vocabulary(vocabulary)
        one, two = (_read(Path(path), "reading") for path in (before, after))
        found = compare_recordings(one, two, words, names_only=names_only)
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
    ending: _Ending = Ending.AUTO,
) -> None:
    """Break a good recording in every way and print which clauses notice: the kill rate of a contract, per clause."""
    wanted = load_contract(contract)
    good = _read_whole(recording, ending)
    with steps("mutating", "mutants") as step:
        report = break_recording(good, wanted, progress=step)
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
    """By its name: a recording is a file with a suffix, and may be missing."""
    path = Path(text)
    return path.suffix in _CONTRACT_SUFFIXES or not (path.suffix or path.parent.name or path.exists())


def _read_whole(path: Path, ending: Ending) -> list[Record]:
    """Read a recording that was seen to its end: of one that was cut off nobody knows what had to come."""
    cut: list[int] = []
    records = _read(path, "reading", cut)
    if ending is Ending.COMPLETE:
        return records
    following = Completeness()
    for record in records:
        following.see(record)
    reason = following.reason or ("its last line is cut off" if cut else "")
    if reason or ending is Ending.CUT:
        raise RecordingError(
            f"not seen to its end: {reason or 'you say so'}",
            source=str(path),
            fix="name one that was, or say --ending complete if this one was",
        )
    return records


def _read(path: Path, verb: str, cut: list[int] | None = None) -> list[Record]:
    records = []
    for record in read_noting(path, verb, cut):
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
