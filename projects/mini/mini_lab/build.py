"""``make mini-train DATA=…``: every step from pulled parts and data sets to the finished model.

    python -m mini_lab.build --data DATA --parts PARTS --runs runs/mini

Nothing is done here but to start commands in order. Each goes on where it stopped, and what was finished is
passed over, so the build can be interrupted and started again.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import read_json, write_json
from imagebind_llm.training.build import Step, at_least, build, exit_code, heard, moved, read_recipe
from mini_lab.together import BACKBONES, LANGUAGE_MODEL

RUNS = "runs/mini"
PARTS = "parts"
"""Where the recipes say that runs and parts lie."""
FREE = ("openclipart", "fluent-emoji", "tux-paint")
"""Data sets of ``data fetch`` whose captions stand in for Flickr8k's."""
STAGES = ("heads-text", "heads", "pretrain", "finetune")
SHARE = 0.6
"""How far the low-rank updates count in the finished model, chosen on 100 validation pictures: three beams'
CIDEr is 0.48 at 1, 0.52 at 0.8 and 0.7, 0.54 at 0.6, 0.47 at 0.5; greedy, 0.50 at 1 and 0.44 at 0.6.
On 300 validation pictures three beams have 0.53 at 1 and 0.55 at 0.6; greedy, 0.51 and 0.49."""
AGREEING = 2
"""Captions of a picture that fine-tuning reads more often: those that agree best with the others."""


@dataclass(frozen=True)
class Plan:
    """What is built from what.

    Attributes:
        data: folder of the shared data.
        parts: folder with a folder of each part.
        recipes: folder of the recipes.
        runs: everything goes here, wherever the recipes would have it.
        overrides: ``key=value`` for every training step.
        items: most pictures, recordings, models and requests; None = all.
        flickr8k: whether captions are Flickr8k's; else free ones.
        fetched: data sets of ``data fetch`` that are there already, by name; others are fetched into
            ``runs``.
    """

    data: Path
    parts: Path
    recipes: Path = Path("recipes/mini")
    runs: Path = Path(RUNS)
    overrides: tuple[str, ...] = ()
    items: int | None = None
    flickr8k: bool = True
    fetched: Mapping[str, Path] = field(default_factory=dict)


def steps(plan: Plan) -> list[Step]:
    """The steps of the build.

    Raises:
        UserError: a recipe is missing or no YAML.
    """
    runs = plan.runs
    limit = () if plan.items is None else ("--items", str(plan.items))
    words, furniture = _place(plan, "imagenet-words"), _place(plan, "sweet-home")
    first, encoder = runs / "heads-text" / "export", runs / "heads" / "export"
    captioned, embedded = runs / "captioned", runs / "embedded"

    def package(name: str, arguments: Sequence[object], *after: str, done: Path | None = None) -> Step:
        return Step(name, tuple(map(str, arguments)), after, done=done)

    def lab(module: str, name: str, arguments: Sequence[object], *after: str, limited: bool = False) -> Step:
        out = runs / name
        given = (*map(str, arguments), *(limit if limited else ()), "--out", str(out))
        return Step(name, given, after, f"mini_lab.{module}", done=out)

    def store(module: str, name: str, arguments: Sequence[object], *after: str) -> Step:
        """Folders that see for themselves whether they are complete."""
        return Step(name, (*map(str, arguments), "--out", str(runs / name)), after, f"mini_lab.{module}")

    def train(stage: str, name: str, *after: str) -> Step:
        recipe = plan.recipes / f"{name}.yaml"
        values = read_recipe(recipe)
        places = [*moved(values, runs, RUNS), *moved(values, plan.parts, PARTS)]
        return package(name, ("train", stage, recipe, *places, *plan.overrides), *after)

    def prototypes(what: str, name: str, made_by: Path, *after: str, pictures: Path | None = None) -> Step:
        given = ("--encoder", made_by, "--words", words, "--what", what)
        return store("prototypes", name, (*given, *(("--pictures", pictures) if pictures else ())), *after)

    def fetch(name: str) -> Step | None:
        if name in plan.fetched:
            return None
        place = runs / name
        return package(
            f"fetch-{name}", ("data", "fetch", name, "--out", place, "--accept-licence"), done=place
        )

    fetches = [step for name in _needed(plan) if (step := fetch(name)) is not None]
    there = {step.name for step in fetches}

    def fetched(*names: str) -> tuple[str, ...]:
        return tuple(f"fetch-{name}" for name in names if f"fetch-{name}" in there)

    if plan.flickr8k:
        tables = lab("flickr", "captioned", ("--data", plan.data), limited=True)
    else:
        tables = lab(
            "free", "captioned", [_place(plan, name) for name in FREE], *fetched(*FREE), limited=True
        )
    new_encoder = plan.recipes / "encoder.yaml"
    places = moved(read_recipe(new_encoder), plan.parts, PARTS)
    pictures = captioned / "pictures.tsv"
    captions = ("--embedded", embedded, "--tables", captioned)
    finished = ("--model", runs / "finetune" / "export", "--encoder", encoder, "--cache", runs / "cache")
    language_model = plan.parts / LANGUAGE_MODEL
    return [
        *fetches,
        tables,
        lab("sounds", "sounds", ("--data", plan.data), limited=True),
        lab("furniture", "furniture", (furniture,), *fetched("sweet-home"), limited=True),
        lab("template", "tokenizer", (language_model,)),
        lab("template", "caption-tokenizer", (language_model, "--captions")),
        package(
            "encoder",
            ("new-encoder", new_encoder, *places, "--out", runs / "encoder"),
            done=runs / "encoder",
        ),
        train("heads", "heads-text", "encoder", "captioned"),
        prototypes("classes", "first-classes", first, "heads-text", *fetched("imagenet-words")),
        prototypes("animals", "first-animals", first, "heads-text", *fetched("imagenet-words")),
        train("heads", "heads", "first-classes", "first-animals", "sounds", "furniture"),
        package(
            "embedded",
            ("data", "embed", pictures, "--encoder", encoder, "--views", 2, "--out", embedded),
            "heads",
        ),
        prototypes("classes", "classes", encoder, "embedded", pictures=embedded),
        prototypes("questions", "questions", encoder, "embedded", pictures=embedded),
        store("captions", "captions", captions, "embedded"),
        store("captions", "described", (*captions, "--instructions"), "embedded"),
        store("captions", "agreed", (*captions, "--instructions", "--agreeing", AGREEING), "embedded"),
        package(
            "cache",
            ("cache", "build", "--from-embeddings", embedded, "--out", runs / "cache"),
            "embedded",
            done=runs / "cache",
        ),
        train("pretrain", "pretrain", "captions", "caption-tokenizer"),
        train("finetune", "finetune", "pretrain", "described", "agreed", "classes", "questions", "tokenizer"),
        lab(
            "together",
            "model",
            ("--parts", plan.parts, *finished, "--share", SHARE, "--trained", runs / "trained"),
            "finetune",
            "cache",
        ),
    ]


def _needed(plan: Plan) -> tuple[str, ...]:
    return ("imagenet-words", "sweet-home", *(() if plan.flickr8k else FREE))


def _place(plan: Plan, name: str) -> Path:
    return plan.fetched.get(name, plan.runs / name)


def _check(plan: Plan) -> None:
    """Find what is missing before hours of work.

    Raises:
        UserError: naming it.
    """
    if not plan.data.is_dir():
        raise UserError(f"there is no folder {str(plan.data)!r}; give the folder of the shared data")
    for name in (LANGUAGE_MODEL, *BACKBONES.values()):
        if not (plan.parts / name / "config.json").is_file():
            raise UserError(
                f"there is no part {str(plan.parts / name)!r}; get it: imagebind-llm pull {name} --out "
                f"{plan.parts / name}"
            )
    for data_set in ("animals", "animals_extra", *(("flickr8k",) if plan.flickr8k else ())):
        file = plan.data / data_set / "train.parquet"
        if not file.is_file():
            raise UserError(f"there is no {str(file)!r}; give the folder of the shared data as --data")
    for name, place in plan.fetched.items():
        if not place.is_dir():
            raise UserError(f"--fetched {name}={place}: there is no such folder")


def _keep_to(plan: Plan) -> None:
    """Refuse a folder that another build has begun: its finished steps would be taken for this one's.

    Raises:
        UserError: naming what differs.
    """
    file = plan.runs / "plan.json"
    now = {"items": plan.items, "flickr8k": plan.flickr8k}
    if file.is_file():
        then = read_json(file)
        for key, value in now.items():
            if then.get(key) != value:
                raise UserError(
                    f"{str(plan.runs)!r} was begun with {key} {then.get(key)!r}, this build has {value!r}; "
                    "give another --runs"
                )
    else:
        plan.runs.mkdir(parents=True, exist_ok=True)
        write_json(file, now)


def _fetched(text: str) -> tuple[str, Path]:
    name, equals, place = text.partition("=")
    if not equals or name not in ("imagenet-words", "sweet-home", *FREE):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER with a name of data fetch")
    return name, Path(place)


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mini_lab.build",
        description="Make mini from its parts and data sets. Started again, it goes on where it stopped.",
        epilog="A quick try of every step: --runs runs/try --items 40 run.steps=2 evaluate_items=8",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the shared data")
    parser.add_argument("--parts", type=Path, default=Path(PARTS), help="folder of the pulled parts")
    parser.add_argument("--recipes", type=Path, default=Path("recipes/mini"), help="folder of the recipes")
    parser.add_argument("--runs", type=Path, help="folder for everything that is made; default: runs/mini")
    parser.add_argument("--jobs", type=at_least(1), default=1, help="steps at a time (each uses two threads)")
    parser.add_argument("--items", type=at_least(10), help="most pictures, recordings, models and requests")
    parser.add_argument(
        "--without-flickr8k",
        action="store_true",
        help="captions of drawings, emoji and stamps, which are free; default runs: runs/mini-free",
    )
    parser.add_argument(
        "--fetched",
        type=_fetched,
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="a data set of data fetch that is there already",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="settings to change in every training step"
    )
    return parser.parse_args(given)


def _build(given: argparse.Namespace, signals: Sequence[int]) -> None:
    flickr8k = not given.without_flickr8k
    runs = given.runs or Path(RUNS if flickr8k else f"{RUNS}-free")
    plan = Plan(
        given.data,
        given.parts,
        given.recipes,
        runs,
        tuple(given.overrides),
        given.items,
        flickr8k,
        dict(given.fetched),
    )
    _check(plan)
    made = steps(plan)
    _keep_to(plan)
    build(made, runs / "logs", given.jobs, signals)


def main() -> int:
    """The command."""
    given = _arguments(sys.argv[1:])
    return exit_code(lambda: _build(given, heard()))


if __name__ == "__main__":
    sys.exit(main())
