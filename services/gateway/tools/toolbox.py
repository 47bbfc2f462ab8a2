"""What a tool is, and the set of tools that one engine may use."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, final

from gateway.errors import ToolError


class Tool(Protocol):
    """Something the model may call. Implementations keep no state between calls."""

    @property
    def name(self) -> str:
        """What the model calls it."""
        ...

    @property
    def description(self) -> str:
        """What it does, for the model."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON Schema of the arguments."""
        ...

    async def run(self, arguments: Mapping[str, Any]) -> Any:
        """Do the work and return something that JSON can hold. Raises ToolError with words for the model."""
        ...


@final
class Toolbox:
    """Tools by name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._tools))

    def only(self, allowed: Callable[[str], bool]) -> "Toolbox":
        """The tools whose names `allowed` lets through. To the model the others do not exist."""
        return Toolbox(tool for name, tool in self._tools.items() if allowed(name))

    def get(self, name: str) -> Tool:
        """The tool of that name. Raises ToolError when there is none."""
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError(f"there is no tool {name[:64]!r}; there are: {', '.join(self.names) or 'none'}")
        return tool

    def describe(self) -> list[dict[str, Any]]:
        """The tools as a model API wants them."""
        return [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for _, tool in sorted(self._tools.items())
        ]


def text_argument(arguments: Mapping[str, Any], name: str, *, longest: int) -> str:
    """The one string argument that a simple tool takes.

    Raises:
        ToolError: it is missing, not a string, empty or too long, or there are others beside it.
    """
    if others := sorted(set(arguments) - {name}):
        raise ToolError(f"{others[0][:64]}: no such argument; the only one is {name}")
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ToolError(f"{name}: a non-empty string is required")
    if len(value) > longest:
        raise ToolError(f"{name}: has {len(value)} characters, the limit is {longest}")
    return value
