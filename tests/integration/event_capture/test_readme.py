"""What the README of the package says is so: its commands are run, its code is executed, its tables are compared."""

import ast
import inspect
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

import event_capture.checker
from event_capture import plugin
from event_capture.blocking import blocking_replay
from event_capture.checker import Checker, Report, Verdict
from event_capture.command.app import build
from event_capture.command.exit_codes import ExitCode
from event_capture.contract import Own, Scope, builtin_contracts, parse_contract
from event_capture.contract.sentences import SECTIONS
from event_capture.errors import ContractError
from event_capture.recording import read_recording
from event_capture.recording.redaction import DEFAULT_FIELDS
from event_capture.records import Direction, Kind, Record
from event_capture.replay import VIRTUAL, scripts_of
from event_capture.samples import sample_recording
from event_capture.testing import streamproof
from event_capture.vocabulary import builtin_vocabularies, parse_vocabulary

README = (resources.files("event_capture") / "README.md").read_text(encoding="utf-8")
GATEWAY = "ws://127.0.0.1:8765"


def fences(language: str) -> list[str]:
    """The code of a language, block by block."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head."""
    section = re.split(r"^#+ ", README.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table, f"no table below {heading!r}"
    lines = table.group().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# The reference of clauses

CLAUSES = rows("Every clause")
_STEP = re.compile(r"(?:\+(\d+)s\s+)?([a-z_]+)(?:\((\w+)\))?((?:\{(?:[^{}]|\{[^{}]*\})*\})?)")


def stream(text: str) -> list[Record]:
    """A stream as the table writes it: one run, asked for at 0, on a connection of ada that is closed at its end."""
    now = 0
    records = [
        Record(monotonic_ns=0, wall_ns=0, connection="c", user="ada", kind=Kind.OPEN),
        Record(
            monotonic_ns=0,
            wall_ns=0,
            connection="c",
            user="ada",
            direction=Direction.SENT,
            data={"type": "user_message"},
        ),
    ]
    for wait, name, key, fields in _STEP.findall(text):
        now += int(wait or 0) * 10**9 + 10**6
        data = (
            {"type": name, "run_id": "run-1"}
            | ({"payload": {"tool_call_id": key}} if key else {})
            | (yaml.safe_load(fields or "{}"))
        )
        records.append(Record(monotonic_ns=now, wall_ns=0, connection="c", user="ada", data=data))
    closed = {"code": 1000, "reason": ""}
    return [*records, Record(monotonic_ns=now, wall_ns=0, connection="c", user="ada", kind=Kind.CLOSE, data=closed)]


def judge(clause: str, text: str) -> Report:
    checker = Checker(parse_contract(f"name: c\nvocabulary: agent_turn\n{clause}\n"))
    checker.feed_all(stream(text))
    return checker.finish(complete=True)


@pytest.mark.parametrize(("clause", "meaning", "holds", "violated"), CLAUSES, ids=[row[0] for row in CLAUSES])
def test_a_clause_holds_and_is_violated_as_the_table_says(clause: str, meaning: str, holds: str, violated: str) -> None:
    del meaning
    broken, code = quoted(violated)
    assert judge(quoted(clause)[0], quoted(holds)[0]).verdict is Verdict.HOLDS
    assert code in {violation.code for violation in judge(quoted(clause)[0], broken).violations}


def test_every_kind_of_clause_has_an_example() -> None:
    assert {quoted(row[0])[0].partition(":")[0] for row in CLAUSES} == set(SECTIONS)


def test_every_code_of_a_violation_is_told() -> None:
    used: set[str] = set()
    for module in pkgutil.iter_modules(event_capture.checker.__path__, "event_capture.checker."):
        for node in ast.walk(ast.parse(inspect.getsource(import_module(module.name)))):
            if isinstance(node, ast.Constant) and re.fullmatch(r"[a-z]+(-[a-z]+)+", str(node.value)):
                used.add(str(node.value))
    told = {quoted(row[3])[1] for row in CLAUSES} | {quoted(row[0])[0] for row in rows("Codes")}
    assert told == used


def test_scopes_and_verdicts_are_those_there_are() -> None:
    assert {scope.removeprefix("per ") for scope in quoted(rows("Scopes and guards")[0][0])} == set(Scope)
    assert [quoted(row[0])[0] for row in rows("Verdicts")] == list(Verdict)


def test_a_mistake_is_told_as_it_says() -> None:
    text = "name: our\nvocabulary: agent_turn\nfirst: agent_started\n\n\nrequire:\n  - agent_startd\n"
    with pytest.raises(ContractError) as caught:
        parse_contract(text, source="our.yaml")
    assert f"{caught.value}\n" in fences("text")


# Files, tables


def test_the_contract_and_the_vocabulary_can_be_read() -> None:
    contract, owners, vocabulary = fences("yaml")
    assert "require: citation when partial_result" in map(str, parse_contract(contract).clauses)
    events = "[message_started, tool_called, message_ended, message_delta, tool_result, note_added, history]"
    (own,) = parse_contract(f"name: c\nvocabulary: agent_turn\nevents: {events}\n{owners}").clauses
    assert len(own.claims) == 6 if isinstance(own, Own) else False
    assert parse_vocabulary(vocabulary).pairs["tool"].by == ("body", "call")


def test_tables_name_what_there_is() -> None:
    assert {name for row in rows("Vocabularies") for name in quoted(row[0])} == set(builtin_vocabularies())
    assert {*builtin_vocabularies(), "ag_ui_strict"} == set(builtin_contracts())
    fields = {name for row in rows("Recordings") for name in quoted(row[0])}
    assert fields == set(Record.__struct_fields__)
    fixtures = {name for name, value in vars(plugin).items() if type(value).__name__ == "FixtureFunctionDefinition"}
    assert {quoted(row[0])[0] for row in rows("In a test")} == fixtures
    assert set(quoted(README.split("the rest is on disk.")[1].split("are replaced")[0])) == set(DEFAULT_FIELDS)


def test_every_command_and_every_exit_code_is_told() -> None:
    group: Any = typer.main.get_command(build())
    assert {name for row in rows("From the shell") for name in quoted(row[0])} == set(group.commands)
    codes = re.findall(r"^\| (\d) \|", README, re.MULTILINE)
    assert [int(code) for code in codes] == [int(code) for code in ExitCode]


# Commands and code


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def gateway() -> Iterator[str]:
    with blocking_replay(scripts_of(sample_recording()), pace=VIRTUAL) as url:
        yield url


def test_every_command_of_the_shell_ends_as_it_says(folder: Path, gateway: str) -> None:
    (block,) = fences("console")
    for line in block.splitlines():
        command, _, remark = line.removeprefix("$ streamproof ").partition("#")
        wanted = int(remark.split()[1]) if remark else 0
        finished = streamproof(*shlex.split(command.replace(GATEWAY, gateway)))
        assert finished.returncode == wanted, f"{line}: {finished.stderr}{finished.stdout}"
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


def test_the_quick_start_passes_and_fails_when_the_gateway_breaks(folder: Path) -> None:
    (shell,), test = fences("sh"), next(block for block in fences("python") if "# test_chat.py" in block)
    for line in shell.splitlines()[:2]:
        assert streamproof(*shlex.split(line)[1:]).returncode == 0
    assert streamproof("sample", "agent_turn", "--bad", "-o", "bad.jsonl").returncode == 0
    passed = run_against("chat.jsonl", test, folder)
    assert passed.returncode == 0, passed.stdout
    failed = run_against("bad.jsonl", test, folder)
    assert failed.returncode == 1
    said = [line.removeprefix("E").strip() for line in failed.stdout.splitlines()]
    report = next(block for block in fences("text") if "VALIDATION REPORT" in block)
    assert [line for line in report.splitlines() if line != "..." and line.strip() not in said] == []


def run_against(recording: str, test: str, folder: Path) -> subprocess.CompletedProcess[str]:
    with blocking_replay(scripts_of(read_recording(folder / recording)), pace=VIRTUAL) as url:
        (folder / "test_chat.py").write_text(test.replace(GATEWAY, url))
        options = ["-p", plugin.__name__, "-p", "no:cacheprovider", "-q", "test_chat.py"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *options],
            cwd=folder,
            env={"PYTHONPATH": ":".join(path for path in sys.path if path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )


CODE = [block for block in fences("python") if "# test_chat.py" not in block]


@pytest.mark.parametrize("code", CODE, ids=[f"block {number}" for number in range(1, len(CODE) + 1)])
def test_the_code_runs(code: str, folder: Path, gateway: str, capsys: pytest.CaptureFixture[str]) -> None:
    del folder
    exec(compile(code.replace(GATEWAY, gateway), "README.md", "exec"), {"__name__": "readme"})  # noqa: S102  our own
    assert ("holds" in capsys.readouterr().out) is (GATEWAY in code)
