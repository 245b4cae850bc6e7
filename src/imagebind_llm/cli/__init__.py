"""The command line. Nothing heavy is imported until a command needs it, so ``--help`` is quick.

Exit codes: 0 done; 2 bad input, a full disk or output that cannot be written (one line on stderr that begins
with ``error:``); 1 our fault (one line, and the traceback with ``--debug``); 130 interrupted.
"""

import sys
from collections.abc import Sequence

from imagebind_llm.common.errors import UserError, naming_missing_packages

BAD_INPUT = 2
OUR_FAULT = 1
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``imagebind-llm`` and leave with its exit code."""
    from imagebind_llm.cli import streams

    given = list(sys.argv[1:] if arguments is None else arguments)
    words = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in words
    if debug:
        given.remove("--debug")
    with streams.prepared():
        try:
            code = _run(given, debug)
            sys.stdout.flush()
        except streams.OutputLost as lost:
            streams.give_up()
            said = f"standard output takes no more ({lost.reason}); send it to another place"
            code = 0 if lost.unwanted else _complain(said, BAD_INPUT, debug)
    sys.exit(code)


def _run(given: list[str], debug: bool) -> int:
    """Run a command; returns its exit code."""
    from imagebind_llm.cli import streams

    try:
        from imagebind_llm.cli.app import Abort, UsageError, app, complaint, quieten

        if not debug:
            quieten()
        try:
            with naming_missing_packages("this command"):
                left = app(args=given, prog_name="imagebind-llm", standalone_mode=False)
                return left if isinstance(left, int) else 0
        except SystemExit as leaving:
            return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except Abort:  # a question of ours met the end of the input
            return _complain("nothing was answered", OUR_FAULT, debug)
        except UsageError as error:
            said = complaint(error)
            if said is None:
                error.show()
            return BAD_INPUT if said is None else _complain(said, BAD_INPUT, debug)
    except streams.OutputLost:
        raise
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except UserError as error:
        return _complain(str(error), BAD_INPUT, debug)
    except OSError as error:
        if error.filename is not None:
            return _complain(f"{error.filename!r}: {error.strerror}", BAD_INPUT, debug)
        return _complain(*_unforeseen(error), debug)
    except Exception as error:
        return _complain(*_unforeseen(error), debug)


def _unforeseen(error: Exception) -> tuple[str, int]:
    """What to say of an error that nobody has put into words, and the exit code."""
    from imagebind_llm.common.files import is_full_disk

    first = (str(error).strip() or "no message").splitlines()[0]
    if is_full_disk(error):
        return f"a disk is full, or a file would be larger than allowed ({first}); make room", BAD_INPUT
    return f"this should not happen: {type(error).__name__}: {first} (add --debug to see where)", OUR_FAULT


def _complain(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line}\n")
    return code
