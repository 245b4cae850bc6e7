"""Running the command line in this process."""

from pathlib import Path
from typing import NamedTuple

import pytest

from imagebind_llm.cli import main


class Run(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def refused(self, *words: str) -> str:
        """The one error line, which says all ``words``."""
        assert self.code == 2, self.err or self.out
        assert self.out == ""
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1, self.err
        for word in words:
            assert word in self.err, self.err
        return self.err


@pytest.fixture
def convert(capsys):
    """``convert("llama", folder, "--out", …)`` → how it ended."""

    def call(*arguments) -> Run:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main(["convert", *map(str, arguments)])
        found = capsys.readouterr()
        return Run(leaving.value.code, found.out, found.err)

    return call


@pytest.fixture
def leftovers():
    """What a failed conversion left in a folder, beside the sources."""

    def call(folder: Path, *known: str) -> set[str]:
        return {file.name for file in folder.iterdir()} - set(known)

    return call
