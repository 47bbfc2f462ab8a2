"""Which rule a request gets, and why the others do not apply."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from mock_llm.requests import ModelRequest
from mock_llm.scenario.model import Match, Outcome, Pattern, Rule, TextPattern

Condition = Callable[[ModelRequest], bool]

_NEAREST: Final = 3


@final
@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready to be tried: its conditions by field name, and its outcomes."""

    rule: Rule
    conditions: tuple[tuple[str, Condition], ...]
    outcomes: tuple[Outcome, ...]

    def matches(self, request: ModelRequest) -> bool:
        """Whether every condition holds."""
        return all(holds(request) for _, holds in self.conditions)

    def failed(self, request: ModelRequest) -> tuple[str, ...]:
        """The fields whose condition does not hold."""
        return tuple(name for name, holds in self.conditions if not holds(request))


def compile_rule(rule: Rule) -> CompiledRule:
    """Prepare a rule; done once per scenario."""
    conditions = tuple(_conditions(rule.match))
    if rule.turns is not None:
        last = len(rule.turns)
        conditions = (*conditions, ("turns", lambda request: request.turn <= last))
    return CompiledRule(rule, conditions, rule.outcomes())


def nearest_rules(rules: tuple[CompiledRule, ...], request: ModelRequest) -> list[tuple[str, tuple[str, ...]]]:
    """The rules that fail on the fewest fields, each with those fields."""
    ranked = sorted(
        ((compiled.rule.name, compiled.failed(request)) for compiled in rules), key=lambda each: len(each[1])
    )
    return ranked[:_NEAREST]


def _conditions(match: Match) -> list[tuple[str, Condition]]:
    found: list[tuple[str, Condition]] = [
        (name, _equal(name, getattr(match, name)))
        for name in ("protocol", "stream", "turn", "user_turn")
        if getattr(match, name) is not None
    ]
    if match.tool is not None:
        found.append(("tool", lambda request: match.tool in request.tools))
    if match.tool_result is not None:
        found.append(("tool_result", _tool_result(match.tool_result)))
    for names, make in ((("model", "namespace"), glob), (("user", "last_message", "system"), text_test)):
        for name in names:
            pattern = getattr(match, name)
            if pattern is not None:
                found.append((name, _on(name, make(pattern))))
    found.extend((f"header.{name}", _header(name, text_test(pattern))) for name, pattern in match.header.items())
    return found


def _equal(field: str, wanted: object) -> Condition:
    return lambda request: bool(getattr(request, field) == wanted)


def text_test(pattern: Pattern) -> Callable[[str], bool]:
    """A test for a text; a bare string is looked for in it, whatever its case."""
    if isinstance(pattern, str):
        wanted = pattern.casefold()
        return lambda text: wanted in text.casefold()
    return _pattern_test(pattern)


def glob(pattern: Pattern) -> Callable[[str], bool]:
    """A test for a name; a bare string may hold `*` and `?`."""
    if isinstance(pattern, str):
        parts = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
        compiled = re.compile(parts, re.DOTALL)
        return lambda text: compiled.fullmatch(text) is not None
    return _pattern_test(pattern)


def _pattern_test(pattern: TextPattern) -> Callable[[str], bool]:
    def fold(text: str) -> str:
        return text.casefold() if pattern.ignore_case else text

    tests: list[Callable[[str], bool]] = []
    if pattern.equals is not None:
        equals = fold(pattern.equals)
        tests.append(lambda text: fold(text) == equals)
    if pattern.contains is not None:
        contains = fold(pattern.contains)
        tests.append(lambda text: contains in fold(text))
    if pattern.starts_with is not None:
        start = fold(pattern.starts_with)
        tests.append(lambda text: fold(text).startswith(start))
    if pattern.ends_with is not None:
        end = fold(pattern.ends_with)
        tests.append(lambda text: fold(text).endswith(end))
    if pattern.regex is not None:
        compiled = re.compile(pattern.regex, re.IGNORECASE if pattern.ignore_case else 0)
        tests.append(lambda text: compiled.search(text) is not None)
    return lambda text: all(test(text) for test in tests)


def _on(field: str, test: Callable[[str], bool]) -> Condition:
    return lambda request: test(getattr(request, field))


def _header(name: str, test: Callable[[str], bool]) -> Condition:
    key = name.lower().encode()

    def condition(request: ModelRequest) -> bool:
        value = request.headers.get(key)
        return value is not None and test(value.decode("latin-1"))

    return condition


def _tool_result(wanted: bool | Pattern) -> Condition:
    if isinstance(wanted, bool):
        return lambda request: (request.tool_result is not None) == wanted
    test = text_test(wanted)
    return lambda request: request.tool_result is not None and test(request.tool_result)
