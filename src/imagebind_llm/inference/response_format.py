"""``response_format``: the form that an answer must have, as OpenAI's clients give it.

* ``{"type": "text"}``: any;
* ``{"type": "json_object"}``: a JSON object;
* ``{"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}``: JSON that is valid for a schema;
* ``{"type": "grammar", "grammar": {"syntax": "lark", "definition": …}}``: a text of a Lark grammar, as
  llguidance reads it (from Python only: the API does not take it).
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.names import refuse_unknown

_TYPES = ("text", "json_object", "json_schema", "grammar")
MOST_SCHEMA = 100_000
"""Characters of a schema as JSON; OpenAI's limit is of the same order (120,000)."""


class Form(NamedTuple):
    """What a ``response_format`` asks for: a JSON schema or a Lark grammar, as text."""

    kind: Literal["schema", "lark"]
    text: str


def read_form(given: Any, where: str = "response_format") -> Form | None:
    """The form that is asked for; None for any text.

    Raises:
        UserError: it is malformed. Whether a schema can be followed is found out when it is compiled.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping) or given.get("type") not in _TYPES:
        raise UserError(f"{where} is {short(given)}; expected an object with a 'type' of {', '.join(_TYPES)}")
    kind = str(given["type"])
    refuse_unknown(
        given, ["type", *([kind] if kind in ("json_schema", "grammar") else [])], what=f"key in {where}:"
    )
    if kind == "text":
        return None
    if kind == "json_object":
        return Form("schema", '{"type": "object"}')
    if kind == "grammar":
        return _lark(given.get("grammar"), f"{where}.grammar")
    own = given.get("json_schema")
    if not isinstance(own, Mapping):
        raise UserError(f"{where}.json_schema is {short(own)}; expected {{'name': …, 'schema': {{…}}}}")
    refuse_unknown(own, ("name", "schema", "strict", "description"), what=f"key in {where}.json_schema:")
    return Form("schema", schema_text(own.get("schema"), f"{where}.json_schema.schema"))


def schema_text(schema: Any, where: str) -> str:
    """A JSON schema as text.

    Raises:
        UserError: it is no object, no JSON, or longer than :data:`MOST_SCHEMA`.
    """
    if not isinstance(schema, Mapping):
        raise UserError(f"{where} is {short(schema)}; expected a JSON schema, an object")
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{where} is no JSON ({error}); expected a JSON schema") from None
    if len(text) > MOST_SCHEMA:
        raise UserError(f"{where} has {len(text):,} characters; expected at most {MOST_SCHEMA:,}")
    return text


def _lark(given: Any, where: str) -> Form:
    if (
        not isinstance(given, Mapping)
        or given.get("syntax") != "lark"
        or not isinstance(given.get("definition"), str)
    ):
        raise UserError(f"{where} is {short(given)}; expected {{'syntax': 'lark', 'definition': …}}")
    refuse_unknown(given, ("syntax", "definition"), what=f"key in {where}:")
    return Form("lark", given["definition"])
