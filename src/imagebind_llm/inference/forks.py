"""What a process that was forked needs before it can answer.

A child has none of its parent's threads: what they held stays locked, and a pool of them never works. torch
and faiss then wait for threads of OpenMP that are not there, unless they use one only. So a child begins with
new locks, pools and rows, and calculates in one thread.
"""

import os
import sys
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

import torch

from imagebind_llm.common.errors import UserError


class Renewable(Protocol):
    """Something with locks, threads or work under way."""

    def renew(self) -> None:
        """Begin with new ones, and nothing under way."""


_alive: "WeakSet[Renewable]" = WeakSet()
_callbacks: list[Callable[[], None]] = []


def renewed_in_children(thing: Renewable) -> None:
    """Call ``thing.renew()`` in every child process, as long as ``thing`` lives."""
    _alive.add(thing)


def called_in_children(callback: Callable[[], None]) -> None:
    """Call ``callback`` in every child process, for locks that belong to a module."""
    _callbacks.append(callback)


def refuse_lost_gpu(device: torch.device) -> None:
    """Refuse what a forked process cannot do.

    Raises:
        UserError: the model is on a GPU that the parent process opened.
    """
    if device.type == "cuda" and torch.cuda._is_in_bad_fork():
        raise UserError(
            "this process was forked from one that uses the GPU, and cannot use it; start it with "
            "multiprocessing.get_context('spawn') instead"
        )


def _begin_child() -> None:
    if not _alive:
        return
    torch.set_num_threads(1)
    if "faiss" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(1)
    for callback in _callbacks:
        callback()
    for thing in list(_alive):
        thing.renew()


if hasattr(os, "register_at_fork"):  # Windows never forks
    os.register_at_fork(after_in_child=_begin_child)
