"""The smallest value that a JSON Schema allows, the same each time.

Answers a request that insists on structure with something that its schema accepts.
"""

from typing import Any, Final, final

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 10_000  # a short schema that refers to itself twice would otherwise never end
MAX_CHARACTERS: Final = 100_000

_EMPTY: Final[dict[str, Any]] = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None}


def instance(schema: dict[str, Any], text: str = "") -> Any:
    """A value for a schema; `text` fills strings that nothing else constrains.

    Raises:
        ValueError: it is no JSON Schema, or the smallest value that it allows is too large; says where and why.
    """
    return _Instances(schema, text).value(schema, "", 0)


@final
class _Instances:
    def __init__(self, root: dict[str, Any], text: str) -> None:
        self._root = root
        self._text = text
        self._made = 0

    def value(self, schema: Any, where: str, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > MAX_DEPTH:
            return None
        self._made += 1
        if self._made > MAX_VALUES:
            raise ValueError(f"{where or '/'}: it insists on more than {MAX_VALUES} values")
        if "$ref" in schema:
            return self.value(self._resolve(schema["$ref"]), where, depth + 1)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if enum := _given(schema, "enum", list, where):
            return enum[0]
        for key in ("anyOf", "oneOf", "allOf"):
            if choices := _given(schema, key, list, where):
                return self.value(choices[0], f"{where}/{key}/0", depth + 1)
        return self._typed(schema, where, depth)

    def _typed(self, schema: dict[str, Any], where: str, depth: int) -> Any:
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) and kind else kind
        if kind == "object" or "properties" in schema:
            return self._object(schema, where, depth)
        if kind == "array":
            return self._array(schema, where, depth)
        return self._scalar(kind, schema, where)

    def _object(self, schema: dict[str, Any], where: str, depth: int) -> dict[str, Any]:
        properties = _given(schema, "properties", dict, where) or {}
        wanted = _given(schema, "required", list, where)
        found: dict[str, Any] = {}
        for name in properties if wanted is None else wanted:
            if not isinstance(name, str):
                raise ValueError(f"{where}/required: {name!r} is no name")  # noqa: TRY004  a fault of the schema
            found[name] = self.value(properties.get(name, {}), f"{where}/properties/{name}", depth + 1)
        return found

    def _array(self, schema: dict[str, Any], where: str, depth: int) -> list[Any]:
        count = _given(schema, "minItems", int, where) or 0
        if count > MAX_VALUES:
            raise ValueError(f"{where}/minItems: {count} is more than {MAX_VALUES}")
        return [self.value(schema.get("items", {}), f"{where}/items", depth + 1) for _ in range(count)]

    def _scalar(self, kind: Any, schema: dict[str, Any], where: str) -> Any:
        if kind in ("integer", "number"):
            above = _given(schema, "exclusiveMinimum", int | float, where)
            if above is not None:
                return above + 1
            least = _given(schema, "minimum", int | float, where)
            most = _given(schema, "maximum", int | float, where)
            return least if least is not None else min(0, 0 if most is None else most)
        if kind == "string":
            shortest = _given(schema, "minLength", int, where) or 0
            if shortest > MAX_CHARACTERS:
                raise ValueError(f"{where}/minLength: {shortest} is more than {MAX_CHARACTERS}")
            longest = _given(schema, "maxLength", int, where)
            value = self._text.ljust(shortest, "x")
            return value if longest is None else value[: max(longest, 0)]
        return _EMPTY.get(kind) if isinstance(kind, str) else None

    def _resolve(self, reference: Any) -> Any:
        found: Any = self._root
        for part in str(reference).removeprefix("#").strip("/").split("/"):
            if part and isinstance(found, dict):
                found = found.get(part.replace("~1", "/").replace("~0", "~"))
        return found


def _given(schema: dict[str, Any], key: str, kind: Any, where: str) -> Any:
    """The value of a keyword, or None. Raises ValueError when it is not of its kind."""
    value = schema.get(key)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ValueError(f"{where}/{key}: {value!r} is not allowed here")
    return value
