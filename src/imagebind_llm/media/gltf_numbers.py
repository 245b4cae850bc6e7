"""The numbers of a glTF 2.0 file: accessors over its binary chunk.

Read are plain, strided and sparse accessors, floats and whole numbers, and ``normalized`` ones
(``KHR_mesh_quantization``), as the glTF 2.0 specification, section 3.6.2, defines them. Compressed geometry
is refused with the compression's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError

_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}
COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
"""Extensions that pack geometry. They need decoders of their own."""


@dataclass(frozen=True)
class Numbers:
    """The accessors of one file.

    Raises:
        MediaError: by the methods, for numbers that are compressed, not in the file, or damaged.
    """

    document: Mapping[str, Any]
    binary: bytes
    name: str
    most: int
    """Vertices that an accessor may hold; indices may be three times as many."""

    def floats(self, number: int, shape: str) -> NDArray[np.float64]:
        """``[count, width]`` of accessor ``number``, whose type must be ``shape``.

        Normalised whole numbers come as 0..1 (unsigned) or -1..1 (signed).
        """
        accessor = self.document["accessors"][number]
        values = self._raw(accessor, shape)
        scaled = values.astype(np.float64)
        if accessor.get("normalized") and values.dtype.kind in "iu":
            scaled = np.maximum(scaled / np.iinfo(values.dtype).max, -1.0)
        return scaled

    def whole(self, number: int, shape: str = "SCALAR") -> NDArray[np.int64]:
        """``[count, width]`` of accessor ``number``: indices or joints."""
        values = self._raw(self.document["accessors"][number], shape)
        if values.dtype.kind != "u":
            raise MediaError(self.name, f"indices of type {values.dtype}", "unsigned ones", "export it anew")
        return values.astype(np.int64)

    def compressed(self, where: Mapping[str, Any]) -> None:
        """Refuse a part of the file whose extensions pack it."""
        for extension in COMPRESSIONS:
            if extension in where.get("extensions", {}):
                raise MediaError(
                    self.name,
                    f"geometry compressed with {extension}",
                    "plain or quantised geometry",
                    "unpack it: gltf-transform copy packed.glb plain.glb",
                )

    def _raw(self, accessor: Mapping[str, Any], shape: str) -> NDArray[Any]:
        """The stored numbers, before any scaling, after checking that they lie inside the binary chunk."""
        kind, count = np.dtype(_COMPONENTS[accessor["componentType"]]), int(accessor["count"])
        if accessor["type"] != shape:
            raise MediaError(
                self.name, f"an accessor of {accessor['type']}", f"one of {shape}", "export it anew"
            )
        sparse = accessor.get("sparse")
        if "bufferView" not in accessor and not sparse:
            raise MediaError(
                self.name,
                "an accessor without plain or sparse data",
                "either",
                "export it without compression",
            )
        most = 3 * self.most if shape == "SCALAR" else self.most
        if not 0 < count <= most:
            raise MediaError(
                self.name,
                f"an accessor of {count} elements",
                f"1 to {most}",
                "thin it or raise Limits.max_points",
            )
        if "bufferView" in accessor:
            values = self._view(accessor, accessor["bufferView"], kind, _WIDTHS[shape], count, strided=True)
        else:
            values = np.zeros((count, _WIDTHS[shape]), kind)
        if not sparse:
            return values
        changed = int(sparse["count"])
        if not 0 < changed <= count:
            raise MediaError(
                self.name, f"{changed} sparse values of {count}", f"1 to {count}", "export it anew"
            )
        where, what = sparse["indices"], sparse["values"]
        places = self._view(
            where, where["bufferView"], np.dtype(_COMPONENTS[where["componentType"]]), 1, changed
        )[:, 0].astype(np.int64)
        if not 0 <= places.min() <= places.max() < count:
            raise MediaError(self.name, f"sparse index {places.max()}", f"0 to {count - 1}", "export it anew")
        values = values.copy()
        values[places] = self._view(what, what["bufferView"], kind, _WIDTHS[shape], changed)
        return values

    def _view(
        self,
        part: Mapping[str, Any],
        number: int,
        kind: np.dtype[Any],
        width: int,
        count: int,
        strided: bool = False,
    ) -> NDArray[Any]:
        """``[count, width]`` out of buffer view ``number``, from the offset that ``part`` gives."""
        view = self.document["bufferViews"][number]
        self.compressed(view)
        if view.get("buffer", 0) != 0 or "uri" in self.document["buffers"][0]:
            raise MediaError(
                self.name, "geometry outside the file", "a self-contained GLB", "export it as one file"
            )
        size = kind.itemsize * width
        stride = (int(view.get("byteStride", 0)) if strided else 0) or size
        begin, inside = int(view.get("byteOffset", 0)), int(part.get("byteOffset", 0))
        if begin < 0 or inside < 0 or stride < size:
            raise MediaError(
                self.name, f"an accessor at {begin + inside} by {stride}", "sound numbers", "export it anew"
            )
        end = min(begin + int(view.get("byteLength", len(self.binary))), len(self.binary))
        if begin + inside + stride * (count - 1) + size > end:
            raise MediaError(
                self.name,
                f"{max(end - begin, 0)} bytes of geometry",
                "as many as its accessors span",
                "export it anew",
            )
        return np.ndarray((count, width), kind, self.binary, begin + inside, (stride, kind.itemsize))
