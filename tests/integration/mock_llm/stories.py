"""Scenarios that several test modules serve."""

from typing import Final

from mock_llm.scenario import Block, Match, Rule, Scenario, ToolCall

EVERYTHING: Final = Scenario(
    name="reasoning, two tools and text",
    rules=(
        Rule(
            name="everything",
            reply=(
                Block(reasoning=("Let me ", "think.")),
                Block(tool_call=ToolCall(name="search", arguments={"query": "größe"}, split=(3, 5, 2))),
                Block(tool_call=ToolCall(name="calculator", arguments={"expression": "1+1"}, split=(1, 1, 1))),
                Block(text=("Häl", "lo ", "wörld.")),
            ),
        ),
    ),
)


def saying(text: str | tuple[str, ...], **rule: object) -> Scenario:
    """A scenario that always says this."""
    return Scenario(name="says", rules=(Rule(name="says", match=Match(), reply=(Block(text=text),), **rule),))  # type: ignore[arg-type]  # fields of a rule
