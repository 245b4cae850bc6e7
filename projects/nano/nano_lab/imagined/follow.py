"""A decoder for an encoder whose towers were trained further in the same space.

    python -m nano_lab.imagined.follow DATA --weights src/imagebind_llm/nano/generator

The decoder's weights stay. What it adds to the embeddings of each modality is measured anew, and the new
encoder's fingerprint is written. Whether it draws as well as before is for ``imagebind-llm eval imagine``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from imagebind_llm.skills.generation.decoder.folder import load_decoder
from imagebind_llm.training.build import exit_code
from imagebind_llm.training.recipe import load_recipe
from nano_lab.recipes import NanoGeneratorRecipe
from nano_lab.stages.generator import Generator


def follow(stage: Generator, weights: Path) -> None:
    """Write the decoder in ``weights`` again, for the encoder of ``stage``.

    Raises:
        CheckpointError: there is no decoder, or one of other sizes.
    """
    from imagebind_llm.common.tensor_files import require_same_keys, require_same_shapes

    found = load_decoder(weights)[0].state_dict()
    expected = stage.decoder.state_dict()
    require_same_keys(expected, found, str(weights))
    require_same_shapes(expected, found, str(weights))
    stage.decoder.load_state_dict(found)
    stage.eval()
    stage.export(weights)


def main(given: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m nano_lab.imagined.follow", description="A decoder for a renewed encoder."
    )
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--weights", type=Path, required=True, metavar="DIR", help="of the generator")
    parser.add_argument("--model", default="nano", help="has the renewed encoder")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/nano/generator.yaml"))
    parser.add_argument("--bank", type=Path, default=Path("runs/nano/generator-bank"), help="its embeddings")
    chosen = parser.parse_args(given)

    def work() -> None:
        from nano_lab.data.pictures import nano_pictures
        from nano_lab.stages.generator import open_generator

        changes = [f"data.root={chosen.data}", f"model={chosen.model}", f"data.bank={chosen.bank}"]
        recipe = load_recipe("generator", chosen.recipe, changes)
        assert isinstance(recipe, NanoGeneratorRecipe)
        follow(open_generator(recipe, nano_pictures(chosen.data, recipe.data.others)), chosen.weights)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
