"""Fingerprints of parts that lie in files, read one tensor after another: no part is ever held whole."""

from typing import TYPE_CHECKING

from torch import nn

from imagebind_llm.checkpoints.trained import frozen_names
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.fingerprint import StreamedTensors, fingerprint_state_dict

if TYPE_CHECKING:
    from imagebind_llm.common.tensor_files import TensorSource


def language_model_fingerprint_of(source: "TensorSource", skeleton: nn.Module) -> str:
    """What :func:`~imagebind_llm.checkpoints.trained.language_model_fingerprint` gives for the loaded model.

    Args:
        source: the tensors, in transformers' layout.
        skeleton: the model on the meta device; a tensor that has two names in it may be stored under either.

    Raises:
        CheckpointError: a tensor of the model is not among them.
    """
    state, infos = skeleton.state_dict(keep_vars=True), source.infos
    stored = {id(tensor): name for name, tensor in state.items() if name in infos}
    frozen = frozen_names(skeleton)
    missing = [name for name in frozen if id(state[name]) not in stored]
    if missing:
        raise CheckpointError(
            f"{str(source.files[0].parent)!r} lacks {len(missing)} tensors of its model ({missing[0]}, …); "
            "get the folder again"
        )
    names = {name.replace(".base_layer.", "."): stored[id(state[name])] for name in frozen}
    return fingerprint_state_dict(StreamedTensors(source, names))
