"""What a user's roles open: channels, tools and kinds of events."""

from collections.abc import Mapping, Sequence
from typing import Final, final

from chat_protocol.events import AgentThinking, AnyEvent, ToolCompleted, ToolExecuting

ANY_ROLE: Final = "*"


@final
class Access:
    """Answers whether roles suffice. Pure, and the same for all tenants.

    Args:
        channels: roles by channel pattern. A pattern is a name, or a prefix that ends in `*`; the longest that fits
            decides, and a channel that fits none is closed.
        tools: roles by tool name. A tool that is not named is open.
        thinking: roles that see the model's reasoning.
        tool_events: roles that see the calls of tools and what they return.
    """

    def __init__(
        self,
        *,
        channels: Mapping[str, Sequence[str]],
        tools: Mapping[str, Sequence[str]],
        thinking: Sequence[str],
        tool_events: Sequence[str],
    ) -> None:
        self._channels = sorted(channels.items(), key=lambda item: len(item[0]), reverse=True)
        self._tools = dict(tools)
        self._thinking = tuple(thinking)
        self._tool_events = tuple(tool_events)

    def may_join(self, roles: frozenset[str], channel: str) -> bool:
        """Whether a user with these roles may join the channel."""
        for pattern, wanted in self._channels:
            fits = channel.startswith(pattern[:-1]) if pattern.endswith("*") else channel == pattern
            if fits:
                return _suffice(roles, wanted)
        return False

    def may_use(self, roles: frozenset[str], tool: str) -> bool:
        """Whether turns of a user with these roles may use the tool."""
        return _suffice(roles, self._tools.get(tool, (ANY_ROLE,)))

    def may_see_thinking(self, roles: frozenset[str]) -> bool:
        """Whether a user with these roles sees the model's reasoning."""
        return _suffice(roles, self._thinking)

    def hidden(self, roles: frozenset[str]) -> frozenset[type[AnyEvent]]:
        """The kinds of events that a user with these roles is not shown."""
        hidden: set[type[AnyEvent]] = set()
        if not _suffice(roles, self._thinking):
            hidden.add(AgentThinking)
        if not _suffice(roles, self._tool_events):
            hidden.update((ToolExecuting, ToolCompleted))
        return frozenset(hidden)


def _suffice(roles: frozenset[str], wanted: Sequence[str]) -> bool:
    return ANY_ROLE in wanted or not roles.isdisjoint(wanted)
