"""The engine's process, seen from the server: its environment, its start, its end and what it says last."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import imagebind_llm
from imagebind_llm.common.errors import UserError, one_line

MODULE = "imagebind_llm.serving.vllm.process"
ENTRY_POINTS = "[vllm.general_plugins]\nimagebind_llm = imagebind_llm.serving.vllm.plugin:register\n"
_LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
_ERROR = re.compile(r"\b\w*(Error|Exception|Interrupt|Exit)\b: ?\S")
_TAIL = 2**16


def write_path_folder(folder: Path) -> Path:
    """A folder for the other environment's ``PYTHONPATH``: this package, its entry points, nothing else.

    The folder that this package lies in may hold all of this environment's packages, which must not shadow
    those of the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    package = Path(imagebind_llm.__file__).parent
    (folder / "imagebind_llm").symlink_to(package, target_is_directory=True)
    info = folder / f"imagebind_llm-{imagebind_llm.__version__}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: imagebind-llm\nVersion: {imagebind_llm.__version__}\n"
    )
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def environment(path_folder: Path, temporary: Path, second_runner: bool) -> dict[str, str]:
    """The environment variables of the process: this one's, without its packages, and what vLLM needs.

    Args:
        path_folder: what :func:`write_path_folder` wrote.
        temporary: where it may leave files.
        second_runner: vLLM's V2 model runner.
    """
    found = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    found |= {
        "PYTHONPATH": str(path_folder),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(temporary),
        "VLLM_USE_V2_MODEL_RUNNER": "1" if second_runner else "0",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    found.pop("VLLM_PLUGINS", None)  # which would keep ours out
    return found


def check_python(python: str | os.PathLike[str]) -> str:
    """The path of a Python with vLLM, found but not run.

    Raises:
        UserError: there is no such program.
    """
    path = Path(python).expanduser()
    if path.is_dir():  # an environment
        path = path / "bin" / "python"
    if not path.is_file() or not os.access(path, os.X_OK):
        raise UserError(
            f"there is no Python at {str(path)!r}; give that of an environment with vLLM (--vllm-python; "
            "make test-vllm creates .venv-vllm)"
        )
    return str(path.absolute())  # not resolved: the link says which environment it is


def spawn(
    command: list[str], environment: Mapping[str, str], log: Path
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the process; it writes what it says into ``log``.

    Returns:
        The process, and this side's socket. The number of the other side's is added to ``command``.

    Raises:
        UserError: the program cannot be run.
    """
    ours, theirs = socket.socketpair()
    try:
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the server, which ends it in its own time
                cwd=log.parent,
            )
    except OSError as error:
        ours.close()
        raise UserError(f"{command[0]!r} cannot be run ({error.strerror}); give another Python") from None
    finally:
        theirs.close()
    return process, ours


def end(process: subprocess.Popen[bytes], patience: float) -> int:
    """Wait for the process, then end it and all that it started; returns its exit status.

    Args:
        process: from :func:`spawn`.
        patience: seconds until it is asked to end, and again until it is killed.
    """
    if not _ended(process, patience):
        process.terminate()
        _ended(process, patience)
    if process.returncode is None:  # nobody has asked for its status yet, so its number is still its own
        with contextlib.suppress(OSError):  # with the workers of a model that is spread over devices
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _ended(process: subprocess.Popen[bytes], patience: float) -> bool:
    """Wait until it has ended, without taking its exit status."""
    until = time.monotonic() + patience
    while process.returncode is None:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def last_words(log: Path) -> str:
    """The last line of a log that names an error, or else the last line; one line."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "it said nothing"
    said = [line for line in lines if line.strip()]
    errors = [line for line in said if _ERROR.search(line)]
    return one_line((errors or said or ["it said nothing"])[-1])


def failure(python: str, log: Path, code: int, error: str | None = None) -> UserError:
    """What to tell the user of a process that ended before it was ready.

    Args:
        python: what it was started with.
        log: what it wrote.
        code: its exit status.
        error: what it sent, if it could.
    """
    words = one_line(error) if error else last_words(log)
    if re.search(r"No module named '?vllm", words):
        return UserError(
            f"{python!r} has no vLLM; give the Python of an environment that has (--vllm-python; make "
            "test-vllm creates .venv-vllm)"
        )
    return UserError(f"vLLM did not start (exit status {code}): {words}; its log is {str(log)!r}")


def default_command(python: str) -> list[str]:
    """The command without its arguments. ``-P``: no folder but those named is searched for modules."""
    return [python, "-P", "-m", MODULE]


if sys.platform == "win32":  # pragma: no cover
    raise ImportError("vLLM runs on Linux")
