"""Folders that somebody tampered with: models, adapters, caches, training runs, weights to convert."""

import json
import os
import pickle
import shutil
import zipfile
from abc import abstractmethod
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import torch
from support.builders import make
from support.cache_worlds import clustered
from support.convert_worlds import write_encoder
from support.model_folders import copy_folder
from support.tiny_model import write_tiny_model

from fuzz.mutate import dump, mutate_bytes, mutate_json
from fuzz.target import Case, Target
from imagebind_llm import Assistant, ImageBindLLMForConditionalGeneration, VisualCache
from imagebind_llm.cache.build import build_cache
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.tensor_files import TensorFile
from imagebind_llm.training.loop import train


class Folders(Target):
    """A good folder in which one file is changed, lost or replaced."""

    refusals = (UserError, OSError)  # of which the command line says the file and the reason
    good: Path

    @abstractmethod
    def make_good(self, room: Path) -> Path:
        """The folder that nobody tampered with, in ``room``; what else lies there goes with it unchanged."""

    def prepare(self) -> None:
        self.good = self.make_good(self.folder / "good")
        self.open(self.good)  # or every refusal would count as right

    def case(self, rng: Random) -> Case:
        copy_folder(self.good.parent, self.input)
        target = self.input / self.good.name
        file = rng.choice(sorted(path for path in target.rglob("*") if path.is_file()))
        content = file.read_bytes()
        file.unlink()
        kind = rng.choice(
            ("mutated", "mutated", "mutated", "mutated", "lost", "empty", "a folder", "a link to itself")
        )
        match kind:
            case "mutated":
                kind, content = self._mutated(file, content, rng)
                file.write_bytes(content)
            case "empty":
                file.write_bytes(b"")
            case "a folder":
                file.mkdir()
            case "a link to itself":
                os.symlink(file.name, file)
        return Case(f"{file.relative_to(target)}: {kind}", lambda: self.open(target))

    def _mutated(self, file: Path, content: bytes, rng: Random) -> tuple[str, bytes]:
        if file.suffix == ".json" and rng.random() < 0.75:
            label, value = mutate_json(json.loads(content), rng)
            return label, dump(value)
        return mutate_bytes(content, rng)

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Use the folder as a user would."""


class Models(Folders):
    """A whole model."""

    name = "models"

    def make_good(self, room: Path) -> Path:
        return write_tiny_model(room / "model")

    def open(self, folder: Path) -> None:
        Assistant.from_pretrained(folder).ask(
            "What is this?", image=torch.rand(3, 40, 40).numpy(), max_new_tokens=3
        )


class Adapters(Folders):
    """An adapter on a model that is not tampered with."""

    name = "adapters"

    def make_good(self, room: Path) -> Path:
        base = write_tiny_model(room / "base")
        model = ImageBindLLMForConditionalGeneration.from_pretrained(base)
        model.config.base_models = {part: {"id": str(base)} for part in ("language_model", "encoder")}
        model.save_pretrained(room / "adapter", adapter_only=True)
        return room / "adapter"

    def open(self, folder: Path) -> None:
        ImageBindLLMForConditionalGeneration.from_pretrained(folder)


class Caches(Folders):
    """A visual cache with captions."""

    name = "caches"

    def make_good(self, room: Path) -> Path:
        vectors = torch.from_numpy(clustered(300, 16))
        self._queries = vectors[:4]
        build_cache(vectors, captions=[f"picture {row}" for row in range(300)]).save(room / "cache")
        return room / "cache"

    def open(self, folder: Path) -> None:
        cache = VisualCache.load(folder)
        hits = cache.explain(self._queries[0], k=3)
        assert len(hits) == 3, "fewer hits than asked for"
        assert torch.isfinite(cache.enhance(self._queries)).all(), "blended vectors that are not finite"


_RUN = {"steps": 4, "checkpoint_every": 2, "keep": 3}


class Runs(Folders):
    """A training run that goes on from its checkpoint."""

    name = "runs"

    def make_good(self, room: Path) -> Path:
        self._inputs, self._spare = self.folder / "inputs", self.folder / "again"
        self._inputs.mkdir()
        run = room / "run"
        train(*make("images", run, self._inputs, run=_RUN))
        for later in ("checkpoints/step-00000004", "export"):  # as if it had been stopped at step 3
            shutil.rmtree(run / later)
        return run

    def open(self, folder: Path) -> None:
        shutil.rmtree(self._spare, ignore_errors=True)
        shutil.copytree(folder, self._spare, symlinks=True)
        train(*make("images", self._spare, self._inputs, run=_RUN))


class Pickles(Target):
    """``.pth`` files as somebody might send them: changed archives, changed and written-out pickles."""

    name = "pth"

    def prepare(self) -> None:
        self._file = write_encoder(self.folder / "good")
        with zipfile.ZipFile(self._file) as archive:
            self._members = {name: archive.read(name) for name in archive.namelist()}

    def case(self, rng: Random) -> Case:
        kind = rng.choice(("file", "file", "member", "member", "pickle", "called"))
        file = self.input / "imagebind.pth"
        match kind:
            case "file":
                label, data = mutate_bytes(self._file.read_bytes(), rng)
            case "pickle":
                value: Any = rng.choice(
                    (None, [], {"a": 1}, {"a": torch.zeros(2)}, {1: torch.zeros(2)}, [torch.zeros(2)])
                )
                label, stream = repr(value), BytesIO()
                torch.save(value, stream, _use_new_zipfile_serialization=rng.random() < 0.5)
                data = stream.getvalue()
            case "called":
                label, data = "a pickle that calls", pickle.dumps(_Calls(self.input / "called"))
            case _:
                name = rng.choice(sorted(self._members))
                label, content = mutate_bytes(self._members[name], rng)
                label, stream = f"{label} in {name}", BytesIO()
                with zipfile.ZipFile(stream, "w") as archive:
                    for other, kept in self._members.items():
                        archive.writestr(other, content if other == name else kept)
                data = stream.getvalue()
        file.write_bytes(data)
        return Case(f"{kind}: {label}", lambda: self._read(file))

    def _read(self, file: Path) -> None:
        try:
            source = TensorFile(file)
            for name in source.infos:
                source.get(name)
        finally:
            assert not (self.input / "called").exists(), "the file ran a program"


class _Calls:
    """What a pickle can hold: a call, made when it is read."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._mark),)
