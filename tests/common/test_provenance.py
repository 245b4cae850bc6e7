"""A run record names this package's commit, never that of a user's repository."""

import subprocess
from pathlib import Path

import pytest

from imagebind_llm.common.provenance import commit, versions


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "own.py").write_text("1\n")
    git(tmp_path, "add", "own.py")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_a_copy_in_a_users_repository_has_no_commit(repository: Path) -> None:
    """As in a virtual environment inside a project, ignored or not."""
    installed = repository / "venv" / "site-packages" / "imagebind_llm" / "common"
    installed.mkdir(parents=True)
    copy = installed / "provenance.py"
    copy.write_text("")
    assert commit(copy) is None
    (repository / ".gitignore").write_text("venv\n")
    assert commit(copy) is None


def test_a_tracked_file_has_the_commit_of_its_repository(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert commit(repository / "own.py") == head
    (repository / "own.py").write_text("2\n")
    assert commit(repository / "own.py") == f"{head}+"
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))  # as in a hook of another repository
    assert commit(repository / "own.py") == f"{head}+"


def test_outside_any_repository_and_without_git(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert commit(repository / "own.py") is None


def test_versions_of_what_is_installed() -> None:
    assert list(versions(["numpy", "no-such-package"])) == ["numpy"]
