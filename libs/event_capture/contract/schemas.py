"""JSON Schemas of a contract (draft 2020-12): what is wrong with one, and what an event lacks of it.

Nothing is fetched: a schema refers to places within itself only. jsonschema is loaded when there is a schema to check.
"""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

from event_capture.documents import nearest
from event_capture.errors import ContractError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

    from event_capture.documents import Node

_HERE: Final = ("not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependentSchemas")
"""Keywords whose schemas judge the same value; the others go on to its members."""
_ONE: Final = (
    *("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_LIST: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAP: Final = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_REFERENCES: Final = ("$ref", "$dynamicRef")
_KEYWORDS: Final = (
    *(*_ONE, *_LIST, *_MAP, *_REFERENCES),
    *("$anchor", "$comment", "$dynamicAnchor", "$id", "$schema", "$vocabulary"),
    *("const", "dependentRequired", "enum", "exclusiveMaximum", "exclusiveMinimum", "maxContains", "maxItems"),
    *("maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength", "minProperties", "minimum"),
    *("multipleOf", "pattern", "required", "type", "uniqueItems"),
    *("contentEncoding", "contentMediaType", "default", "deprecated", "description", "examples", "format"),
    *("readOnly", "title", "writeOnly"),
    "example",  # of OpenAPI; it asks for nothing, as `examples` does
)
_TYPO_CUTOFF: Final = 0.8
"""Keywords that are not known ask for nothing, which JSON Schema allows; one this near to a known one is a typo."""

_FIX: Final = "refer to a place in this schema, such as #/$defs/NAME; other documents are never fetched"


class BadSchemaError(Exception):
    """What is wrong with a schema, and at which of its values."""

    def __init__(self, reason: str, at: Node, fix: str = "") -> None:
        self.reason = reason
        self.at = at
        self.fix = fix
        super().__init__(reason)


def validator_of(schema: dict[str, Any]) -> Draft202012Validator:
    """What holds events against a schema; it has no way to fetch another one."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(schema, registry=Registry())


def mismatches(validator: Draft202012Validator, data: Any) -> Iterator[ValidationError]:
    """What an event lacks of a schema. An event that nests too deeply to be judged lacks something, too.

    Raises:
        ContractError: the schema, made in Python, refers to what is not in it.
    """
    from jsonschema.exceptions import ValidationError
    from referencing.exceptions import Unresolvable

    try:
        yield from validator.iter_errors(data)
    except Unresolvable as error:
        raise ContractError(f"a schema refers to {error.ref!r}, which is not in it", fix=_FIX) from None
    except RecursionError:
        yield ValidationError("nested too deeply to be judged", validator="$ref", validator_value="an end")


def check_schema(node: Node) -> None:
    """Find what is wrong with a schema before an event meets it.

    Raises:
        BadSchemaError: it is no schema, has a keyword with a typo, or refers to nothing, to another document, or
            without end to itself.
    """
    from jsonschema import Draft202012Validator, SchemaError

    bare = node.bare()
    try:
        Draft202012Validator.check_schema(bare)
    except SchemaError as error:
        raise BadSchemaError(f"not a JSON Schema: {error.message}", node) from None
    _Walk(node, bare).run()


class _Walk:
    """Visits every schema within a schema, and what each refers to."""

    def __init__(self, node: Node, bare: Any) -> None:
        from referencing import Registry
        from referencing.jsonschema import DRAFT202012

        self.draft = DRAFT202012
        self.nodes: dict[int, Node] = {}
        """Where each value stands, by its identity: what a reference leads to is one of them."""
        self.place(node, bare)
        resolver = Registry().resolver_with_root(DRAFT202012.create_resource(bare))
        self.waiting: list[tuple[Any, Any]] = [(bare, resolver)]
        self.graph: dict[int, list[int]] = {}
        """Which schemas judge the same value as which others."""

    def place(self, node: Node, bare: Any) -> None:
        self.nodes[id(bare)] = node
        if isinstance(bare, dict):
            for key, child in node.items():
                self.place(child, bare[key])
        elif isinstance(bare, list):
            for child, value in zip(node.elements(), bare, strict=True):
                self.place(child, value)

    def run(self) -> None:
        while self.waiting:
            schema, resolver = self.waiting.pop()
            if isinstance(schema, dict) and id(schema) not in self.graph:
                self.visit(schema, resolver.in_subresource(self.draft.create_resource(schema)))
        try:
            TopologicalSorter(self.graph).prepare()
        except CycleError as error:
            # The one that stands last: that is where the circle closes.
            at = max((self.nodes[each] for each in error.args[1]), key=lambda node: (node.line, node.column))
            raise BadSchemaError(
                "the schema refers to itself for the same value, without end", at, "refer from a member, such as items"
            ) from None

    def visit(self, schema: dict[str, Any], resolver: Any) -> None:
        node = self.nodes[id(schema)]
        same = self.graph[id(schema)] = []
        for keyword, value in schema.items():
            if keyword not in _KEYWORDS and (near := nearest(keyword, _KEYWORDS, cutoff=_TYPO_CUTOFF)):
                entry = node.get(keyword) or node
                raise BadSchemaError(
                    f"JSON Schema has no keyword {keyword!r}", entry.key or entry, f"did you mean {near!r}?"
                )
            if keyword in _REFERENCES:
                found = self.target(value, resolver, node.get(keyword) or node)
                inner = [found]
            else:
                inner = [(each, resolver) for each in _within(keyword, value)]
            if keyword in _HERE or keyword in _REFERENCES:
                same += [id(each) for each, _ in inner if isinstance(each, dict)]
            self.waiting += inner

    def target(self, reference: str, resolver: Any, at: Node) -> tuple[Any, Any]:
        from referencing.exceptions import Unresolvable

        try:
            found = resolver.lookup(reference)
        except (Unresolvable, ValueError, LookupError, TypeError):
            raise BadSchemaError(f"{reference!r} leads nowhere", at, _FIX) from None
        if id(found.contents) not in self.nodes or not isinstance(found.contents, dict | bool):
            raise BadSchemaError(f"{reference!r} leads to no schema", at) from None
        return found.contents, found.resolver


def _within(keyword: str, value: Any) -> list[Any]:
    """The schemas that stand right under a keyword."""
    if keyword in _ONE:
        return [value]
    if keyword in _LIST:
        return list(value)
    return list(value.values()) if keyword in _MAP and isinstance(value, dict) else []
