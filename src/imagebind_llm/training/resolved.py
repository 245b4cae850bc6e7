"""What a run was: its resolved recipe, with the versions and the commit it ran under."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.settings import to_plain

_REPORTED_PACKAGES = ("torch", "transformers", "accelerate", "peft", "safetensors", "numpy")


def save_resolved(stage: str, recipe: Any, folder: Path) -> None:
    """Write ``recipe.yaml``: the resolved settings, loadable again as they are, and the versions in
    comments."""
    found = []
    for package in ("imagebind-llm", *_REPORTED_PACKAGES):
        try:
            found.append(f"# {package} {version(package)}")
        except PackageNotFoundError:
            continue
    commit = _git_commit()
    if commit:
        found.append(f"# commit {commit}")
    text = yaml.safe_dump({"stage": stage, **to_plain(recipe)}, sort_keys=False, allow_unicode=True)
    with atomic_write(folder / "recipe.yaml") as temporary:
        temporary.write_text("\n".join(found) + "\n" + text, encoding="utf-8")


def _git_commit() -> str | None:
    """The commit this package is run from, with ``+`` if the tree differs; None outside a repository."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")
