"""Checkpoints that were cut for several GPUs: ``consolidated.00.pth``, ``consolidated.01.pth``, … → one.

A single file is the same with one piece.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.tensor_files import TensorFile, TensorInfo

_BY_OUTPUT = ("wq", "wk", "wv", "w1", "w3", "output")
"""Maps whose outputs were shared out: their rows follow each other."""
_BY_INPUT = ("wo", "w2")
"""Maps whose inputs were: their columns do."""
_EMBEDDING = "tok_embeddings"


class MergedFiles:
    """The pieces of each tensor joined again; what every file holds whole is taken from the first.

    Args:
        paths: all files, in order.
        width: of the model (``dim`` in ``params.json``); it tells how the token embedding was cut, by
            columns (LLaMA 1 and 2) or by rows (3).

    Raises:
        CheckpointError: as :class:`TensorFile`, files that do not hold the same tensors, or too few of them.
    """

    def __init__(self, paths: Sequence[Path], width: int) -> None:
        self._parts = [TensorFile(path) for path in paths]
        self._width = width
        first = self._parts[0]
        for part in self._parts[1:]:
            if part.infos.keys() != first.infos.keys():
                odd = sorted(part.infos.keys() ^ first.infos.keys())
                raise CheckpointError(
                    f"{first.path.name} and {part.path.name} do not hold the same tensors ({len(odd)} "
                    f"differ: {odd[0]}, …); use the files of one model"
                )
        self._infos = {key: self._joined(key) for key in first.infos}
        columns = [info.shape[-1] for key, info in self._infos.items() if key == f"{_EMBEDDING}.weight"]
        if columns and columns[0] != width:
            raise CheckpointError(
                f"the {len(paths)} consolidated files in {str(paths[0].parent)!r} hold {columns[0]} columns "
                f"of the token embedding, params.json says {width}; get the files that are missing, or the "
                "params.json that belongs"
            )

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor, with the shape it has when joined."""
        return self._infos

    @property
    def files(self) -> list[Path]:
        """All files, in order."""
        return [part.path for part in self._parts]

    def get(self, key: str) -> Tensor:
        """One tensor, joined.

        Raises:
            CheckpointError: the files disagree on one that each holds whole.
        """
        pieces = [part.get(key) for part in self._parts]
        axis = None if len(pieces) == 1 else self._axis(key)
        if axis is not None:
            return torch.cat(pieces, dim=axis)
        for part, piece in zip(self._parts, pieces, strict=True):
            if not torch.equal(piece, pieces[0]):
                raise CheckpointError(
                    f"{self._parts[0].path.name} and {part.path.name} have different values of {key}; "
                    "use the files of one model"
                )
        return pieces[0]

    def release(self) -> None:
        """Unmap all files."""
        for part in self._parts:
            part.release()

    def _axis(self, key: str) -> int | None:
        """Along which axis the pieces follow each other; ``None`` for tensors that were not cut."""
        name = key.removesuffix(".weight").rpartition(".")[2]
        if name == _EMBEDDING:
            return 0 if self._parts[0].infos[key].shape[-1] == self._width else 1
        return 0 if name in _BY_OUTPUT else 1 if name in _BY_INPUT else None

    def _joined(self, key: str) -> TensorInfo:
        infos = [part.infos[key] for part in self._parts]
        axis = self._axis(key)
        sizes = [list(info.shape) for info in infos]
        if axis is not None and all(len(size) == 2 for size in sizes):
            total = sum(size[axis] for size in sizes)
            for size in sizes:
                size[axis] = total
        if any(size != sizes[0] for size in sizes) or len({info.dtype for info in infos}) > 1:
            shapes = ", ".join(str(list(info.shape)) for info in infos)
            raise CheckpointError(
                f"the pieces of {key} do not fit together ({shapes}); use the files of one model"
            )
        return TensorInfo(tuple(sizes[0]), infos[0].dtype)
