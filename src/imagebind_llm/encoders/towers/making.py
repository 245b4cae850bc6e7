"""Making a new encoder: pretrained backbones with untrained heads."""

import torch

from imagebind_llm.common.errors import CheckpointError, ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.tensor_files import require_same_keys, require_same_shapes
from imagebind_llm.encoders.towers.backbones.build import build_backbone
from imagebind_llm.encoders.towers.media import TowersMedia, read_input
from imagebind_llm.encoders.towers.model import TowersEncoder
from imagebind_llm.encoders.towers.opening import Opened, open_backbone
from imagebind_llm.encoders.towers.recipe import NewEncoder
from imagebind_llm.encoders.towers.settings import TowersConfig, TowerSettings, check_kind


def make_towers(recipe: NewEncoder) -> tuple[TowersEncoder, TowersMedia]:
    """The encoder that a recipe describes, in evaluation mode, and how its media are read.

    Raises:
        CheckpointError: a backbone is not there, not whole, or not known.
        ConfigError: settings that do not go together.
    """
    opened: dict[str, Opened] = {}
    for name, tower in recipe.towers.items():
        try:
            opened[name] = open_backbone(name, tower)
            check_kind(name, opened[name].backbone)
        except (ConfigError, CheckpointError) as error:
            text = str(error)
            where = f"towers.{name}"
            raise type(error)(text if text.startswith(where) else f"{where}: {text}") from error
    config = TowersConfig(
        recipe.embedding_dim or _dimension(recipe, opened),
        {
            name: TowerSettings(found.backbone, found.media, recipe.towers[name].head)
            for name, found in opened.items()
        },
        recipe.video,
    )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        encoder = TowersEncoder(config)
    for name, found in opened.items():
        backbone = encoder.tower(Modality.parse(name)).backbone
        what = f"the backbone of {name} ({recipe.towers[name].backbone})"
        expected = backbone.state_dict()
        require_same_keys(expected, found.weights, what)
        require_same_shapes(expected, found.weights, what)
        backbone.load_state_dict(dict(found.weights))
    inputs = {
        name: read_input(name, tower.backbone.kind, tower.media) for name, tower in config.towers.items()
    }
    tokenizer = opened["text"].tokenizer if "text" in opened else None
    return encoder.eval(), TowersMedia(inputs, config.video, tokenizer)


def _dimension(recipe: NewEncoder, opened: dict[str, Opened]) -> int:
    """The length of the features under heads of kind ``none``."""
    for name, tower in recipe.towers.items():
        if tower.head.kind == "none":
            with torch.device("meta"):
                return int(build_backbone(Modality.parse(name), opened[name].backbone).width)  # type: ignore[arg-type]
    raise ConfigError(
        "embedding_dim is missing; give it, or one tower a head of kind 'none', whose features are the space"
    )
