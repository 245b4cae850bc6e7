"""What a model around towers was trained on: the image tower. An encoder that takes its place has it, too."""

import json

from imagebind_llm.common.fingerprint import fingerprint_state_dict
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import to_plain
from imagebind_llm.encoders.towers.model import TowersEncoder


def image_fingerprint(encoder: TowersEncoder) -> str | None:
    """Of the image tower, head included, with its media settings; None: it has none."""
    if Modality.IMAGE not in encoder.modalities:
        return None
    state = encoder.tower(Modality.IMAGE).state_dict()
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    settings = to_plain(encoder.config.towers["image"])
    return fingerprint_state_dict(floats, header=json.dumps(settings, sort_keys=True))
