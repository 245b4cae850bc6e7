"""A function as a tool that runs in a process of its own, which is killed when the time of the call is over.

Arguments and result go through pipes as JSON, so that nothing is shared with this process. Starting one takes
the time of starting Python and importing the function's module.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.skills.tools.stopping import check_time, ended_by

_SCRIPT = Path(__file__).with_name("separate_main.py")


class InProcess:
    """Calls a function in a process of its own.

    Args:
        function: at the top of a module that can be imported by its name; it may be a coroutine function.
        checked: whether the arguments are made into the types of its hints, as pydantic does.

    Raises:
        UserError: another process cannot find the function.
    """

    def __init__(self, function: Callable[..., Any], checked: bool = False) -> None:
        module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
        if module in ("", None, "__main__") or not name.isidentifier():
            raise UserError(
                f"{short(function)} cannot run in a process of its own; expected a function at the top of a "
                "module that can be imported"
            )
        self._what = {"module": module, "function": name, "checked": checked}

    def __call__(self, **arguments: Any) -> Any:
        """What the function gives.

        Raises:
            UserError: it raises something, gives what JSON cannot hold, or its process ends before it does.
        """
        asked = json.dumps({**self._what, "arguments": arguments, "path": [*sys.path, ""]})
        with (
            subprocess.Popen(
                [sys.executable, "-P", str(_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # so that what it starts is killed with it
            ) as process,
            ended_by(lambda: _kill(process)),
        ):
            told, _ = process.communicate(asked.encode())
        check_time()
        try:
            reply = json.loads(told)
        except ValueError:
            raise UserError(f"its process ended with exit code {process.returncode}") from None
        if "error" in reply:
            raise UserError(one_line(reply["error"], 200))
        return reply["result"]


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
