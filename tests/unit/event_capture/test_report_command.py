"""`streamproof report`: one recording, six forms, exit codes of the verdict."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer
from typer.testing import CliRunner, Result

from event_capture.command.report import register
from event_capture.errors import BadInputError
from event_capture.recording import encode_record
from unit.event_capture.streams import TURN, turn


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    register(made)
    return made


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "chat.jsonl"
    path.write_bytes(b"".join(encode_record(record) + b"\n" for record in turn(*TURN)))
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.jsonl"
    path.write_bytes(b"".join(encode_record(record) + b"\n" for record in turn("agent_started", "agent_completed")))
    return path


def run(app: typer.Typer, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.mark.parametrize(
    ("form", "beginning"),
    [
        ("text", "===="),
        ("json", "{"),
        ("junit", "<?xml"),
        ("sarif", "{"),
        ("markdown", "### "),
        ("html", "<!doctype html>"),
    ],
)
def test_each_form_is_written_to_the_output(app: typer.Typer, recording: Path, form: str, beginning: str) -> None:
    result = run(app, recording, "--format", form)

    assert result.exit_code == 0
    assert result.stdout.startswith(beginning)


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("a.html", "<!doctype html>"), ("a.xml", "<?xml"), ("a.MD", "### "), ("a.sarif", "{"), ("a.log", "====")],
)
def test_the_suffix_of_the_output_chooses_the_form(
    app: typer.Typer, recording: Path, tmp_path: Path, name: str, beginning: str
) -> None:
    result = run(app, recording, "--output", tmp_path / name)

    assert result.exit_code == 0
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(beginning)


def test_a_broken_stream_exits_with_1(app: typer.Typer, broken: Path) -> None:
    assert run(app, broken, "--format", "junit").exit_code == 1


def test_a_cut_stream_exits_with_4(app: typer.Typer, recording: Path) -> None:
    assert run(app, recording, "--format", "markdown", "--ending", "cut").exit_code == 4


def test_a_step_that_only_writes_may_exit_with_0(app: typer.Typer, broken: Path) -> None:
    assert run(app, broken, "--exit-zero").exit_code == 0


def test_sarif_names_the_recording_as_it_was_given(app: typer.Typer, broken: Path) -> None:
    log = json.loads(run(app, broken, "--format", "sarif").stdout)

    assert log["runs"][0]["artifacts"][0]["location"]["uri"] == f"file://{broken}"


def test_junit_can_be_read_back(app: typer.Typer, broken: Path, tmp_path: Path) -> None:
    run(app, broken, "--output", tmp_path / "report.xml")

    root = ET.parse(tmp_path / "report.xml").getroot()  # noqa: S314  our own output

    assert int(root.get("failures", "0")) > 0


def test_an_output_in_a_missing_folder_is_bad_input_that_says_what_to_do(
    app: typer.Typer, recording: Path, tmp_path: Path
) -> None:
    result = run(app, recording, "--output", tmp_path / "missing" / "report.html")

    assert isinstance(result.exception, BadInputError)
    assert "a folder that exists" in str(result.exception)


def test_a_missing_recording_is_bad_input(app: typer.Typer, tmp_path: Path) -> None:
    assert isinstance(run(app, tmp_path / "none.jsonl").exception, BadInputError)
