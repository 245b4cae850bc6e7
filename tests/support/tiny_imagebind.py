"""The configuration of the tiny reference encoder, as recorded."""

import json
import math
from pathlib import Path

from imagebind_llm.encoders.imagebind import ImageBindConfig
from imagebind_llm.encoders.imagebind.config import (
    GridConfig,
    HeadConfig,
    ImuConfig,
    PointConfig,
    StemConfig,
    TextConfig,
    TrunkConfig,
)

GOLDEN = Path(__file__).parents[1] / "golden"


def tiny_config() -> ImageBindConfig:
    """The recorded settings of the tiny reference model, as our configuration."""
    recorded = json.loads((GOLDEN / "imagebind_tiny" / "config.json").read_text())
    sizes, fixed, eps = recorded["imagebind"], recorded["fixed"], recorded["layernorm_eps"]
    scales = {name: math.exp(value) for name, value in recorded["log_logit_scale"].items()}
    image = (fixed["image_size"], fixed["image_size"])

    def trunk(name: str) -> TrunkConfig:
        return TrunkConfig(
            sizes[f"{name}_embed_dim"],
            sizes[f"{name}_num_blocks"],
            sizes[f"{name}_num_heads"],
            mlp_ratio=fixed["mlp_ratio"],
            norm_eps=eps["trunk_blocks"],
            pre_norm=name == "vision" and fixed["vision_pre_transformer_layernorm"],
            bias_kv=fixed["add_bias_kv"][name],
            drop_path=sizes.get(f"{name}_drop_path", 0.0),
        )

    def patches(name: str, kernel: int, stride: int, size: tuple[int, int]) -> GridConfig:
        stem = StemConfig(
            sizes[f"{name}_embed_dim"], (kernel, kernel), (stride, stride), padding=(0, 0), norm=True
        )
        return GridConfig(1, size, stem, trunk(name), HeadConfig(logit_scale=scales[name]))

    tube = tuple(sizes["kernel_size"])
    point = recorded["point"]
    return ImageBindConfig(
        embedding_dim=sizes["out_embed_dim"],
        vision=GridConfig(
            3,
            image,
            StemConfig(sizes["vision_embed_dim"], tube, tube, padding=(0, 0, 0)),
            trunk("vision"),
            frames=sizes["video_frames"],
        ),
        text=TextConfig(
            trunk("text"),
            HeadConfig(logit_scale=scales["text"], learn_scale=True),
            vocabulary=fixed["text_vocab_size"],
            context=fixed["text_context_length"],
        ),
        audio=patches(
            "audio",
            sizes["audio_kernel_size"],
            sizes["audio_stride"],
            (sizes["audio_num_mel_bins"], sizes["audio_target_len"]),
        ),
        depth=patches("depth", sizes["depth_kernel_size"], sizes["depth_kernel_size"], image),
        thermal=patches("thermal", sizes["thermal_kernel_size"], sizes["thermal_kernel_size"], image),
        imu=ImuConfig(
            trunk("imu"),
            HeadConfig(dropout=0.5, logit_scale=scales["imu"]),
            channels=fixed["imu_channels"],
            length=fixed["imu_length"],
            kernel_size=sizes["imu_kernel_size"],
        ),
        point=PointConfig(
            groups=point["num_group"],
            group_size=point["group_size"],
            trunk=TrunkConfig(
                point["trans_dim"],
                point["depth"],
                point["num_heads"],
                mlp_ratio=point["mlp_ratio"],
                norm_eps=eps["point_blocks"],
                qkv_bias=point["qkv_bias"],
                drop_path=point["drop_path_rate"],
            ),
            head=HeadConfig(dropout=0.5, logit_scale=scales["point"], norm_eps=eps["point_head"]),
            group_width=point["encoder_dims"],
            position_hidden=point["pos_embed_hidden"],
            out_width=point["pc_embed_dim"],
        ),
    )
