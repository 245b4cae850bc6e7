"""torch.compile for the repeated layers of a stage, and what to say when it cannot."""

from collections.abc import Iterator
from contextlib import contextmanager

from imagebind_llm.common.errors import ConfigError, reason_of
from imagebind_llm.training.stage import Stage


def compile_blocks(stage: Stage) -> None:
    """Have the stage's repeated layers compiled when they are first called.

    Raises:
        ConfigError: it has none.
    """
    blocks = stage.blocks()
    if not blocks:
        raise ConfigError(f"stage {stage.name!r} has no layers to compile; drop run.compile")
    for block in blocks:
        block.compile(dynamic=True)


@contextmanager
def compiler_explained(wanted: bool) -> Iterator[None]:
    """Turn a compiler's errors into one line, if it is ``wanted`` at all.

    Raises:
        ConfigError: the layers cannot be compiled here.
    """
    if not wanted:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = reason_of(error)
        raise ConfigError(
            f"run.compile: the layers cannot be compiled here ({reason}); install what is missing (for "
            "a CPU a C++ compiler such as g++, for a GPU Triton), or drop run.compile"
        ) from error
