"""The smallest value that a JSON Schema allows, the same each time.

Answers a request that insists on structure with something that its schema accepts.
"""

from typing import Any, Final

MAX_DEPTH: Final = 32

_EMPTY: Final[dict[str, Any]] = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None}


def instance(schema: dict[str, Any], text: str = "") -> Any:
    """A value for a schema; `text` fills strings that nothing else constrains."""
    return _value(schema, schema, text, 0)


def _value(schema: Any, root: dict[str, Any], text: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None
    if "$ref" in schema:
        return _value(_resolve(schema["$ref"], root), root, text, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _value(schema[key][0], root, text, depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        return _object(schema, root, text, depth)
    if kind == "array":
        return [_value(schema.get("items", {}), root, text, depth + 1) for _ in range(schema.get("minItems", 0))]
    return _scalar(kind, schema, text)


def _object(schema: dict[str, Any], root: dict[str, Any], text: str, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    wanted = schema.get("required", list(properties))
    return {name: _value(properties.get(name, {}), root, text, depth + 1) for name in wanted}


def _scalar(kind: Any, schema: dict[str, Any], text: str) -> Any:
    if kind in ("integer", "number"):
        if "exclusiveMinimum" in schema:
            return schema["exclusiveMinimum"] + 1
        return schema.get("minimum", min(0, schema.get("maximum", 0)))
    if kind == "string":
        value = text.ljust(schema.get("minLength", 0), "x")
        return value[: schema["maxLength"]] if "maxLength" in schema else value
    return _EMPTY.get(kind) if isinstance(kind, str) else None


def _resolve(reference: Any, root: dict[str, Any]) -> Any:
    found: Any = root
    for part in str(reference).removeprefix("#").strip("/").split("/"):
        if part and isinstance(found, dict):
            found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found
