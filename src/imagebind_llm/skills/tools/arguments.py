"""Arguments of a call: read, and checked against the schema of the tool."""

from collections.abc import Mapping
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, require, short
from imagebind_llm.skills.tools.definition import FEATURE, Tool


def check_arguments(tool: Tool, arguments: Any) -> dict[str, Any]:
    """The arguments, if they are valid for the tool's schema (JSON Schema, 2020-12).

    Nothing is fetched: a ``$ref`` to another document is refused.

    Raises:
        UserError: what is wrong with the first one that is, or with the schema itself.
    """
    library = require("jsonschema", "tools", FEATURE)
    nowhere = require("referencing", "tools", FEATURE).Registry()
    if not isinstance(arguments, Mapping):
        raise UserError(f"the arguments are {short(arguments)}; expected an object")
    validator = library.Draft202012Validator(dict(tool.parameters), registry=nowhere)
    try:
        wrong = library.exceptions.best_match(validator.iter_errors(dict(arguments)))
    except Exception as error:  # a schema that is none, or refers to what is not there
        raise UserError(f"the schema of {tool.name} cannot be checked: {one_line(error, 160)}") from error
    if wrong is not None:
        where = wrong.json_path.removeprefix("$.").removeprefix("$") or "the arguments"
        raise UserError(f"{where}: {one_line(wrong.message, 200)}")
    return dict(arguments)
