"""The calculator's arithmetic: right values, clear errors, bounded work."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ToolError
from gateway.tools.arithmetic import MAX_DEPTH, MAX_DIGITS, MAX_EXPRESSION, compute


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("2 ** -1", 0.5),
        ("7 // 2 + 7 % 2", 4),
        ("1 / 4", 0.25),
        (".5 + 1.", 1.5),
        ("1e3", 1000.0),
        ("--3", 3),
        ("sqrt(16) + abs(-2)", 6),
        ("max(1, 2, 3) - min(1, 2, 3)", 2),
        ("log(8, 2)", 3),
        ("round(2.567, 1)", 2.6),
        ("2 * pi", math.tau),
        (" 42 ", 42),
    ],
)
def test_an_expression_has_its_mathematical_value(expression: str, value: float) -> None:
    assert compute(expression) == pytest.approx(value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "a number was expected at character 1, found the end"),
        ("2 +", "a number was expected at character 4"),
        ("(1", "')' was expected at character 3"),
        ("1 1", "an operator was expected at character 3"),
        ("2 $ 3", "'$' at character 3 is not part of arithmetic"),
        ("foo(1)", "'foo' at character 1 is not known"),
        ("sqrt(1, 2)", "sqrt takes 1 to 1 values, not 2"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("sqrt(-1)", "has no value there"),
        ("(-8) ^ 0.5", "not a real number"),
        ("exp(1000)", "too large"),
        ("1e999", "too large"),
        ("9 ^ 9 ^ 9", "digits"),
        ("0 ^ -1", "division by zero"),
    ],
)
def test_an_expression_without_a_value_says_why(expression: str, words: str) -> None:
    with pytest.raises(ToolError) as error:
        compute(expression)
    assert words in str(error.value)


def test_an_expression_has_a_longest_length() -> None:
    with pytest.raises(ToolError, match="the limit is"):
        compute("1" * (MAX_EXPRESSION + 1))


def test_an_expression_has_a_greatest_depth() -> None:
    with pytest.raises(ToolError, match="nested"):
        compute("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1))


def test_a_whole_number_has_most_digits() -> None:
    with pytest.raises(ToolError, match="digits"):
        compute(f"10 ^ {MAX_DIGITS} * 10")


@given(st.text(alphabet="0123456789+-*/%^().,eE pisqrtmax", max_size=60))
def test_any_text_gives_a_finite_number_or_a_tool_error(text: str) -> None:
    try:
        value = compute(text)
    except ToolError:
        return
    assert math.isfinite(value)


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.integers(1, 1000))
def test_sums_and_products_agree_with_python(left: int, right: int, divisor: int) -> None:
    assert compute(f"({left}) * ({right}) - ({left}) // {divisor}") == left * right - left // divisor
