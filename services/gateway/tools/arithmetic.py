"""Arithmetic over text: a tokenizer and a recursive-descent parser that compute as they go. Nothing is evaluated.

    sum     = term (("+" | "-") term)*
    term    = unary (("*" | "/" | "//" | "%") unary)*
    unary   = ("+" | "-") unary | power
    power   = atom (("^" | "**") unary)?
    atom    = number | constant | function "(" sum ("," sum)* ")" | "(" sum ")"

Powers bind tighter than a sign on their left and associate to the right, as in mathematics: -2^2 is -4.
Length, depth and the size of every number are bounded, so no input takes long or much memory.
"""

import math
import operator
import re
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, NoReturn, final

from gateway.errors import ToolError

MAX_EXPRESSION: Final = 512
MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 300

Number = int | float

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?)|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<sign>\*\*|//|[-+*/%^(),]))"
)
_CONSTANTS: Final[dict[str, Number]] = {"pi": math.pi, "e": math.e, "tau": math.tau}
_FUNCTIONS: Final[dict[str, tuple[int, int, Callable[..., Number]]]] = {
    "sqrt": (1, 1, math.sqrt),
    "abs": (1, 1, abs),
    "round": (1, 2, lambda value, digits=0: round(value, int(digits)) if digits else round(value)),
    "floor": (1, 1, math.floor),
    "ceil": (1, 1, math.ceil),
    "ln": (1, 1, math.log),
    "log": (1, 2, lambda value, root=10: math.log10(value) if root == 10 else math.log(value, root)),
    "exp": (1, 1, math.exp),
    "sin": (1, 1, math.sin),
    "cos": (1, 1, math.cos),
    "tan": (1, 1, math.tan),
    "min": (1, 32, min),
    "max": (1, 32, max),
}


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def compute(expression: str) -> Number:
    """The value of an arithmetic expression.

    Raises:
        ToolError: it is too long, cannot be parsed, or has no value; the message says where and why.
    """
    if len(expression) > MAX_EXPRESSION:
        raise ToolError(f"expression: has {len(expression)} characters, the limit is {MAX_EXPRESSION}")
    return _Parser(_tokenize(expression)).parse()


def _tokenize(expression: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    end = len(expression.rstrip())
    while at < end:
        match = _TOKEN.match(expression, at)
        if match is None:
            rest = expression[at:].lstrip()
            raise ToolError(
                f"expression: {rest[:1]!r} at character {len(expression) - len(rest) + 1} is not part of arithmetic"
            )
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match[kind], match.start(kind) + 1))
        at = match.end()
    tokens.append(_Token("end", "", end + 1))
    return tokens


@final
class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def parse(self) -> Number:
        value = self._sum()
        if self._peek().kind != "end":
            self._fail("an operator")
        return value

    def _sum(self) -> Number:
        value = self._term()
        while (sign := self._take("+", "-")) is not None:
            right = self._term()
            value = _bounded(partial(_SIGNS[sign], value, right))
        return value

    def _term(self) -> Number:
        value = self._unary()
        while (sign := self._take("*", "/", "//", "%")) is not None:
            right = self._unary()
            value = _bounded(partial(_SIGNS[sign], value, right))
        return value

    def _unary(self) -> Number:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError(f"expression: is nested more than {MAX_DEPTH} levels deep")
        try:
            sign = self._take("+", "-")
            if sign is None:
                return self._power()
            value = self._unary()
            return -value if sign == "-" else value
        finally:
            self._depth -= 1

    def _power(self) -> Number:
        left = self._atom()
        if self._take("^", "**") is None:
            return left
        return _power(left, self._unary())

    def _atom(self) -> Number:
        token = self._peek()
        if token.kind == "number":
            self._next += 1
            return _number(token.text)
        if token.kind == "name":
            self._next += 1
            return self._named(token)
        if self._take("(") is None:
            self._fail("a number")
        value = self._sum()
        self._expect(")")
        return value

    def _named(self, token: _Token) -> Number:
        name = token.text.lower()
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name not in _FUNCTIONS:
            known = ", ".join([*sorted(_FUNCTIONS), *sorted(_CONSTANTS)])
            raise ToolError(f"expression: {token.text[:32]!r} at character {token.at} is not known; known: {known}")
        self._expect("(")
        arguments = [self._sum()]
        while self._take(",") is not None:
            arguments.append(self._sum())
        self._expect(")")
        fewest, most, function = _FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            raise ToolError(f"expression: {name} takes {fewest} to {most} values, not {len(arguments)}")
        return _bounded(lambda: function(*arguments))

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *signs: str) -> str | None:
        token = self._peek()
        if token.kind != "sign" or token.text not in signs:
            return None
        self._next += 1
        return token.text

    def _expect(self, sign: str) -> None:
        if self._take(sign) is None:
            self._fail(repr(sign))

    def _fail(self, wanted: str) -> NoReturn:
        token = self._peek()
        found = "the end" if token.kind == "end" else repr(token.text[:32])
        raise ToolError(f"expression: {wanted} was expected at character {token.at}, found {found}")


def _number(text: str) -> Number:
    return int(text) if text.isdigit() else _bounded(lambda: float(text))


def _power(left: Number, right: Number) -> Number:
    whole = isinstance(left, int) and isinstance(right, int) and right >= 0
    # The size of a whole power is known before it is computed, which is the only cheap time to refuse it.
    if whole and abs(left) > 1 and right * math.log10(abs(left)) > MAX_DIGITS:
        raise ToolError(f"expression: the power has more than {MAX_DIGITS} digits")
    return _bounded(lambda: left**right)


def _bounded(operation: Callable[[], Number | complex]) -> Number:
    try:
        value = operation()
    except ZeroDivisionError:
        raise ToolError("expression: division by zero") from None
    except OverflowError:
        raise ToolError("expression: the value is too large") from None
    except (ValueError, TypeError):
        raise ToolError("expression: a function has no value there") from None
    if isinstance(value, complex):
        raise ToolError("expression: the value is not a real number")
    if isinstance(value, int):
        if abs(value) >= 10**MAX_DIGITS:
            raise ToolError(f"expression: the value has more than {MAX_DIGITS} digits")
    elif not math.isfinite(value):
        raise ToolError("expression: the value is too large")
    return value


_SIGNS: Final[dict[str, Callable[[Number, Number], Number]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
