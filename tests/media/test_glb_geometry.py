"""Quantised, sparse, instanced, morphed and skinned GLB: every vertex where the specification puts it."""

import numpy as np
import pytest
from support.media_samples import glb

from imagebind_llm.media import Limits, MediaError
from imagebind_llm.media.point import read_shape

POINTS = np.array([[0, 0, 0], [4, 0, 0], [0, 2, 0], [0, 0, -3], [4, 2, -3]], np.float64)
TRIANGLES = [0, 1, 2, 0, 2, 3, 1, 4, 2]
CODES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}


class Writer:
    """A glTF document and its binary chunk, put together accessor by accessor."""

    def __init__(self) -> None:
        self.binary = b""
        self.views, self.accessors = [], []

    def view(self, data: bytes, **more) -> int:
        self.binary += b"\xee" * (-len(self.binary) % 8)
        self.views.append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data), **more})
        self.binary += data
        return len(self.views) - 1

    def accessor(self, values, kind: str, shape: str, padding: int = 0, **more) -> int:
        rows = np.asarray(values).astype("<" + kind)
        rows = rows.reshape(len(rows), -1)
        cells = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
        padded = np.concatenate([cells, np.full((len(rows), padding), 0xEE, np.uint8)], axis=1)
        stride = {"byteStride": padded.shape[1]} if padding else {}
        view = self.view(padded.tobytes(), **stride)
        self.accessors.append(
            {"bufferView": view, "componentType": CODES[kind], "count": len(rows), "type": shape, **more}
        )
        return len(self.accessors) - 1

    def file(self, primitive: dict, node: dict, **more) -> bytes:
        document = {
            "asset": {"version": "2.0"},
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, **node}],
            "meshes": [{"primitives": [{"indices": self.accessor(TRIANGLES, "u2", "SCALAR"), **primitive}]}],
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.binary)}],
        }
        return glb(document | more, self.binary)


def vertices(data: bytes) -> np.ndarray:
    shape = read_shape(data, "mesh.glb", Limits())
    np.testing.assert_array_equal(shape.faces.reshape(-1) % 5, TRIANGLES * (len(shape.vertices) // 5))
    return shape.vertices


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2"])
@pytest.mark.parametrize("normalised", [True, False])
def test_quantised_positions_are_scaled_back(kind, normalised):
    # as gltfpack and gltf-transform write them: whole numbers over the bounding box, padded to 4 bytes,
    # the node's scale and translation undo it
    low, size = POINTS.min(axis=0), 4.0
    top = np.iinfo(kind).max
    share = (POINTS - low) / size
    if kind[0] == "i" and normalised:
        share = 2 * share - 1
        low, size = low + size / 2, size / 2
    stored = np.round(share * top)
    writer = Writer()
    position = writer.accessor(
        stored,
        kind,
        "VEC3",
        padding=1 if kind[1] == "1" else 2,
        **({"normalized": True} if normalised else {}),
    )
    scale = size if normalised else size / top
    data = writer.file(
        {"attributes": {"POSITION": position}},
        {"scale": [scale] * 3, "translation": low.tolist()},
        extensionsRequired=["KHR_mesh_quantization"],
        extensionsUsed=["KHR_mesh_quantization"],
    )
    np.testing.assert_allclose(vertices(data), POINTS, atol=size / top)


def test_the_lowest_signed_number_is_minus_one():
    writer = Writer()
    position = writer.accessor(np.full((5, 3), -128), "i1", "VEC3", padding=1, normalized=True)
    np.testing.assert_array_equal(
        vertices(writer.file({"attributes": {"POSITION": position}}, {})), -np.ones((5, 3))
    )


@pytest.mark.parametrize("base", [True, False])
def test_sparse_values_replace_what_is_there(base):
    changed = np.array([[7.0, 8, 9], [-1, -2, -3]])
    writer = Writer()
    position = writer.accessor(POINTS, "f4", "VEC3", padding=4)
    writer.accessors[position]["sparse"] = {
        "count": 2,
        "indices": {"bufferView": writer.view(np.array([1, 3], "<u2").tobytes()), "componentType": 5123},
        "values": {"bufferView": writer.view(changed.astype("<f4").tobytes())},
    }
    if not base:
        del writer.accessors[position]["bufferView"]
    expected = POINTS.copy() if base else np.zeros((5, 3))
    expected[[1, 3]] = changed
    np.testing.assert_array_equal(vertices(writer.file({"attributes": {"POSITION": position}}, {})), expected)


def test_instances_stand_where_their_transforms_put_them():
    writer = Writer()
    position = writer.accessor(POINTS, "f4", "VEC3")
    turns = np.array([[0, 0, 0, 1], [0, 0, np.sqrt(0.5), np.sqrt(0.5)]])  # the second by 90° about z
    given = {
        "TRANSLATION": writer.accessor([[0, 0, 0], [10, 0, 0]], "f4", "VEC3"),
        "ROTATION": writer.accessor(np.round(turns * 32767), "i2", "VEC4", normalized=True),
        "SCALE": writer.accessor([[1, 1, 1], [2, 2, 2]], "f4", "VEC3"),
    }
    data = writer.file(
        {"attributes": {"POSITION": position}},
        {"translation": [0, 0, 5], "extensions": {"EXT_mesh_gpu_instancing": {"attributes": given}}},
        extensionsRequired=["EXT_mesh_gpu_instancing"],
    )
    turned = np.stack([10 - 2 * POINTS[:, 1], 2 * POINTS[:, 0], 2 * POINTS[:, 2]], axis=1)
    expected = np.concatenate([POINTS, turned]) + np.array([0, 0, 5])
    np.testing.assert_allclose(vertices(data), expected, atol=1e-3)


def test_morph_targets_move_the_points_as_much_as_the_weights_say():
    writer = Writer()
    position = writer.accessor(POINTS, "f4", "VEC3")
    up = writer.accessor(np.tile([0, 2, 0], (5, 1)), "i1", "VEC3", padding=1)
    data = writer.file(
        {"attributes": {"POSITION": position}, "targets": [{"POSITION": up}, {}]}, {"weights": [0.25, 1.0]}
    )
    np.testing.assert_allclose(vertices(data), POINTS + np.array([0, 0.5, 0]))


@pytest.mark.parametrize(("weights", "fits"), [([0.0, 0.0, 0.0], True), ([0.0, 0.0, 0.5], False)])
def test_a_weight_without_its_morph_target_is_refused(weights, fits):
    writer = Writer()
    position = writer.accessor(POINTS, "f4", "VEC3")
    data = writer.file({"attributes": {"POSITION": position}, "targets": [{}, {}]}, {"weights": weights})
    if fits:
        np.testing.assert_allclose(vertices(data), POINTS)
        return
    with pytest.raises(MediaError, match="3 morph weights for 2 targets"):
        vertices(data)


def test_joints_place_a_skinned_mesh_and_its_node_does_not():
    writer = Writer()
    points = np.abs(POINTS)
    position = writer.accessor(points / 4 * 65535, "u2", "VEC3", padding=2, normalized=True)
    joints = writer.accessor([[0, 1, 0, 0]] * 5, "u1", "VEC4")
    weights = writer.accessor([[255, 0, 0, 0]] * 4 + [[0, 255, 0, 0]], "u1", "VEC4", normalized=True)
    inverse = np.diag([4.0, 4, 4, 1])  # gltfpack puts the scale of quantised positions here
    bind = writer.accessor(np.stack([inverse, inverse]).transpose(0, 2, 1), "f4", "MAT4")
    data = writer.file(
        {"attributes": {"POSITION": position, "JOINTS_0": joints, "WEIGHTS_0": weights}},
        {"skin": 0, "translation": [99, 99, 99]},
        scenes=[{"nodes": [0, 1]}],
        nodes=[
            {"mesh": 0, "skin": 0, "translation": [99, 99, 99]},
            {"translation": [1, 0, 0], "children": [2]},
            {"translation": [0, 1, 0]},
        ],
        skins=[{"joints": [1, 2], "inverseBindMatrices": bind}],
    )
    expected = points + np.array([1, 0, 0])
    expected[4] += [0, 1, 0]
    np.testing.assert_allclose(vertices(data), expected, atol=1e-3)


def with_extension(place: str, extension: str) -> bytes:
    writer = Writer()
    position = writer.accessor(POINTS, "f4", "VEC3")
    primitive = {"attributes": {"POSITION": position}}
    if place == "view":
        writer.views[0] |= {"buffer": 1, "extensions": {extension: {"buffer": 0}}}
    elif place == "primitive":
        del writer.accessors[position]["bufferView"]
        primitive["extensions"] = {extension: {"bufferView": 0}}
    required = {"extensionsRequired": [extension]} if place == "required" else {}
    return writer.file(primitive, {}, **required)


@pytest.mark.parametrize(
    ("place", "extension"),
    [
        ("view", "EXT_meshopt_compression"),
        ("view", "KHR_meshopt_compression"),
        ("primitive", "KHR_draco_mesh_compression"),
        ("required", "KHR_draco_mesh_compression"),
        ("required", "ACME_other_geometry"),
    ],
)
def test_packed_geometry_is_refused_by_name(place, extension):
    with pytest.raises(MediaError, match=extension):
        read_shape(with_extension(place, extension), "mesh.glb", Limits())


@pytest.mark.parametrize("extension", ["KHR_texture_basisu", "EXT_texture_webp", "KHR_materials_unlit"])
def test_extensions_of_the_surface_do_not_matter(extension):
    np.testing.assert_array_equal(vertices(with_extension("required", extension)), POINTS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 6}, "bytes of geometry"),
        ({"byteOffset": 4}, "bytes of geometry"),
        ({"type": "VEC4"}, "VEC4"),
        ({"count": 10**12}, "1000000000000"),
    ],
)
def test_an_accessor_beyond_its_view_is_refused(change, words):
    writer = Writer()
    position = writer.accessor(POINTS, "f4", "VEC3")
    writer.accessors[position] |= change
    writer.view(b"\0" * 400)
    with pytest.raises(MediaError, match=words):
        read_shape(writer.file({"attributes": {"POSITION": position}}, {}), "mesh.glb", Limits())
