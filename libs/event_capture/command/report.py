"""`streamproof report`: a recording and a contract, as a document for whoever must read it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from event_capture.checker import Report
from event_capture.command.check import Ending, check_file, shown_timelines
from event_capture.command.exit_codes import EPILOG, OF_VERDICT
from event_capture.contract import Contract, load_contract
from event_capture.errors import BadInputError
from event_capture.recording.bare import read_recorded_or_bare
from event_capture.report.model import Timeline


class Form(StrEnum):
    """What the report is written as."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"
    SARIF = "sarif"
    MARKDOWN = "markdown"
    HTML = "html"


_BY_SUFFIX: Final = {
    ".json": Form.JSON,
    ".xml": Form.JUNIT,
    ".sarif": Form.SARIF,
    ".md": Form.MARKDOWN,
    ".html": Form.HTML,
    ".htm": Form.HTML,
}


def register(app: typer.Typer) -> None:
    """Add `report` to the command."""
    app.command(epilog=EPILOG)(report)


def report(
    recording: Annotated[
        Path, typer.Argument(help="Recording, JSON lines, also compressed (.zst).", show_default=False)
    ],
    contract: Annotated[str, typer.Option("--contract", "-c", help="Name of a built-in contract, or a YAML file.")] = (
        "agent_turn"
    ),
    form: Annotated[
        Form | None,
        typer.Option(
            "--format", "-f", help="Form of the report. Without it, what the suffix of --output says, else text."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the report here.")] = None,
    ending: Annotated[
        Ending,
        typer.Option(help="Was the stream seen to its end? auto: when every connection has a proper close record."),
    ] = Ending.AUTO,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit with 0 whatever the verdict: for a step that only writes.")
    ] = False,
) -> None:
    """Write a report: for a terminal, a program, a CI server, a pull request, or a browser."""
    chosen = form or (_BY_SUFFIX.get(output.suffix.lower(), Form.TEXT) if output else Form.TEXT)
    wanted = load_contract(contract)
    with _working(f"checking {recording.name}"):
        found = check_file(recording, wanted, ending)
        text = render(found, wanted, form=chosen, recording=recording)
    _write(text, output)
    raise typer.Exit(0 if exit_zero else int(OF_VERDICT[found.verdict]))


def render(found: Report, contract: Contract, *, form: Form, recording: Path) -> str:
    """The report of a recording in one of its forms."""
    # Each form is loaded when it is asked for: the command starts faster.
    if form is Form.HTML:
        from event_capture.report.html import render_html
        from event_capture.report.page.selection import page_timelines

        chosen = page_timelines(read_recorded_or_bare(recording), contract, found)
        return render_html(found, chosen, contract, recording=recording.name)
    return _render(found, shown_timelines(recording, contract), form=form, recording=recording)


def _render(found: Report, timelines: tuple[Timeline, ...], *, form: Form, recording: Path) -> str:
    match form:
        case Form.TEXT:
            from event_capture.report.text import render_text

            return render_text(found, timelines)
        case Form.JSON:
            from event_capture.report.json import render_json

            return render_json(found, timelines)
        case Form.JUNIT:
            from event_capture.report.junit import render_junit

            return render_junit(found, timelines)
        case Form.SARIF:
            from event_capture.report.sarif import render_sarif

            return render_sarif(found, timelines, recording=str(recording))
        case Form.MARKDOWN:
            from event_capture.report.markdown import render_markdown

            return render_markdown(found, timelines)
        case _:
            raise ValueError(f"{form} is not made of timelines alone")


def _write(text: str, output: Path | None) -> None:
    # Streams may hold halves of surrogate pairs, which no encoding can write.
    data = text.encode("utf-8", "replace")
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise BadInputError(
            f"cannot write {output}: {error.strerror or error}; give --output a file in a folder that exists"
        ) from None


@contextmanager
def _working(what: str) -> Iterator[None]:
    """Show on a terminal that work goes on; elsewhere say nothing."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
