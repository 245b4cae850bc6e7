"""Towers as a joint encoder: the numbers of the models that they are made of, strict loading, media."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.tiny_backbones import (
    CLIP_PICTURES,
    SIDE,
    SQUARE_PICTURES,
    WRITERS,
    write_clap,
    write_clip,
    write_json,
)
from torch.nn.functional import normalize

from imagebind_llm.common.errors import CheckpointError, ConfigError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders import build_encoder, load_encoder, media_of_encoder
from imagebind_llm.encoders.base import JointEncoder
from imagebind_llm.encoders.towers.heads import Head
from imagebind_llm.encoders.towers.making import make_towers
from imagebind_llm.encoders.towers.pictures import PictureInput, published_pictures
from imagebind_llm.encoders.towers.recipe import new_encoder_of
from imagebind_llm.encoders.towers.settings import HeadSettings
from imagebind_llm.encoders.towers.weights import save_towers
from imagebind_llm.media.base import Limits

BARE = {"kind": "none", "standardise": False}
RATE = 16_000


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("backbones")
    return {name: write(root / name) for name, write in WRITERS.items()}


def one_tower(name, backbone, **changes):
    """An encoder with one tower, whose features are its embeddings before they are scaled to length 1."""
    tower = {"backbone": str(backbone), "head": BARE, **changes}
    return make_towers(new_encoder_of({"towers": {name: tower}}))


def sound(seconds=0.7, rate=RATE, hertz=300.0):
    return np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * hertz / rate).astype(np.float32)


def media_samples():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 255, (50, 70, 3)).astype(np.uint8),
        "audio": {"array": sound(), "sampling_rate": RATE},
        "text": "a dog",
        "point": rng.normal(size=(300, 3)).astype(np.float32),
    }


@pytest.mark.parametrize(
    ("name", "backbone", "changes"),
    [
        ("image", "clip", {}),
        ("image", "clip", {"pooling": "mean"}),
        ("image", "siglip", {}),
        ("image", "dinov2", {}),
        ("image", "dinov2", {"pooling": "mean"}),
        ("image", "efficientnet", {}),
        ("image", "point", {}),
        ("text", "clip", {}),
        ("text", "siglip", {}),
        ("text", "bert", {}),
        ("text", "clap", {}),
        ("audio", "whisper", {"seconds": 1}),
        ("audio", "clap", {}),
        ("audio", "ast", {}),
        ("audio", "wav2vec2", {"seconds": 2}),
        ("point", "point", {}),
    ],
)
def test_every_kind_of_backbone_goes_round(folders, tmp_path, name, backbone, changes):
    head = {"kind": "mlp", "hidden": 7}
    tower = {"backbone": str(folders[backbone]), "head": head, **changes}
    encoder, media = make_towers(new_encoder_of({"embedding_dim": 9, "towers": {name: tower}}))
    assert isinstance(encoder, JointEncoder)
    encoder.towers[name].head.measure(torch.randn(20, encoder.towers[name].width))
    save_towers(encoder, media, tmp_path / "encoder")
    again = load_encoder(tmp_path / "encoder")
    reader = media_of_encoder(tmp_path / "encoder", again)
    modality, source = Modality(name), media_samples()[name]
    batch = reader.load(modality, source)[None]
    assert torch.equal(batch, media.load(modality, source)[None])
    with torch.no_grad():
        rows = again.encode(modality, batch)
        assert torch.equal(rows, encoder.encode(modality, batch))
    assert rows.shape == (1, 9)
    assert rows.dtype is torch.float32
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(1))
    assert again.fingerprint == encoder.fingerprint
    assert load_encoder(tmp_path / "encoder", dtype=torch.bfloat16).fingerprint == encoder.fingerprint
    fresh = build_encoder(json.loads(json.dumps(again.settings)))
    assert {key: tensor.shape for key, tensor in fresh.state_dict().items()} == {
        key: tensor.shape for key, tensor in again.state_dict().items()
    }


def test_clip_is_clip(folders):
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folders["clip"]).eval()
    towers = {name: {"backbone": str(folders["clip"]), "head": BARE} for name in ("image", "text")}
    encoder, media = make_towers(new_encoder_of({"towers": towers}))
    pictures = torch.randn(2, 3, SIDE, SIDE)
    texts = torch.stack([media.load(Modality.TEXT, text) for text in ("a dog", "a much longer text")])
    lengths = texts[:, 1].sum(1)
    with torch.no_grad():
        expected = model.get_image_features(pixel_values=pictures).pooler_output
        found = encoder.encode(Modality.IMAGE, pictures)
        torch.testing.assert_close(found, normalize(expected, dim=-1), atol=1e-5, rtol=1e-4)
        rows = [
            model.get_text_features(input_ids=row[0, :n][None]).pooler_output
            for row, n in zip(texts, lengths, strict=True)
        ]
        found = encoder.encode(Modality.TEXT, texts)
    torch.testing.assert_close(found, normalize(torch.cat(rows), dim=-1), atol=1e-5, rtol=1e-4)


def test_siglip_reads_its_padding(folders):
    from transformers import SiglipModel

    model = SiglipModel.from_pretrained(folders["siglip"]).eval()
    encoder, media = one_tower("text", folders["siglip"])
    row = media.load(Modality.TEXT, "a dog")
    assert row.shape == (2, 24)
    assert int(row[1].sum()) == 24
    with torch.no_grad():
        expected = model.get_text_features(input_ids=row[:1]).pooler_output
        torch.testing.assert_close(encoder.features(Modality.TEXT, row[None]), expected)


def test_whisper_can_hear_a_shorter_window(folders):
    from transformers import WhisperModel

    whole = WhisperModel.from_pretrained(folders["whisper"]).encoder.eval()
    encoder, media = one_tower("audio", folders["whisper"], seconds=1)
    assert encoder.towers["audio"].backbone.model.embed_positions.weight.shape[0] == 50
    heard = media.load(Modality.AUDIO, sound(0.5))
    assert heard.shape == (21, 100)
    assert int(heard[-1].sum()) == 50
    with torch.no_grad():  # what the whole encoder computes from the same first frames alone
        states = torch.nn.functional.gelu(whole.conv1(heard[None, :-1]))
        states = torch.nn.functional.gelu(whole.conv2(states)).permute(0, 2, 1)
        states = states + whole.embed_positions.weight[:50]
        for layer in whole.layers:
            states = layer(states, None)
            states = states[0] if isinstance(states, tuple) else states
        expected = whole.layer_norm(states)[:, :25].mean(1)  # its sound is half of the window
        torch.testing.assert_close(
            encoder.features(Modality.AUDIO, heard[None]), expected, atol=1e-5, rtol=1e-4
        )
    longer = media.load(Modality.AUDIO, sound(2.0))
    assert torch.equal(longer, media.load(Modality.AUDIO, sound(1.0)))  # what is behind the window is cut off


@pytest.mark.parametrize("fusion", [False, True])
def test_clap_is_clap(tmp_path, fusion):
    from transformers import ClapFeatureExtractor, ClapModel

    folder = write_clap(tmp_path / "clap", fusion=fusion)
    model = ClapModel.from_pretrained(folder).eval()
    extractor = ClapFeatureExtractor.from_pretrained(folder)
    encoder, media = one_tower("audio", folder)
    wave = sound(0.8, 48_000)
    found = media.load(Modality.AUDIO, wave)
    inputs = extractor(wave, sampling_rate=48_000, return_tensors="pt")
    torch.testing.assert_close(found, inputs["input_features"][0].float())
    with torch.no_grad():
        inputs["is_longer"] = torch.zeros(1, 1, dtype=torch.bool)
        expected = normalize(model.get_audio_features(**inputs).pooler_output, dim=-1)
        torch.testing.assert_close(encoder.encode(Modality.AUDIO, found[None]), expected)


def test_other_models_give_their_own_vectors(folders):
    from transformers import AutoFeatureExtractor, AutoModel

    def whole(name):
        return AutoModel.from_pretrained(folders[name]).eval()

    pictures, wave = torch.randn(2, 3, SIDE, SIDE), sound(0.4)
    with torch.no_grad():
        encoder, _ = one_tower("image", folders["siglip"])
        expected = whole("siglip").get_image_features(pixel_values=pictures).pooler_output
        torch.testing.assert_close(encoder.features(Modality.IMAGE, pictures), expected)
        states = whole("dinov2")(pixel_values=pictures).last_hidden_state
        for pooling, expected in {"cls": states[:, 0], "mean": states[:, 1:].mean(1)}.items():
            encoder, _ = one_tower("image", folders["dinov2"], pooling=pooling)
            torch.testing.assert_close(encoder.features(Modality.IMAGE, pictures), expected)
        encoder, media = one_tower("text", folders["bert"])
        row = media.load(Modality.TEXT, "a dog")
        expected = whole("bert")(input_ids=row[:1, : int(row[1].sum())]).last_hidden_state.mean(1)
        torch.testing.assert_close(encoder.features(Modality.TEXT, row[None]), expected)
        for name, take in {
            "ast": lambda found: found.pooler_output,
            "wav2vec2": lambda found: found.last_hidden_state.mean(1),
        }.items():
            encoder, media = one_tower("audio", folders[name])
            extractor = AutoFeatureExtractor.from_pretrained(folders[name])
            inputs = extractor(wave, sampling_rate=RATE, return_tensors="pt")
            expected = take(whole(name)(inputs["input_values"]))
            heard = media.load(Modality.AUDIO, wave)[None]
            torch.testing.assert_close(
                encoder.features(Modality.AUDIO, heard), expected, atol=1e-5, rtol=1e-4
            )


def test_rows_do_not_depend_on_their_neighbours(folders):
    encoder, media = one_tower("text", folders["bert"])
    texts = torch.stack(
        [media.load(Modality.TEXT, text) for text in ("cat", "a much longer caption", "a dog")]
    )
    with torch.no_grad():
        together = encoder.encode(Modality.TEXT, texts)
        alone = torch.cat([encoder.encode(Modality.TEXT, text[None]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3
    assert texts.shape == (3, 2, 32)  # sentence_bert_config.json says 32


def test_a_video_is_the_mean_of_its_frames_features(folders):
    tower = {"backbone": str(folders["clip"]), "head": {"kind": "linear"}}
    recipe = {"embedding_dim": 9, "towers": {"image": tower}, "video": {"frames": 3}}
    encoder, media = make_towers(new_encoder_of(recipe))
    film = np.random.default_rng(0).integers(0, 255, (9, 40, 60, 3)).astype(np.uint8)
    frames = media.load(Modality.VIDEO, film)
    assert frames.shape == (3, 3, SIDE, SIDE)
    assert torch.equal(frames[1], media.load(Modality.IMAGE, film[4]))  # frames 0, 4 and 8 of 9
    with torch.no_grad():
        mean = encoder.features(Modality.IMAGE, frames).mean(0, keepdim=True)
        expected = encoder.project(Modality.IMAGE, mean)
        torch.testing.assert_close(encoder.encode(Modality.VIDEO, frames[None]), expected)


def test_heads_standardise_by_what_they_were_measured_on():
    head = Head(HeadSettings("none"), 3, 3)
    assert not head.measured
    features = torch.tensor([[1.0, 10.0, 5.0], [3.0, 30.0, 5.0]])
    head.measure(features)
    assert head.measured
    torch.testing.assert_close(head.mean, torch.tensor([2.0, 20.0, 5.0]))
    torch.testing.assert_close(head.std, torch.tensor([1.0, 10.0, 1.0]))  # the last one never changes
    half = 2**-0.5
    torch.testing.assert_close(head(features), torch.tensor([[-half, -half, 0.0], [half, half, 0.0]]))
    with pytest.raises(ConfigError, match="set embedding_dim to 3"):
        Head(HeadSettings("none"), 3, 4)


def test_backbones_stay_in_evaluation_mode_and_frozen(folders):
    encoder, _ = one_tower("image", folders["efficientnet"])
    encoder.train()
    assert encoder.training
    assert not any(part.training for part in encoder.towers["image"].backbone.modules())
    assert not any(one.requires_grad for one in encoder.towers["image"].backbone.parameters())


@pytest.fixture(scope="module")
def saved(folders, tmp_path_factory):
    tower = {"backbone": str(folders["bert"]), "head": {"kind": "linear"}}
    encoder, media = make_towers(new_encoder_of({"embedding_dim": 9, "towers": {"text": tower}}))
    folder = tmp_path_factory.mktemp("saved") / "encoder"
    save_towers(encoder, media, folder)
    return folder


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "nan", "flat", "cut", "text", "gone"])
def test_loading_is_strict(saved, tmp_path, change):
    bad = shutil.copytree(saved, tmp_path / "bad")
    file = bad / "model.safetensors"
    tensors = load_file(file)
    name = "towers.text.head.layers.0.weight"
    if change == "missing":
        del tensors[name]
    elif change == "unexpected":
        tensors["stranger"] = torch.zeros(2)
    elif change == "shape":
        tensors[name] = torch.zeros(3, 3)
    elif change == "nan":
        tensors[name][0, 0] = torch.nan
    elif change == "flat":
        tensors["towers.text.head.std"][3] = 0
    save_file(tensors, file, metadata={"format": "pt"})
    content = file.read_bytes()
    if change in ("cut", "text"):
        file.write_bytes(content[: len(content) // 2] if change == "cut" else b"text")
    if change == "gone":
        file.unlink()
    with pytest.raises(CheckpointError) as caught:
        load_encoder(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda v: v.update(embeding_dim=3), "did you mean"),
        (lambda v: v["towers"]["text"]["backbone"]["config"].update(model_type="no-such"), "no-such"),
        (lambda v: v["towers"]["text"]["backbone"].update(pooling=None), "need one"),
        (lambda v: v["towers"]["text"]["backbone"].update(pooling="projection"), "has no projection"),
        (lambda v: v.update(towers={}), "no towers"),
        (lambda v: v.update(video={"frames": 2}), "there is no such tower"),
        (lambda v: v["towers"]["text"]["backbone"]["config"].update(num_hidden_layers=10**9), "at most"),
        (lambda v: v["towers"]["text"]["backbone"]["config"].update(hidden_size=2**20), "more weights"),
    ],
)
def test_a_wrong_configuration_gives_one_line(saved, tmp_path, change, complaint):
    bad = shutil.copytree(saved, tmp_path / "bad")
    values = json.loads((bad / "config.json").read_text())
    change(values)
    write_json(bad / "config.json", values)
    with pytest.raises((ConfigError, CheckpointError)) as caught:
        load_encoder(bad)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_tells_weights_and_media_apart(saved, tmp_path):
    own = load_encoder(saved).fingerprint
    other = shutil.copytree(saved, tmp_path / "weights")
    tensors = load_file(other / "model.safetensors")
    tensors["towers.text.backbone.model.embeddings.word_embeddings.weight"][0, 0] += 1
    save_file(tensors, other / "model.safetensors")
    assert load_encoder(other).fingerprint != own
    shorter = shutil.copytree(saved, tmp_path / "media")
    values = json.loads((shorter / "config.json").read_text())
    values["towers"]["text"]["media"]["context_length"] = 12
    write_json(shorter / "config.json", values)
    assert load_encoder(shorter).fingerprint != own
    encoder = load_encoder(saved)
    with torch.no_grad():
        encoder.towers["text"].head.mean.add_(1)
    assert encoder.fingerprint != own


@pytest.mark.parametrize(
    ("towers", "complaint"),
    [
        ({"image": {"backbone": "bert", "pooling": "mean"}}, "preprocessor_config.json"),
        ({"image": {"backbone": "clap"}}, "reads audio and text, not image"),
        ({"depth": {"backbone": "clip"}}, "reads image, audio or text"),
        ({"point": {"backbone": "point", "pooling": "cls"}}, "for transformers models"),
        ({"depth": {"backbone": "point"}}, "has no depth; it knows image, point"),
        ({"audio": {"backbone": "whisper", "seconds": 31}}, "hears 30 s"),
        ({"text": {"backbone": "siglip", "context": 8}}, "reads exactly 24"),
        ({"text": {"backbone": "bert", "context": 4000}}, "reads at most 40"),
        ({"text": {"backbone": "bert", "seconds": 3}}, "for audio towers only"),
        ({"audio": {"backbone": "whisper", "pooling": "cls"}}, "use pooling mean"),
        ({"image": {"backbone": "nowhere"}}, "no model"),
        ({"image": {"backbone": "clip", "poling": "cls"}}, "did you mean"),
        ({"video": {"backbone": "clip"}}, "give video: {frames: 8}"),
        ({"audio": {"backbone": "efficientnet"}}, "'efficientnet_lite' reads image, not audio"),
        ({"imgae": {"backbone": "efficientnet"}}, "unknown modality 'imgae'; use one of image"),
    ],
)
def test_a_wrong_recipe_gives_one_line(folders, towers, complaint):
    plain = {
        name: {**tower, "backbone": str(folders.get(tower["backbone"], tower["backbone"]))}
        for name, tower in towers.items()
    }
    with pytest.raises(UserError) as caught:
        make_towers(new_encoder_of({"embedding_dim": 8, "towers": plain}))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["imgae", "audio"])
def test_a_wrong_tower_is_named_before_a_missing_dimension(folders, name):
    recipe = {"towers": {name: {"backbone": str(folders["efficientnet"])}}}
    with pytest.raises(UserError, match=name) as caught:
        make_towers(new_encoder_of(recipe))
    assert "embedding_dim" not in str(caught.value)


def test_a_backbone_without_some_weights_is_refused(folders, tmp_path):
    bad = shutil.copytree(folders["clip"], tmp_path / "bad")
    tensors = load_file(bad / "model.safetensors")
    name = next(key for key in tensors if "vision" in key and key.endswith("q_proj.weight"))
    del tensors[name]
    save_file(tensors, bad / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"towers\.image: .*1 missing"):
        one_tower("image", bad)
    one_tower("text", bad)  # the other part is whole


PICTURES = [
    CLIP_PICTURES,
    {**CLIP_PICTURES, "size": SIDE, "crop_size": SIDE},  # the spelling of older versions
    {**CLIP_PICTURES, "size": {"shortest_edge": 41}, "resample": 2},
    SQUARE_PICTURES,
    {**SQUARE_PICTURES, "image_processor_type": "ViTImageProcessor", "size": SIDE, "resample": 2},
]


@pytest.mark.parametrize("values", PICTURES, ids=["clip", "old clip", "cut", "siglip", "old vit"])
@pytest.mark.parametrize("shape", [(50, 70), (71, 33), (20, 20)])
def test_pictures_are_as_transformers_prepares_them(tmp_path, values, shape):
    transformers = pytest.importorskip("transformers", minversion="5.20")
    write_json(tmp_path / "preprocessor_config.json", values)
    kind = getattr(transformers, values["image_processor_type"] + "Pil", None)
    if kind is None:
        pytest.skip("this transformers has no processor of Pillow alone")
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    given = {key: value for key, value in values.items() if key != "image_processor_type"}
    expected = kind(**given)(Image.fromarray(pixels), return_tensors="pt")["pixel_values"][0]
    found = published_pictures(tmp_path).load(pixels, Limits())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"do_pad": True}, "do_pad"),
        ({"rescale_factor": 1.0}, "1/255"),
        ({"resample": 9}, "resample is 9"),
        ({"size": {"longest_edge": 30}}, "expected height and width"),
        ({"size": "large"}, "size is 'large'"),
        ({"image_mean": [0.5, 0.5]}, "image_mean"),
        ({"crop_size": None}, "crop_size"),
        ({"crop_size": {"height": 99, "width": 99}}, "short_side"),
        ({"do_center_crop": False}, "without cutting"),
    ],
)
def test_pictures_that_are_prepared_otherwise_are_refused(tmp_path, change, complaint):
    write_json(tmp_path / "preprocessor_config.json", {**CLIP_PICTURES, **change})
    with pytest.raises(CheckpointError) as caught:
        published_pictures(tmp_path)
    assert complaint in str(caught.value)


def test_an_efficientnet_cuts_out_as_its_authors_do(folders):
    encoder, media = one_tower("image", folders["efficientnet"])
    side = (127 / 255, 128 / 255)
    assert media.image == PictureInput(SIDE, SIDE, SIDE + 32, "bicubic", (side[0],) * 3, (side[1],) * 3)
    pictures = torch.rand(2, 3, SIDE, SIDE)
    backbone = encoder.towers["image"].backbone
    with torch.no_grad():
        assert backbone.logits(pictures).shape == (2, 5)
        torch.testing.assert_close(backbone.logits(pictures), backbone._fc(backbone(pictures)))
    with pytest.raises(UserError, match="expects"):
        encoder.encode(Modality.IMAGE, torch.rand(1, 3, SIDE + 1, SIDE))


def test_an_efficientnets_own_media_settings_hold(folders, tmp_path):
    own = shutil.copytree(folders["efficientnet"], tmp_path / "own")
    values = json.loads((own / "config.json").read_text())
    more = {"crop": 0.5, "interpolation": "bilinear", "mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2]}
    write_json(own / "config.json", {**values, **more})
    expected = PictureInput(SIDE, SIDE, 2 * SIDE, "bilinear", (0.4,) * 3, (0.2,) * 3)
    assert one_tower("image", own)[1].image == expected
    write_json(own / "config.json", {**values, "interpolatoin": "bilinear"})
    with pytest.raises(ConfigError, match="did you mean"):
        one_tower("image", own)


def test_efficientnets_have_their_sizes():
    from imagebind_llm.encoders.towers.backbones.efficientnet_lite import (
        EfficientNetLite,
        EfficientNetLiteConfig,
    )

    millions = {"lite0": 4.65, "lite1": 5.42, "lite2": 6.09, "lite3": 8.20, "lite4": 13.01}
    for variant, expected in millions.items():
        with torch.device("meta"):
            model = EfficientNetLite(EfficientNetLiteConfig(variant))
        found = sum(one.numel() for one in model.parameters()) / 1e6
        assert abs(found - expected) < 0.01, (variant, found)
    keys = model.state_dict().keys()
    assert {"_conv_stem.weight", "_bn0.running_var", "_blocks.0._depthwise_conv.weight", "_fc.bias"} <= keys
    assert "_blocks.0._expand_conv.weight" not in keys


def test_the_projection_of_another_size_is_kept(tmp_path):
    folder = write_clip(tmp_path / "clip")
    encoder, _ = one_tower("image", folder)
    assert encoder.embedding_dim == 12  # CLIP's whole configuration says so, its vision part says 512
    encoder, _ = one_tower("image", folder, pooling="pooler")
    assert encoder.embedding_dim == 16


@pytest.mark.parametrize(
    ("backbone", "changes"),
    [("clip", {}), ("clip", {"pooling": "mean"}), ("dinov2", {"pooling": "mean"}), ("efficientnet", {})],
)
@torch.no_grad()
def test_tokens_of_pictures_are_features_of_their_places(folders, backbone, changes):
    encoder, media = one_tower("image", folders[backbone], **changes)
    encoder.eval()
    assert encoder.token_modalities == {Modality.IMAGE}
    batch = media.load(Modality.IMAGE, media_samples()["image"], Limits())[None]
    found = encoder.tokens(Modality.IMAGE, batch)
    torch.testing.assert_close(found.vectors, encoder.encode(Modality.IMAGE, batch))
    torch.testing.assert_close(found.tokens.norm(dim=-1), torch.ones(found.tokens.shape[:-1]))
    whole, parts = encoder.towers["image"].backbone.in_parts(batch)
    torch.testing.assert_close(found.tokens, normalize(parts, dim=-1))
    if backbone == "clip" and not changes:  # its class token goes the same way
        model = encoder.towers["image"].backbone.model
        states = model(pixel_values=batch).last_hidden_state
        own = encoder.towers["image"].backbone.projection(model.post_layernorm(states))
        torch.testing.assert_close(own[:, 0], whole)
        torch.testing.assert_close(own[:, 1 + 4 * 2 + 3], parts[:, 2, 3])
    else:  # a mean over places
        torch.testing.assert_close(parts.mean((1, 2)), whole)


def test_a_pooled_vector_alone_has_no_tokens(folders):
    encoder, _ = one_tower("image", folders["siglip"])
    assert encoder.token_modalities == frozenset()
    with pytest.raises(UserError, match="no tokens of image; it has of nothing"):
        encoder.tokens(Modality.IMAGE, torch.zeros(1, 3, SIDE, SIDE))
