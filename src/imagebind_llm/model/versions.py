"""Whether weights have changed, without reading them."""

from collections.abc import Hashable

from torch import Tensor, nn


def version_of(module: nn.Module) -> Hashable:
    """Equal for two calls if nothing has written to the parameters of ``module`` in between.

    Counts what torch counts: optimizer steps, ``load_state_dict``, writing in place. Not writing through
    ``parameter.data``, as peft does when it merges.
    """
    found = []
    for parameter in module.parameters():
        written = -1 if parameter.is_inference() else parameter._version
        where = parameter.data_ptr() if type(parameter.data) is Tensor else 0  # packed ones may refuse to say
        found.append((id(parameter), where, written))
    return hash(tuple(found))
