"""Recipes that somebody changed: whatever is wrong, one line and exit code 2, soon."""

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagebind_llm.cli import main
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.yaml_text import DEEPEST, NotYaml, parse_yaml
from imagebind_llm.training.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
ODD: list[Any] = [
    None, True, -1, 10**400, float("nan"), "", "x\ny" * 50, "x" * 5000, [], [None], [[]], [{}], {}, {"a": 1},
    {5: 6}, {None: 1}, [1] * 1000, {"path": 5, "kind": 5}, b"x",
]  # fmt: skip


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = (
        values.items() if isinstance(values, dict) else enumerate(values if isinstance(values, list) else ())
    )
    for key, value in inner:
        yield from places(value, (*path, key))


def changed(values: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    whole = node = copy.deepcopy(values)
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = odd
    return whole


@pytest.mark.parametrize("name", ["7b-published/finetune.yaml", "7b-published/pretrain.yaml"])
def test_odd_values_are_one_line(tmp_path: Path, name: str) -> None:
    values = yaml.safe_load((RECIPES / name).read_text())
    file = tmp_path / "recipe.yaml"
    said: list[str] = []
    for number, path in enumerate(places(values)):
        unknown = [changed(values, (*path[:-1], f"{path[-1]}x"), 1)] if path and path[-1] in values else []
        for tampered in [*(changed(values, path, odd) for odd in ODD[number % 5 :: 5]), *unknown]:
            file.write_text(yaml.safe_dump(tampered))
            try:
                load_recipe(values["stage"], file)
            except UserError as error:
                said.append(str(error))
    assert len(said) > 100
    assert not [line for line in said if "\n" in line or len(line) > 600]


BOMB = "a: &a0 [x, x]\n" + "".join(f"b{n}: &a{n + 1} [*a{n}, *a{n}, *a{n}]\n" for n in range(30))
MERGES = "a: &a0 {k: 1}\n" + "".join(
    f"b{n}: &a{n + 1}\n  <<: [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(20)
)
TEXTS = {
    "aliases": (BOMB, "more than 100,000 values, with what its aliases repeat"),
    "merged aliases": (MERGES, "more than 100,000 values"),
    "an alias of itself": ("run: &a [*a]\n", "an alias that holds itself"),
    "deep lists": ("run: " + "[" * 5000 + "]" * 5000, f"nested more than {DEEPEST} deep"),
    "deep mappings": ("".join(" " * n + "a:\n" for n in range(300)), f"nested more than {DEEPEST} deep"),
    "deep through aliases": (
        "a: &a0 [x]\n" + "".join(f"b{n}: &a{n + 1} [*a{n}]\n" for n in range(99)),
        f"nested more than {DEEPEST} deep",
    ),
    "long": ("run: 1\n" + "# x\n" * 200_000, "characters, 524,288 are read at most"),
    "a key twice": ("run: {steps: 1, steps: 2}\n", "the key 'steps' stands twice"),
    "a group twice": ("run: {steps: 1}\nrun: {steps: 2}\n", "the key 'run' stands twice"),
    "many digits": ("run: {steps: " + "9" * 5000 + "}\n", "a value that cannot be read"),
    "no such day": ("run: {steps: 2024-13-45}\n", "a value that cannot be read"),
    "an odd tag": ("run: !!python/object:os.system {a: 1}\n", "could not determine a constructor"),
    "an odd whole number": ("run: !!int ''\n", "a value that cannot be read"),
    "an odd date": ("run: !!timestamp x\n", "a value that cannot be read"),
    "a list as key": ("? [a, b]\n: 1\n", "unhashable key"),
    "two documents": ("run: 1\n---\nrun: 2\n", "expected a single document"),
    "a tab": ("run:\n\tsteps: 1\n", "is not valid YAML"),
    "an unknown alias": ("run: *no\n", "undefined alias"),
    "a control character": ("run: \x01\n", "is not valid YAML"),
    "a list": ("- 1\n", "expected a mapping of settings"),
    "nothing": ("", "expected a mapping of settings"),
    "a stage that is no name": ("stage: [1]\n", "stage is [1]"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_odd_texts_are_one_line_and_code_2(tmp_path: Path, capsys: Any, kind: str) -> None:
    text, words = TEXTS[kind]
    (tmp_path / "recipe.yaml").write_text(text)
    start = time.monotonic()
    with pytest.raises(SystemExit) as left:
        main(["train", "finetune", str(tmp_path / "recipe.yaml")])
    errors = capsys.readouterr().err
    assert left.value.code == 2
    assert errors.count("\n") == 1
    assert errors.startswith("error: ")
    assert words in errors
    assert len(errors) < 600
    assert time.monotonic() - start < 20


def test_what_yaml_may_hold() -> None:
    text = "a: &a {x: 1, y: [1, 2]}\nb: {<<: *a, x: 2}\nc: *a\n"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml("") is None
    with pytest.raises(NotYaml):
        parse_yaml("[")
