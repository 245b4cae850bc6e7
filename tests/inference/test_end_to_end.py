"""The reference's own path from media tensors to token ids, through every room of the package."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import golden_llm as golden
from support.tiny_imagebind import tiny_config
from torch.testing import assert_close

from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import imagebind_from_state_dict
from imagebind_llm.media.batch import MediaBatch, MediaPart

GOLDEN = golden.FOLDER.parent
CASES = ("image", "video", "audio", "point", "image_audio", "thermal_imu_depth", "text")


def arrays(name):
    with np.load(GOLDEN / "imagebind_tiny" / f"{name}.npz") as found:
        return {key: torch.from_numpy(found[key]) for key in found.files}


@pytest.fixture(scope="module")
def model():
    found = golden.full_model()
    found.encoder = imagebind_from_state_dict(tiny_config(), arrays("weights"))
    return found.eval()


@pytest.fixture(scope="module")
def inputs():
    return arrays("inputs")


@pytest.mark.parametrize("case", CASES)
def test_media_to_answer(case, model, inputs):
    recorded = golden.facts("e2e")
    parts = [
        MediaPart(Modality.parse(name.lower()), inputs[key][0], weight)
        for name, (key, weight) in recorded["cases_modality_to_input_tensor_and_weight"][case].items()
    ]
    media = MediaBatch.collate([parts])
    expected = golden.tensors("e2e_outputs")
    mixed = model.embed_media(media)
    assert_close(mixed, expected[f"{case}.mixed_embedding"], atol=1e-5, rtol=1e-5)
    assert_close(model.bind(mixed), expected[f"{case}.visual_query"][:, 0], atol=1e-4, rtol=1e-4)
    prompt = golden.tensors("inputs")[recorded["prompt"]][None]
    out = model.generate(
        input_ids=prompt, media=media, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0,
        return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    assert_close(out.logits[0], expected[f"{case}.prefill_logits"], atol=1e-3, rtol=0)
    assert out.sequences[0, prompt.shape[1] :].tolist() == recorded["generations_greedy_12"][case]


def test_cases_are_all_of_them():
    assert sorted(golden.facts("e2e")["generations_greedy_12"]) == sorted(CASES)


@pytest.fixture(scope="module")
def cache():
    from imagebind_llm.cache import build_cache

    vectors = next(iter(load_file(GOLDEN / "cache_tiny" / "vectors.safetensors").values()))
    return build_cache(vectors.numpy(), "exact", encoder_fingerprint="0" * 16)


@pytest.mark.parametrize("number", [0, 1])
def test_with_the_visual_cache(number, model, cache):
    expected, prompt = golden.tensors("outputs"), golden.tensors("inputs")[f"prompt{number}"][None]
    condition = golden.conditions([number])
    query = model.bind(cache.enhance(condition, k=10, temperature=20.0, weight=0.5))
    assert_close(query, expected["infer_visual_query_knn"][number], atol=1e-4, rtol=1e-4)
    out = model.generate(
        input_ids=prompt, conditions=condition, cache=cache, max_new_tokens=16, do_sample=False,
        eos_token_id=2, pad_token_id=0, return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    assert (
        out.sequences[0, prompt.shape[1] :].tolist()
        == golden.facts("outputs")["generations"][f"knn_{number}"]
    )
    assert_close(torch.cat(out.logits), expected[f"gen_knn_{number}_step_logits"], atol=2e-4, rtol=0)


def test_mixtures_may_be_excepted_from_the_cache_by_default() -> None:
    from imagebind_llm.model.conditioning import cached_by_default

    settings = {"modalities": ["audio"], "mixtures": True}
    assert cached_by_default(["audio"], settings)
    assert not cached_by_default(["image"], settings)
    assert cached_by_default(["image", "audio"], settings)
    assert cached_by_default(["audio"], {**settings, "mixtures": False})
    assert not cached_by_default(["image", "audio"], {**settings, "mixtures": False})
    assert not cached_by_default(["audio", "audio"], {**settings, "mixtures": False})
