"""The layout: few names at the root, imports that go one way, and no circle."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "imagebind_llm"
FLOORS = (
    "common", "media", "encoders", "cache", "model", "inference", "checkpoints", "data", "training",
    "evaluation", "skills", "serving", "cli", "nano",
)  # fmt: skip
"""Each may import those before it. A new room takes its place here."""
MOST_NAMES = 16


@cache
def imports() -> dict[str, dict[str, bool]]:
    """Module → the modules of this package that it imports anywhere → whether only for type checking."""
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
    found: dict[str, dict[str, bool]] = {}
    for name, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        typing = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        own = found.setdefault(name, {})
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imagebind_llm"):
                base = (node.module or "").removeprefix("imagebind_llm").lstrip(".")
                for alias in node.names:
                    inner = f"{base}.{alias.name}".lstrip(".")
                    whole = next(
                        option
                        for option in (inner, f"{inner}.__init__", base, f"{base}.__init__".lstrip("."))
                        if option in files
                    )
                    own[whole] = own.get(whole, True) and id(node) in typing
    return found


def test_few_names_at_the_root():
    names = {path.stem for path in ROOT.iterdir() if not path.name.startswith(("__", "py.typed"))}
    assert names <= set(FLOORS), f"no floor for {names - set(FLOORS)}"
    assert len(names) <= MOST_NAMES


def test_imports_go_down():
    upward = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if (floor := module.split(".")[0]) in FLOORS
        and (below := other.split(".")[0]) in FLOORS
        and FLOORS.index(below) > FLOORS.index(floor)
    ]
    assert not upward
    assert sum(map(len, imports().values())) > 500, "the imports are not found any more"


def test_no_circle():
    graph = {
        module: {other for other, typing in others.items() if not typing and other != module}
        for module, others in imports().items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" → ".join(error.args[1])) from None


def test_common_needs_no_torch():
    for path in ROOT.glob("common/*.py"):
        tops = [
            node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {alias.name for node in tops for alias in node.names} | {
            getattr(n, "module", "") for n in tops
        }
        if path.stem in (
            "errors",
            "files",
            "folders",
            "leftovers",
            "settings",
            "locate",
            "modality",
            "hub",
            "work_folder",
        ):
            assert not any(str(name).split(".")[0] in ("torch", "transformers") for name in names), path
