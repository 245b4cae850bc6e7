"""The judge in a folder: trained once, resumed after each epoch, and loaded by later runs.

``identity.json``      what it was trained on, and how
``judge.safetensors``  its weights; ``judge.json`` says how it does on real test pictures
``epoch-N…``           of a training under way
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from imagebind_llm.common.files import atomic_write, sha256
from imagebind_llm.common.settings import check_numbers
from imagebind_llm.common.tensor_files import TensorFile, require_same_keys, require_same_shapes
from imagebind_llm.common.work_folder import WorkFolder, work_folder
from imagebind_llm.evaluation.metrics import Score
from nano_lab.data.pool import ImagePool
from nano_lab.imagined.judge import Judge, JudgeTraining, judged
from nano_lab.world.concepts import UNCLEAR
from nano_lab.world.images import load_images
from nano_lab.world.tables import COLUMNS, Split, read_columns

SCHEMA = 1
_FILE, _STEP = "judge.safetensors", "judge"
_LARGEST_TEST = 2000
"""Real test pictures of each domain that the judge is tested on."""
_SOURCES = {"digits": "mnist", "objects": "cifar10"}


@dataclass(frozen=True)
class JudgeSettings:
    """How a judge is trained.

    Attributes:
        epochs: over all real training digits and photographs. Three take about four minutes on two cores
            with bfloat16.
        seed: of its training.
        width: channels of its first layers.
    """

    epochs: int = 3
    seed: int = 0
    width: int = 32

    def __post_init__(self) -> None:
        check_numbers(self, least={"epochs": 1, "seed": 0, "width": 1})


@dataclass(frozen=True)
class TrainedJudge:
    """A judge in evaluation mode, and its ``accuracy`` on real test pictures: ``digits`` and ``objects``, as
    :meth:`~imagebind_llm.evaluation.metrics.Score.to_dict` has them, and ``trained_on``, a number of
    pictures."""

    judge: Judge
    accuracy: dict[str, Any]


def open_judge(
    folder: Path,
    data: Path,
    settings: JudgeSettings,
    tell: Callable[[str], object] = lambda _: None,
    progress: bool = True,
) -> TrainedJudge:
    """The judge in ``folder``, trained there as far as it is not.

    Args:
        folder: of a judge; made if it is not there.
        data: folder of mnist and cifar10.
        settings: of the training.
        tell: is told what takes long, where no bar shows it.
        progress: show a bar, on terminals.

    Raises:
        UserError: the data cannot be read, or the folder holds something else: other files, or a judge of
            other data or settings.
        CheckpointError: its weights are damaged.
    """
    identity = {"schema": SCHEMA, "data": _data_digest(data), **asdict(settings)}
    busy = f"a judge is being trained in {str(folder)!r} by another run; wait, or give another with --judge"
    with work_folder(folder, identity, busy=busy, begun="trained") as work:
        known = work.steps().get(_STEP)
        if known is not None:
            judge = Judge(UNCLEAR, settings.width)
            _load(judge, work.path / _FILE)
            return TrainedJudge(judge.eval(), known[1])
        return _train(work, data, settings, tell, progress)


def _train(
    work: WorkFolder, data: Path, settings: JudgeSettings, tell: Callable[[str], object], progress: bool
) -> TrainedJudge:
    tell("reading training pictures …")
    training = JudgeTraining(_pool(data, "train"), UNCLEAR, settings.epochs, settings.seed, settings.width)
    done = [number for number in range(1, settings.epochs + 1) if _epoch(number) in work.steps()]
    if done:
        file = TensorFile(work.path / f"{_epoch(done[-1])}.safetensors")
        training.go_on({name: file.get(name) for name in file.infos}, done[-1])
    total = training.steps_each * settings.epochs
    with tqdm(
        total=total,
        initial=training.done * training.steps_each,
        unit="step",
        desc="judge",
        disable=None if progress else True,
    ) as bar:
        while training.done < settings.epochs:
            training.epoch(lambda: bar.update(1))
            _keep(work, f"{_epoch(training.done)}.safetensors", training.state())
            work.finish(_epoch(training.done), (f"{_epoch(training.done)}.safetensors",), {})
            _forget(work, training.done - 1)
    judge = training.judge.eval()
    tell("testing the judge …")
    accuracy = {**_accuracy(judge, _pool(data, "test")), "trained_on": len(training.rows)}
    weights = {name: tensor.contiguous() for name, tensor in judge.state_dict().items()}
    _keep(work, _FILE, weights)
    work.finish(_STEP, (_FILE,), accuracy)
    _forget(work, settings.epochs)
    return TrainedJudge(judge, accuracy)


def _epoch(number: int) -> str:
    return f"epoch-{number}"


def _keep(work: WorkFolder, name: str, tensors: dict[str, Tensor]) -> None:
    with atomic_write(work.path / name) as temporary:
        save_file(tensors, temporary, {"format": "pt"})


def _forget(work: WorkFolder, number: int) -> None:
    """Remove what was kept after an epoch."""
    work.forget_steps([_epoch(number)])
    (work.path / f"{_epoch(number)}.safetensors").unlink(missing_ok=True)


def _load(judge: Judge, path: Path) -> None:
    file = TensorFile(path)
    found, expected = {name: file.get(name) for name in file.infos}, judge.state_dict()
    require_same_keys(expected, found, str(path))
    require_same_shapes(expected, found, str(path))
    judge.load_state_dict(found)


def _pool(data: Path, split: Split) -> ImagePool:
    """Digits and objects."""
    images = load_images(data, split)
    domains = {domain: images.rows_of(source) for domain, source in _SOURCES.items()}
    return ImagePool(images.pixels, images.labels, domains)


def _accuracy(judge: Judge, pool: ImagePool) -> dict[str, Any]:
    found = {}
    for domain, rows in pool.domains.items():
        chosen = np.sort(np.random.default_rng(0).permutation(rows)[:_LARGEST_TEST])
        found[domain] = Score.of(judged(judge, pool.pixels[chosen]) == pool.labels[chosen]).to_dict()
    return found


def _data_digest(data: Path) -> str:
    """Of the files of pictures, of which the first is looked at for what a message should say.

    Raises:
        UserError: there are none.
    """
    sums = []
    for source in _SOURCES.values():
        for split in ("train", "test"):
            path = data / source / f"{split}.parquet"
            if not path.is_file():
                read_columns(data, source, split, COLUMNS[source])  # says what is missing
            sums.append(sha256(path)[:16])
    return "-".join(sums)
