"""Whether every dependency has a wheel for a version of Python; nothing is installed.

``python tests/support/wheels.py 3.13`` (``make wheels``): pip resolves the dependencies of pyproject.toml
with wheels only, as it would on that Python.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def dependencies(*extras: str) -> list[str]:
    """What pyproject.toml asks for, with some of its extras."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + [
        need for extra in extras for need in project["optional-dependencies"][extra]
    ]


def resolve(python: str) -> int:
    """pip's exit status."""
    with tempfile.TemporaryDirectory() as nowhere:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--only-binary=:all:", "--python-version", python, "--target", nowhere]
        return subprocess.run([*command, *dependencies("train", "convert")], check=False).returncode


if __name__ == "__main__":
    version = sys.argv[1] if len(sys.argv) > 1 else "3.13"
    status = resolve(version)
    print(
        f"Python {version}: {'every dependency has a wheel' if status == 0 else 'not every one, see above'}"
    )
    sys.exit(status)
