"""The calculator that an agent may call."""

from collections.abc import Mapping
from typing import Any, Final, final

from gateway.tools.arithmetic import MAX_EXPRESSION, compute
from gateway.tools.toolbox import text_argument

_LARGEST_EXACT: Final = 2**53


@final
class Calculator:
    """Computes an arithmetic expression."""

    name: Final = "calculator"
    description: Final = (
        "Computes arithmetic: + - * / // % ^, parentheses, sqrt, abs, round, floor, ceil, ln, log, exp, sin, cos, "
        "tan, min, max, pi, e, tau."
    )
    parameters: Final[Mapping[str, Any]] = {
        "type": "object",
        "properties": {"expression": {"type": "string", "maxLength": MAX_EXPRESSION}},
        "required": ["expression"],
        "additionalProperties": False,
    }

    async def run(self, arguments: Mapping[str, Any]) -> Any:
        """Return `{"expression": ..., "value": ...}`. Raises ToolError. Bounded work, so it runs in place."""
        expression = text_argument(arguments, "expression", longest=MAX_EXPRESSION)
        value = compute(expression)
        # JavaScript readers would round a larger whole number without a word.
        exact = value if isinstance(value, float) or abs(value) <= _LARGEST_EXACT else str(value)
        return {"expression": expression, "value": exact}
