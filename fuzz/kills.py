"""Writers that are killed at a random moment: what was there stays whole, and the next one succeeds."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from support.cache_worlds import clustered
from support.tiny_model import write_tiny_model

from fuzz.target import Case, Target
from imagebind_llm import ImageBindLLMForConditionalGeneration, VisualCache
from imagebind_llm.cache.build import build_cache
from imagebind_llm.checkpoints.export import export


class Kills(Target):
    """An export, a saved model or a cache, written over an older one by a process that dies."""

    name = "kills"

    def prepare(self) -> None:
        self._model = write_tiny_model(self.folder / "model")
        self._loaded = ImageBindLLMForConditionalGeneration.from_pretrained(self._model)
        self._caches = [build_cache(torch.from_numpy(clustered(400, 32, seed))) for seed in (1, 2)]
        self._seconds: dict[str, float] = {}

    def case(self, rng: Random) -> Case:
        kind = rng.choice(("save", "cache", "export"))
        out = self.input / "out"
        write, whole = {"save": self._save, "cache": self._cache, "export": self._export}[kind](out)
        if kind not in self._seconds:
            started = time.monotonic()
            write()
            self._seconds[kind] = time.monotonic() - started
        elif kind != "export":  # which never writes over anything
            write()
        if kind == "export":
            self._clear(out)
        delay = rng.uniform(0, 1.2 * self._seconds[kind])

        def run() -> None:
            self._killed(write, delay)
            if out.exists():
                assert whole(), f"{kind}: half written"
            if kind == "export":
                self._clear(out)
            write()
            assert whole(), f"{kind}: not whole the second time"
            left = sorted(path.name for path in out.parent.iterdir() if path != out)
            assert not left, f"{kind}: leaves {left}"

        return Case(f"{kind} after {delay:.3f} s", run)

    def _save(self, out: Path) -> tuple[Callable[[], object], Callable[[], bool]]:
        def whole() -> bool:
            state = ImageBindLLMForConditionalGeneration.from_pretrained(out).state_dict()
            return all(torch.equal(value, state[name]) for name, value in self._loaded.state_dict().items())

        return lambda: self._loaded.save_pretrained(out), whole

    def _cache(self, out: Path) -> tuple[Callable[[], object], Callable[[], bool]]:
        return lambda: self._caches[0].save(out), lambda: VisualCache.load(out).size == 400

    def _export(self, out: Path) -> tuple[Callable[[], object], Callable[[], bool]]:
        def whole() -> bool:
            ImageBindLLMForConditionalGeneration.from_pretrained(out)
            return True

        return lambda: export(str(self._model), out, "full"), whole

    @staticmethod
    def _clear(out: Path) -> None:
        if out.exists():
            for path in sorted(out.rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
            out.rmdir()

    @staticmethod
    def _killed(write: Callable[[], object], delay: float) -> None:
        child = os.fork()
        if child == 0:
            try:
                write()
            finally:
                os._exit(0)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
