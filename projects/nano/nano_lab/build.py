"""``make nano DATA=…``: every step from the data sets to the bundled model, two at a time.

Nothing is done here but to start the package's own commands in order. Each run resumes where it stopped, and
one that was finished says so and ends at once, so the build can be interrupted and started again.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.locate import nano_folder
from imagebind_llm.training.build import Step, at_least, build, exit_code, heard, moved, read_recipe

SENSES = ("text", "depth", "thermal", "imu", "audio", "point")
RUNS = "runs/nano"
"""Where the recipes say that runs lie."""
WEIGHTS = nano_folder()


@dataclass(frozen=True)
class Plan:
    """What is built from what.

    Attributes:
        data: folder of the data sets.
        recipes: folder of the recipes.
        runs: every run goes here, wherever the recipes would have it.
        out: folder of the finished model.
        overrides: ``key=value`` for every training step.
        items: most test items of each sense; None = the standard evaluation.
        photographs: whether training sees photographs of other things, as the recipes say.
    """

    data: Path
    recipes: Path = Path("recipes/nano")
    runs: Path = Path(RUNS)
    out: Path = WEIGHTS
    overrides: tuple[str, ...] = ()
    items: int | None = None
    photographs: bool = True


def steps(plan: Plan) -> list[Step]:
    """The steps of the build. Pre-training computes the bank of image embeddings that the senses share.

    Raises:
        UserError: a recipe is missing or no YAML.
    """
    data, runs, out = str(plan.data), plan.runs, str(plan.out)

    def train(stage: str, name: str, *after: str) -> Step:
        recipe = plan.recipes / f"{name}.yaml"
        root = [] if stage == "language" else [f"data.root={data}"]
        values = read_recipe(recipe)
        if root and not plan.photographs:
            root.append("data.others=[]")
            if "photographs" in values["data"].get("shares", {}):
                root.append("data.shares.photographs=0")
        places = moved(values, runs, RUNS)
        return Step(name, ("train", stage, str(recipe), *root, *places, *plan.overrides), after)

    encoders = [str(runs / name / "export") for name in ("bind-images-2", *(f"bind-{s}" for s in SENSES))]
    limit = () if plan.items is None else ("--items", str(plan.items))
    measured = str(runs / "evaluation")
    generator = train("nano.generator", "generator", "pack")
    return [
        train("bind", "bind-images"),
        train("bind", "bind-images-2", "bind-images"),
        train("language", "language"),
        train("pretrain", "pretrain", "language", "bind-images-2"),
        train("finetune", "finetune", "pretrain"),
        train("finetune", "finetune-2", "finetune"),
        train("finetune", "finetune-3", "finetune-2"),
        train("finetune", "finetune-4", "finetune-3"),
        train("finetune", "finetune-5", "finetune-4"),
        train("finetune", "finetune-6", "finetune-5"),
        train("finetune", "finetune-7", "finetune-6"),
        train("finetune", "finetune-8", "finetune-7"),
        *(train("bind", f"bind-{sense}", "pretrain") for sense in SENSES),
        Step(
            "merge",
            ("train", "merge", *encoders, "--out", str(runs / "encoder")),
            tuple(f"bind-{sense}" for sense in SENSES),
        ),
        Step(
            "average",
            ("average", str(runs / "average"), *(str(runs / f"finetune-{n}" / "export") for n in (7, 8))),
            ("finetune-8",),
            "nano_lab.build",
        ),
        train("finetune", "finetune-9", "average"),
        Step(
            "pack",
            ("pack", str(runs / "finetune-9" / "export"), str(runs / "encoder"), data, out),
            ("finetune-9", "merge"),
            "nano_lab.build",
        ),
        Step(
            "evaluate",
            ("eval", "nano", "--data", data, "--model", out, "--out", measured, *limit),
            ("pack",),
        ),
        replace(generator, arguments=(*generator.arguments, f"model={out}")),
    ]


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m nano_lab.build",
        description="Make nano from its data sets. Started again, it goes on where it stopped.",
        epilog="A quick try of every step: --runs /tmp/runs --out /tmp/nano --items 4 run.steps=2",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--recipes", type=Path, default=Path("recipes/nano"), help="folder of the recipes")
    parser.add_argument("--runs", type=Path, default=Path(RUNS), help="folder for every run and its log")
    parser.add_argument("--out", type=Path, help="folder of the model; default: the one in the package")
    parser.add_argument(
        "--jobs",
        type=at_least(1),
        default=2,
        help="steps at a time (each uses one thread, the pictures two)",
    )
    parser.add_argument("--items", type=at_least(2), help="most test items of each sense in the evaluation")
    parser.add_argument(
        "--without-photographs",
        action="store_true",
        help="train without Flickr8k's photographs of other things: with them the weights are research only",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="settings to change in every training step"
    )
    return parser.parse_args(given)


def _build(given: argparse.Namespace, signals: Sequence[int]) -> None:
    from nano_lab.world.tables import OTHERS, check_tables

    if given.overrides and given.out is None:
        raise UserError("with settings changed this is another nano; give --out, its folder")
    if not given.data.is_dir():
        raise UserError(f"there is no folder {str(given.data)!r}; give the folder of nano's data sets")
    photographs = not given.without_photographs
    check_tables(given.data, tuple(OTHERS) if photographs else ())  # before hours of work, not in the middle
    out = WEIGHTS if given.out is None else given.out
    plan = Plan(given.data, given.recipes, given.runs, out, tuple(given.overrides), given.items, photographs)
    build(steps(plan), given.runs / "logs", given.jobs, signals)


def main() -> int:
    """Command line; ``average`` and ``pack`` are the steps that are no commands of the package."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["average"]:
        return exit_code(lambda: _average(*map(Path, arguments[1:])))
    if arguments[:1] == ["pack"]:
        return exit_code(lambda: _pack(*map(Path, arguments[1:])))
    given = _arguments(arguments)
    return exit_code(lambda: _build(given, heard()))


def _average(out: Path, *models: Path) -> None:
    from nano_lab.average import average

    average(models, out)


def _pack(model: Path, encoder: Path, data: Path, out: Path) -> None:
    from nano_lab.pack import pack

    pack(model, encoder, data, out)


if __name__ == "__main__":
    sys.exit(main())
