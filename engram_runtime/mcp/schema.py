"""Arguments and answers of tools: compact JSON schemas from msgspec structs, and strict reading of what agents send."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

from engram_runtime.continuity.inert import inert_text
from engram_runtime.errors import UsageError
from engram_runtime.structs import built

LONGEST_TEXT = 20_000
"""Characters of one text an agent sends, unless its parameter says otherwise in the schema."""
LONGEST_CONTENT = 100_000
"""Characters of a memory."""
MOST_ENTRIES = 500
"""Entries of one list or object."""
DEEPEST = 12
"""Nesting of metadata."""
_LARGEST_ID = 2**53 - 1

BRIEF = "brief"
"""Key of `Meta.extra_json_schema` whose value stands for the whole schema of a parameter in tools/list."""
Id = Annotated[int, msgspec.Meta(ge=1, le=_LARGEST_ID)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a tool takes."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a tool answers; every key is always there.

    `LISTED` names the keys that tools/list shows, where that is not all of them: the list is paid for in every
    agent's context. The whole schema is a resource (`engram://tools/{name}`).
    """

    LISTED: ClassVar[tuple[str, ...]] = ()


_Arguments = TypeVar("_Arguments", bound=Arguments)


def input_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON schema of arguments, as short as it can be: an optional parameter is one that is not required."""
    return _schema(kind, nullable=False)


def output_schema(kind: type[Answer]) -> dict[str, Any]:
    """JSON schema of an answer as tools/list shows it: the keys an agent goes on with."""
    return {"type": "object", "required": list(kind.LISTED or _names(kind))}


def whole_output_schema(kind: type[Answer]) -> dict[str, Any]:
    """JSON schema of an answer with all its keys and types; null is named where it can occur."""
    return {**_schema(kind, nullable=True), "required": _names(kind)}


def _names(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]


def read_arguments(tool: str, kind: type[_Arguments], given: Mapping[str, Any]) -> _Arguments:
    """What an agent sent, checked and made inert (control characters become visible pictures).

    Lists and objects that arrive as JSON in a string (some clients do that) are read. Raises UsageError with one
    line that names the parameter.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    values = {name: _unpacked(value, hints.get(name)) for name, value in given.items()}
    try:
        limits = {"content": LONGEST_CONTENT, "new_content": LONGEST_CONTENT}
        clean = {name: _inert(value, name, limits.get(name, LONGEST_TEXT)) for name, value in values.items()}
        read = msgspec.convert(clean, built(kind))
    except msgspec.ValidationError as error:
        known = ", ".join(field.name for field in msgspec.structs.fields(kind))
        takes = f"parameters: {known}" if known else "it takes no parameters"
        detail = str(error).replace("`$.", "`").replace("Object contains", "there is an")
        raise UsageError(f"{tool}: {detail}.", hint=f"Correct it and call again; {takes}.") from error
    except _TooMuch as error:
        raise UsageError(
            f"{tool}: {error}", hint="Send a summary, and name the file that has the rest."
        ) from error
    for name, value in clean.items():
        if isinstance(value, str) and not value.strip() and _wants_words(hints[name]):
            raise UsageError(f"{tool}: {name} is blank.", hint="Say it in words and call again.")
    return read


def _wants_words(hint: Any) -> bool:
    return hint == Text or Text in typing.get_args(hint)


class _TooMuch(ValueError):
    """A value larger than is kept."""


def _inert(value: Any, where: str, limit: int, depth: int = 0) -> Any:
    if isinstance(value, str):
        if len(value) > limit:
            raise _TooMuch(f"{where} has {len(value):,} characters; at most {limit:,} are kept.")
        return inert_text(value)
    if isinstance(value, (list, dict)):
        if len(value) > MOST_ENTRIES:
            raise _TooMuch(f"{where} has {len(value):,} entries; at most {MOST_ENTRIES} are kept.")
        if depth == DEEPEST:
            raise _TooMuch(f"{where} is nested deeper than {DEEPEST} levels.")
        if isinstance(value, list):
            return [_inert(entry, where, limit, depth + 1) for entry in value]
        return {
            _inert(str(key), where, limit): _inert(entry, f"{where}.{str(key)[:40]}", limit, depth + 1)
            for key, entry in value.items()
        }
    return value


def _unpacked(value: Any, hint: Any) -> Any:
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{") or _takes_text(hint):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _takes_text(hint: Any) -> bool:
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if isinstance(hint, types.UnionType):
        return any(_takes_text(part) for part in typing.get_args(hint))
    return hint is str or hint is None or typing.get_origin(hint) is typing.Literal


def _schema(kind: type[msgspec.Struct], *, nullable: bool) -> dict[str, Any]:
    (root,), parts = msgspec.json.schema_components([kind])
    return typing.cast("dict[str, Any]", _compact(parts[_name(root)], parts, nullable, is_struct=True))


def _compact(node: Any, parts: Mapping[str, Any], nullable: bool, is_struct: bool = False) -> Any:
    if isinstance(node, list):
        return [_compact(part, parts, nullable) for part in node]
    if not isinstance(node, dict):
        return node
    if BRIEF in node:
        return node[BRIEF]
    if "$ref" in node:
        return _compact(parts[_name(node)], parts, nullable, is_struct=True)
    if "anyOf" in node:
        return _alternatives(node, parts, nullable)
    short: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            short[key] = {name: _compact(part, parts, nullable) for name, part in value.items()}
        elif key == "enum":
            short[key] = sorted(value, key=str) if nullable else value
        elif key == "minimum" and node.get("maximum") == _LARGEST_ID:
            continue  # an id: that it is positive tells nobody anything
        elif not _is_noise(key, value, is_struct):
            short[key] = _compact(value, parts, nullable)
    if nullable:
        short.pop("default", None)
        short.pop("required", None)
    return short


def _alternatives(node: Mapping[str, Any], parts: Mapping[str, Any], nullable: bool) -> dict[str, Any]:
    options = [part for part in node["anyOf"] if part != {"type": "null"}]
    if len(options) > 1:
        return {"anyOf": [_compact(part, parts, nullable) for part in options]}
    only: dict[str, Any] = _compact(options[0], parts, nullable)
    if nullable and "type" in only and len(options) < len(node["anyOf"]):
        only = {**only, "type": [only["type"], "null"]}
    if not nullable and node.get("default") not in (None, [], {}):
        only["default"] = node["default"]
    return only


def _is_noise(key: str, value: Any, is_struct: bool) -> bool:
    if (
        key == "title"
        or (key == "description" and is_struct)
        or (key == "additionalProperties" and is_struct)
    ):
        return True
    if key == "default":
        return value in (None, "", [], {}, ())
    if key in ("items", "additionalProperties") and value in ({"type": "object"}, {"type": "integer"}):
        return True
    return (key, value) in (("maximum", _LARGEST_ID), ("minLength", 1), ("maxLength", LONGEST_CONTENT)) or (
        key == "required" and not value
    )


def _name(reference: Mapping[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]
