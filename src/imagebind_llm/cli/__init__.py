"""The command line. Nothing heavy is imported until a command needs it, so ``--help`` is quick.

Exit codes: 0 done; 2 bad input (one line on stderr that begins with ``error:``); 1 our fault (one line, and
the traceback with ``--debug``); 130 interrupted.
"""

import sys
from collections.abc import Sequence

from imagebind_llm.common.errors import UserError, naming_missing_packages

BAD_INPUT = 2
OUR_FAULT = 1
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``imagebind-llm`` and leave with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in words
    if debug:
        given.remove("--debug")
    try:
        from imagebind_llm.cli.app import Abort, UsageError, app, complaint, quieten

        if not debug:
            quieten()
        code = 0
        try:
            with naming_missing_packages("this command"):
                left = app(args=given, prog_name="imagebind-llm", standalone_mode=False)
                code = left if isinstance(left, int) else 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except Abort:  # a question of ours met the end of the input
            code = _complain("nothing was answered", OUR_FAULT, debug)
        except UsageError as error:
            said = complaint(error)
            if said is None:
                error.show()
            code = BAD_INPUT if said is None else _complain(said, BAD_INPUT, debug)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        code = INTERRUPTED
    except UserError as error:
        code = _complain(str(error), BAD_INPUT, debug)
    except OSError as error:
        if error.filename is None:
            code = _complain(_ours(error), OUR_FAULT, debug)
        else:
            code = _complain(f"{error.filename!r}: {error.strerror}", BAD_INPUT, debug)
    except Exception as error:
        code = _complain(_ours(error), OUR_FAULT, debug)
    sys.exit(code)


def _ours(error: Exception) -> str:
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"this should not happen: {type(error).__name__}: {first} (add --debug to see where)"


def _complain(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line}\n")
    return code
