"""The two named sets of values, as plain data that ``ImageBindConfig.from_dict`` reads."""

from typing import Any


def huge(point: bool) -> dict[str, Any]:
    """ImageBind-Huge: the sizes of the published weights, the scales of the published training."""
    return {
        "embedding_dim": 1024,
        "vision": {
            "channels": 3,
            "size": (224, 224),
            "frames": 2,
            "stem": {"channels": 1280, "kernel": (2, 14, 14), "stride": (2, 14, 14), "padding": (0, 0, 0)},
            "trunk": {"width": 1280, "blocks": 32, "heads": 16, "pre_norm": True},
        },
        "text": {
            "trunk": {"width": 1024, "blocks": 24, "heads": 16},
            "head": {"logit_scale": 1 / 0.07, "learn_scale": True},
        },
        "audio": {
            "channels": 1,
            "size": (128, 204),
            "stem": {
                "channels": 768,
                "kernel": (16, 16),
                "stride": (10, 10),
                "padding": (0, 0),
                "norm": True,
            },
            "trunk": {"width": 768, "blocks": 12, "heads": 12, "bias_kv": True, "drop_path": 0.1},
            "head": {"logit_scale": 20.0},
        },
        "depth": _patches(384, heads=8, logit_scale=5.0),
        "thermal": _patches(768, heads=12, logit_scale=10.0),
        "imu": {
            "trunk": {"width": 512, "blocks": 6, "heads": 8, "bias_kv": True, "drop_path": 0.7},
            "head": {"dropout": 0.5, "logit_scale": 5.0},
        },
        "point": {
            "groups": 512,
            "group_size": 32,
            "trunk": {
                "width": 384,
                "blocks": 12,
                "heads": 6,
                "norm_eps": 1e-5,
                "qkv_bias": False,
                "drop_path": 0.1,
            },
            "head": {"dropout": 0.5, "logit_scale": 1.0},
        }
        if point
        else None,
    }


def _patches(width: int, heads: int, logit_scale: float) -> dict[str, Any]:
    """Depth and thermal of ImageBind-Huge: one channel, patches of 16."""
    return {
        "channels": 1,
        "size": (224, 224),
        "stem": {"channels": width, "kernel": (16, 16), "stride": (16, 16), "padding": (0, 0), "norm": True},
        "trunk": {"width": width, "blocks": 12, "heads": heads, "bias_kv": True},
        "head": {"logit_scale": logit_scale},
    }


def nano() -> dict[str, Any]:
    """Small enough to train on two CPU cores: convolutions find the shapes, short trunks relate them."""
    return {
        "embedding_dim": 128,
        "vision": {
            "channels": 3,
            "size": (32, 32),
            "frames": 2,
            "stem": {
                "channels": 48,
                "kernel": (2, 4, 4),
                "stride": (2, 2, 2),
                "padding": (0, 1, 1),
                "convs": (
                    {"channels": 96, "pool": 2, "residual": True},
                    {"channels": 192, "pool": 2, "residual": True},
                ),
            },
            "trunk": {"width": 192, "blocks": 2, "heads": 6, "pre_norm": True},
        },
        "text": {
            "trunk": {"width": 64, "blocks": 2, "heads": 4},
            "head": {"logit_scale": 1 / 0.07, "learn_scale": True},
        },
        "audio": {
            "channels": 1,
            "size": (64, 204),
            "stem": {
                "channels": 32,
                "kernel": (8, 8),
                "stride": (4, 4),
                "padding": (2, 2),
                "convs": (
                    {"channels": 64, "pool": 2, "residual": True},
                    {"channels": 96, "pool": 2, "residual": True},
                ),
                "norm": True,
            },
            "trunk": {"width": 96, "blocks": 3, "heads": 4, "bias_kv": True, "drop_path": 0.1},
            "head": {"dropout": 0.1, "logit_scale": 20.0},
        },
        "depth": _small_map(logit_scale=5.0),
        "thermal": _small_map(logit_scale=10.0),
        "imu": {
            "kernel_size": 40,
            "trunk": {"width": 96, "blocks": 3, "heads": 4, "bias_kv": True, "drop_path": 0.1},
            "head": {"dropout": 0.1, "logit_scale": 5.0},
        },
        "point": {
            "groups": 64,
            "group_size": 16,
            "group_hidden": 32,
            "group_width": 96,
            "position_hidden": 64,
            "out_width": 128,
            "trunk": {
                "width": 96,
                "blocks": 3,
                "heads": 4,
                "norm_eps": 1e-5,
                "qkv_bias": False,
                "drop_path": 0.1,
            },
            "head": {"dropout": 0.1, "logit_scale": 1.0},
        },
    }


def _small_map(logit_scale: float) -> dict[str, Any]:
    """Depth and thermal of nano: one channel, 32 x 32, 4 x 4 tokens."""
    return {
        "channels": 1,
        "size": (32, 32),
        "stem": {
            "channels": 24,
            "kernel": (3, 3),
            "stride": (2, 2),
            "padding": (1, 1),
            "convs": (
                {"channels": 48, "pool": 2, "residual": True},
                {"channels": 96, "pool": 2, "residual": True},
            ),
            "norm": True,
        },
        "trunk": {"width": 96, "blocks": 2, "heads": 4, "bias_kv": True},
        "head": {"logit_scale": logit_scale},
    }
