"""The process of one call (:mod:`imagebind_llm.skills.tools.separate`), run as a script.

It reads what is asked on standard input and writes one JSON object on what was standard output; what the
function prints goes to standard error. It imports nothing of this package.
"""

import asyncio
import importlib
import inspect
import json
import os
import sys
from typing import Any


def _called(asked: dict[str, Any]) -> Any:
    function = getattr(importlib.import_module(asked["module"]), asked["function"])
    if asked["checked"]:
        from pydantic import validate_call

        function = validate_call(function)
    found = function(**asked["arguments"])
    return asyncio.run(found) if inspect.iscoroutine(found) else found


def _said(error: BaseException) -> str:
    """As the toolbox says it of an error in a thread."""
    lines = str(error).strip().splitlines() or [""]
    if any(kind.__name__ == "UserError" for kind in type(error).__mro__):
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}"


def main() -> None:
    """Make the call."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        asked = json.load(sys.stdin.buffer)
        sys.path[:] = asked["path"]
        try:
            told = json.dumps({"result": _called(asked)})
        except BaseException as error:  # SystemExit, too: the caller waits for an answer
            told = json.dumps({"error": _said(error)})
        out.write(told)


if __name__ == "__main__":
    main()
