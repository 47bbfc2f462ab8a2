"""YAML to a scenario. Every fault is reported with file, line, column, field and, for a name, the nearest valid one."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import yaml

from mock_llm.errors import Problem, ScenarioError
from mock_llm.scenario.faults import FAULT_KINDS, AnyFault
from mock_llm.scenario.model import (
    Block,
    Chaos,
    Hold,
    Match,
    Outcome,
    RateLimit,
    Rule,
    Scenario,
    TextPattern,
    Timing,
    ToolCall,
    Usage,
)
from mock_llm.scenario.placeholders import PLACEHOLDERS, unknown_placeholders

MAX_SCENARIO_BYTES: Final = 16 * 1024 * 1024
_MAX_DEPTH: Final = 64

_PATH: Final = re.compile(r" - at `(?P<key>key in )?\$\.?(?P<path>[^`]*)`$")
_UNKNOWN: Final = re.compile(r"contains unknown field `(?P<name>[^`]+)`")
_MISSING: Final = re.compile(r"missing required field `(?P<name>[^`]+)`")
_INVALID: Final = re.compile(r"Invalid (?:enum )?value '?(?P<name>[^']*)'?")

_PATTERN_FIELDS: Final = ("model", "last_message", "user", "system", "tool_result", "namespace", "header")
_STRUCTS: Final[dict[str, type[msgspec.Struct]]] = {
    "match": Match,
    "reply": Block,
    "tool_call": ToolCall,
    "timing": Timing,
    "usage": Usage,
    "hold": Hold,
    "turns": Outcome,
    "sequence": Outcome,
    "rules": Rule,
    "rate_limit": RateLimit,
    "chaos": Chaos,
    **dict.fromkeys(_PATTERN_FIELDS, TextPattern),
}
_FAULTS: Final = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyFault)}
_MAX_PROBLEMS: Final = 20


@dataclass(slots=True)
class _Document:
    """Where each plain value of a YAML document stands; of a text also from where to where."""

    text: str
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    def place(self, path: str) -> tuple[int, int]:
        """Line and column of a path, or of the nearest thing around it."""
        while path and path not in self.marks:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.marks.get(path, (1, 1))

    def place_of(self, path: str, written: str) -> tuple[int, int]:
        """Line and column of what is written within the text at a path; of the text itself if escapes hide it."""
        start, end = self.spans.get(path, (0, 0))
        found = self.text.find(written, start, end)
        if found < 0:
            return self.place(path)
        return self.text.count("\n", 0, found) + 1, found - self.text.rfind("\n", 0, found)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ScenarioError: it cannot be read, or something in it is wrong.
    """
    try:
        if path.stat().st_size > MAX_SCENARIO_BYTES:
            raise ScenarioError((Problem(str(path), 1, 1, "", f"larger than {MAX_SCENARIO_BYTES} bytes"),))
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise ScenarioError((Problem(str(path), 0, 0, "", reason, "check the path"),)) from None
    except UnicodeDecodeError as error:
        raise ScenarioError((Problem(str(path), 1, 1, "", f"is not UTF-8 at byte {error.start}"),)) from None
    return parse_scenario(text, source=str(path))


def bundled_scenario(name: str) -> Scenario:
    """A scenario that ships with the package, by name.

    Raises:
        ScenarioError: there is none of that name.
    """
    folder = resources.files("mock_llm") / "scenarios"
    names = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    if name not in names:
        hint = f"there are {', '.join(names)}; or give the path of a .yaml file"
        raise ScenarioError((Problem(name, 0, 0, "", "no scenario of that name ships with mock-llm", hint),))
    return parse_scenario((folder / f"{name}.yaml").read_text(encoding="utf-8"), source=f"{name}.yaml")


def parse_scenario(text: str, *, source: str = "scenario") -> Scenario:
    """Read a scenario from YAML text; `source` names it in errors.

    Raises:
        ScenarioError: with every problem found.
    """
    document = _Document(text)
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        value = _plain(node, "", document, source, 0) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ScenarioError((Problem(source, line, column, "", f"not YAML: {error.problem}"),)) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ScenarioError((Problem(source, 1, 1, "", f"not YAML: {error}"),)) from None
    if not isinstance(value, dict):
        raise ScenarioError((Problem(source, 1, 1, "", "a scenario is a mapping", "start with `name:` and `rules:`"),))
    return _convert(value, document, source)


def _convert(value: dict[str, Any], document: _Document, source: str) -> Scenario:
    problems: list[Problem] = []
    rules = value.get("rules", [])
    good: list[Rule] = []
    seen: dict[str, int] = {}
    if isinstance(rules, list):
        # Rule by rule, so that one wrong rule does not hide the next.
        for index, raw in enumerate(rules):
            where = f"rules[{index}]"
            rule = _rule(raw, where, document, source, problems)
            if rule is None:
                continue
            good.append(rule)
            if rule.name in seen:
                line, column = document.place(f"{where}.name")
                reason = f"the name {rule.name!r} is taken by rules[{seen[rule.name]}]"
                problems.append(Problem(source, line, column, f"{where}.name", reason, "give each rule its own name"))
            seen.setdefault(rule.name, index)
        problems.extend(_unknown_placeholders(rules, document, source))
        value = {**value, "rules": []}
    try:
        scenario = msgspec.convert(value, Scenario, strict=True)
    except msgspec.ValidationError as error:
        problems.append(_problem(error, "", value, document, source))
    else:
        if not problems:
            whole = msgspec.structs.replace(scenario, rules=tuple(good))
            problems.extend(_unwritable(whole, document, source))
            if not problems:
                return whole
    raise ScenarioError(tuple(sorted(problems, key=lambda problem: (problem.line, problem.column))))


def _rule(raw: Any, where: str, document: _Document, source: str, problems: list[Problem]) -> Rule | None:
    """Read one rule. A field that nobody knows is noted and left out, so that one typing error hides no other."""
    noted = len(problems)
    while len(problems) - noted < _MAX_PROBLEMS:
        try:
            rule = msgspec.convert(raw, Rule, strict=True)
        except msgspec.ValidationError as error:
            problem = _problem(error, where, raw, document, source)
            unknown = _UNKNOWN.search(str(error))
            # What is wrong with a mapping only because a field was left out of it is no problem of its own.
            if unknown is None and any(each.field.rpartition(".")[0] == problem.field for each in problems[noted:]):
                return None
            problems.append(problem)
            if unknown is None or not _leave_out(raw, _path(str(error)), unknown["name"]):
                return None
        else:
            return rule if len(problems) == noted else None
    return None


def _leave_out(raw: Any, path: str, name: str) -> bool:
    holder = _at(raw, path)
    if not isinstance(holder, dict) or name not in holder:
        return False
    del holder[name]
    return True


def _at(raw: Any, path: str) -> Any:
    """The value at a path such as `reply[0].tool_call`, or None."""
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
        elif isinstance(raw, dict):
            raw = raw.get(part)
        else:
            return None
    return raw


def _unknown_placeholders(rules: list[Any], document: _Document, source: str) -> Iterator[Problem]:
    for found in unknown_placeholders(rules):
        line, column = document.place_of(found.path, found.written)
        hint = (
            f"did you mean '{found.nearest}'?" if found.nearest else f"there are {', '.join(PLACEHOLDERS)}, header.NAME"
        )
        yield Problem(source, line, column, found.path, f"no request can fill {found.written!r}", hint)


def _unwritable(scenario: Scenario, document: _Document, source: str) -> Iterator[Problem]:
    for index, rule in enumerate(scenario.rules):
        try:
            msgspec.json.encode(rule)
        except UnicodeError:
            where = f"rules[{index}]"
            line, column = document.place(where)
            yield Problem(source, line, column, where, "holds half of a surrogate pair, which no JSON can carry")


def _plain(node: yaml.Node, path: str, document: _Document, source: str, depth: int) -> Any:
    document.marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if depth > _MAX_DEPTH:
        line, column = document.marks[path]
        raise ScenarioError((Problem(source, line, column, path, f"nested deeper than {_MAX_DEPTH} levels"),))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, f"{path}[{index}]", document, source, depth + 1) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(node, path, document, source, depth)
    document.spans[path] = (node.start_mark.index, node.end_mark.index)
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        line, column = document.marks[path]
        raise ScenarioError((Problem(source, line, column, path, f"cannot be read: {error}"),)) from None
    finally:
        loader.dispose()


def _plain_mapping(
    node: yaml.MappingNode, path: str, document: _Document, source: str, depth: int
) -> Mapping[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else str(key_node.start_mark)
        inner = f"{path}.{key}" if path else key
        if key in values:
            mark = key_node.start_mark
            raise ScenarioError(
                (Problem(source, mark.line + 1, mark.column + 1, inner, "is given twice", "keep one of them"),)
            )
        document.marks[inner] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        values[key] = _plain(value_node, inner, document, source, depth + 1)
    return values


def _path(text: str) -> str:
    found = _PATH.search(text)
    return found["path"].replace("[...]", "") if found else ""


def _problem(error: msgspec.ValidationError, prefix: str, raw: Any, document: _Document, source: str) -> Problem:
    text = str(error)
    path = _path(text)
    reason = _PATH.sub("", text)
    full = f"{prefix}.{path}" if prefix and path and not path.startswith("[") else prefix + path
    hint = ""
    if unknown := _UNKNOWN.search(reason):
        name = unknown["name"]
        hint = _nearest(name, _fields(full, _at(raw, path)))
        full = f"{full}.{name}" if full else name
        reason = f"there is no field {name!r} here"
    elif missing := _MISSING.search(reason):
        reason, hint = f"the field {missing['name']!r} is missing", f"add `{missing['name']}:`"
    elif invalid := _INVALID.search(reason):
        parent, _, name = full.rpartition(".")
        choices = FAULT_KINDS if name == "kind" else _choices(_struct(parent), name)
        reason = f"{invalid['name']!r} is not allowed here"
        hint = _nearest(invalid["name"], choices) or f"write one of {', '.join(choices)}" if choices else ""
    line, column = document.place(full)
    return Problem(source, line, column, full, reason, hint)


def _struct(path: str) -> type[msgspec.Struct]:
    """The struct that stands at a path of the document."""
    names = [name for name in re.findall(r"[A-Za-z_-]+", path) if name in _STRUCTS]
    return _STRUCTS[names[-1]] if names else Scenario


def _fields(path: str, value: Any) -> list[str]:
    """The fields that may stand at a path."""
    if path.endswith("fault"):
        kind = _FAULTS.get(str(value.get("kind"))) if isinstance(value, dict) else None
        return ["kind", *(each.encode_name for each in msgspec.structs.fields(kind))] if kind else ["kind"]
    return [each.encode_name for each in msgspec.structs.fields(_struct(path))]


def _choices(struct: type[msgspec.Struct], name: str) -> tuple[str, ...]:
    """The words that a field allows; none when it allows more than words."""
    for each in msgspec.structs.fields(struct):
        if each.encode_name == name:
            words = get_args(each.type)
            inner = [word for part in words for word in (get_args(part) or (part,))]
            return tuple(word for word in inner if isinstance(word, str))
    return ()


def _nearest(name: str, names: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""
