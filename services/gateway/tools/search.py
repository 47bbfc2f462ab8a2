"""The search that an agent may call: a small collection of notes that comes with the gateway."""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final, Self, final

import msgspec

from gateway.tools.ranking import Ranking
from gateway.tools.toolbox import text_argument

_LONGEST_QUERY: Final = 256
_MOST_RESULTS: Final = 3


@final
class Article(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One note of the collection."""

    id: str
    title: str
    text: str


@final
class Search:
    """Finds the notes that fit a question best."""

    name: Final = "search"
    description: Final = "Searches a collection of notes on running software: performance, databases, networks, faults."
    parameters: Final[Mapping[str, Any]] = {
        "type": "object",
        "properties": {"query": {"type": "string", "maxLength": _LONGEST_QUERY}},
        "required": ["query"],
        "additionalProperties": False,
    }

    def __init__(self, articles: Sequence[Article]) -> None:
        self._articles = tuple(articles)
        # The title counts twice: it says what the note is about.
        self._ranking = Ranking([f"{article.title} {article.title} {article.text}" for article in articles])

    @classmethod
    def bundled(cls) -> Self:
        """A search over the collection in the package."""
        data = resources.files("gateway.tools").joinpath("articles.json").read_bytes()
        return cls(msgspec.json.decode(data, type=list[Article]))

    async def run(self, arguments: Mapping[str, Any]) -> Any:
        """Return `{"query": ..., "results": [{"id", "title", "text", "score"}]}`, best first. Raises ToolError."""
        query = text_argument(arguments, "query", longest=_LONGEST_QUERY)
        found = self._ranking.search(query, limit=_MOST_RESULTS)
        return {
            "query": query,
            "results": [
                {**msgspec.to_builtins(self._articles[index]), "score": round(score, 3)} for index, score in found
            ],
        }
