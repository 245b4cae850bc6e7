"""Clouds and meshes as text: line ends, byte-order marks, names of columns, lines of OBJ that go on."""

# ruff: noqa: E501
import struct

import numpy as np
import pytest
from support.media_samples import npy

from imagebind_llm.common.modality import Modality
from imagebind_llm.media import Limits, MediaError, guess_modality
from imagebind_llm.media.arrays import read_table
from imagebind_llm.media.point import read_shape

POINTS = np.arange(30.0).reshape(10, 3) / 7 - 1
BOM = b"\xef\xbb\xbf"
TRIANGLES = [[0, 1, 2], [3, 4, 5], [6, 8, 9]]


def lines(rows, before="", separator=" ") -> list[str]:
    return [before + separator.join(map(repr, row)) for row in np.asarray(rows).tolist()]


FILES = {
    "a.xyz": lines(POINTS),
    "header.xyz": ["X Y Z", *lines(POINTS)],
    "a.pts": ["10", *lines(POINTS)],
    "a.csv": ["x,y,z", *lines(POINTS, separator=",")],
    "a.obj": [*lines(POINTS, "v "), *lines(np.array(TRIANGLES) + 1, "f ")],
    "a.off": ["OFF", "10 3 0", *lines(POINTS), *lines(TRIANGLES, "3 ")],
    "a.ply": ["ply", "format ascii 1.0", "comment B\u00c5R", "element vertex 10", "property double x",
              "property double y", "property double z", "element face 3",
              "property list uchar int vertex_indices", "end_header", *lines(POINTS), *lines(TRIANGLES, "3 ")],
    "a.pcd": ["# .PCD v0.7 - Point Cloud Data file format", "VERSION 0.7", "FIELDS x y z", "SIZE 4 4 4",
              "TYPE F F F", "COUNT 1 1 1", "WIDTH 10", "HEIGHT 1", "POINTS 10", "DATA ascii", *lines(POINTS)],
}  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("file", FILES)
def test_line_ends_and_marks(tmp_path, file, mark, end):
    data = mark + end.join([*FILES[file], ""]).encode()
    shape = read_shape(data, file, Limits())
    np.testing.assert_array_equal(shape.vertices, POINTS)
    if file in ("a.obj", "a.off", "a.ply"):
        assert shape.faces.tolist() == TRIANGLES
    (tmp_path / file).write_bytes(data)
    assert guess_modality(tmp_path / file) == Modality.POINT


def test_headers_whose_lines_end_differently():
    for file in ("a.ply", "a.pcd"):
        first, *others = FILES[file]
        data = f"{first}\r\n".encode() + "\n".join([*others, ""]).encode()
        np.testing.assert_array_equal(read_shape(data, file, Limits()).vertices, POINTS)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", [b"\n", b"\r", b"\x01"])
def test_a_binary_ply_begins_after_its_header_s_own_line_end(first, end):
    header = ["ply", "format binary_little_endian 1.0", "element vertex 2", "property uchar tag",
              "property float x", "property float y", "property float z", "end_header", ""]  # fmt: skip
    body = b"".join(first + struct.pack("<3f", *row) for row in POINTS[:2])
    shape = read_shape(end.join(header).encode() + body, "a.ply", Limits())
    np.testing.assert_array_equal(shape.vertices, POINTS[:2].astype(np.float32))


OBJ = b"# C:\\models\\\nv 0 0 0\nv 1 0 0 0.5 0.5 0.5\nv 1 1 \\\n  0\nv 0 1 0 1.0\nvt 0 0\nvn 0 0 1\n"


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        (b"f 1 2 3 4\n", [[0, 1, 2], [0, 2, 3]]),
        (b"f 1/1/1 2/1/1 \\\n 3//1 \\ \n 4/1\n", [[0, 1, 2], [0, 2, 3]]),
        (b"f -4 -3 \\\r\n-2\r\nf -4/-1 -2/-1/-1 -1//-1\n", [[0, 1, 2], [0, 2, 3]]),
        (b"f\\\n1 2 3 4", [[0, 1, 2], [0, 2, 3]]),
        (b"f 1 2 3\\\n 4", [[0, 1, 2], [0, 2, 3]]),
        (b"f 1 2 3\\", [[0, 1, 2]]),
        (b"usemtl C:\\\nf 1 2 3\nf 1 -2 4 # last\n", [[0, 1, 2], [0, 2, 3]]),
    ],
)
def test_obj_lines_that_go_on_and_numbers_from_the_end(faces, expected):
    shape = read_shape(OBJ + faces, "a.obj", Limits())
    assert shape.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert shape.faces.tolist() == expected


@pytest.mark.parametrize("faces", [b"f 0 1 2\n", b"f -5 1 2\n", b"f 1 2 5\n"])
def test_obj_corners_that_are_not_there(faces):
    with pytest.raises(MediaError, match="a face that names vertex"):
        read_shape(OBJ + faces, "a.obj", Limits())


def test_columns_of_a_cloud_by_name():
    table = np.column_stack([np.arange(10), POINTS[:, ::-1], np.ones(10)])
    for header in (
        "id,Z,Y,X,intensity",
        "# id,z,y,x,intensity",
        "//id z y x intensity",
        '"id";"z";"y";"x";"i"',
    ):
        separator = next((mark for mark in ",;" if mark in header), " ")
        data = "\n".join([header, *lines(table, separator=separator)]).encode()
        np.testing.assert_array_equal(read_shape(data, "a.csv", Limits()).vertices, POINTS)
    with pytest.raises(MediaError, match=r"an array of shape \(10, 5\)"):
        read_shape("\n".join(["a b c d e", *lines(table)]).encode(), "a.xyz", Limits())


def test_names_tell_a_cloud_from_a_recording(tmp_path):
    seven = np.column_stack([POINTS, np.ones((10, 4))])
    (tmp_path / "c.csv").write_text("\n".join(["x,y,z,i,r,g,b", *lines(seven, separator=",")]))
    assert guess_modality(tmp_path / "c.csv") == Modality.POINT
    (tmp_path / "t.csv").write_text("\n".join(["time,x,y,z", *lines(seven[:, :4], separator=",")]))
    with pytest.raises(MediaError, match="columns time, x, y, z, which could be several things"):
        guess_modality(tmp_path / "t.csv")
    (tmp_path / "n.npy").write_bytes(npy(POINTS))
    assert guess_modality(tmp_path / "n.npy") == Modality.POINT


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"1,5;2,5;3,5\n2,5;3,5;4,5\n", "commas within cells"),
        (b"x;y;z\r1,5;2,5;3,5\r", "commas within cells"),
        (b"1,5 2,5 3,5\n", "commas within cells"),
        (b"1,5\t2,5\t3,5\n", "commas within cells"),
        (b"1,,2,3\n4,,5,6\n", "an empty cell"),
        (b"1;;2;3\n", "an empty cell"),
        (b"1\t\t2\t3\n", "an empty cell"),
        ("1 2 3\n4 5 6\n".encode("utf-16"), "UTF-16 text; expected UTF-8"),
        ("1 2 3\n4 5 6\n".encode("utf-16-be"), "UTF-16 text; expected UTF-8"),
    ],
)
def test_numbers_that_would_be_read_as_others_are_refused(text, reason):
    with pytest.raises(MediaError, match=reason):
        read_table(text, "a.csv", Limits())


@pytest.mark.parametrize(
    "text",
    [b"1, 2, 3\n", b"1 ,2 ,3\n", b"1;\t2;\t3\n", b"1,2,3,\n", b"1  2\t 3\n", b"1,\t2,\t3\n", b" 1 2 3 \n"],
)
def test_usual_separators(text):
    assert read_table(text, "a.csv", Limits()).tolist() == [[1, 2, 3]]


def test_a_header_whose_names_hold_numbers():
    assert read_table(b"Point 1, Point 2\n1,2\n", "a.csv", Limits()).tolist() == [[1, 2]]
    assert read_table(b"1 2;\n3 4;\n", "a.csv", Limits()).tolist() == [[1, 2], [3, 4]]
