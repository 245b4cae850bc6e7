"""PyTorch files whose pickle is short, and takes for ever."""

import io
import pickle
import zipfile

import pytest
import torch

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.pickles import refuse_bombs


def doubled(times: int, width: int = 2) -> object:
    """A value that holds one value several times, and so on."""
    value: object = ("x",)
    for _ in range(times):
        value = (value,) * width
    return value


def pickled(protocol: int, value: bytes) -> bytes:
    """``{value: 1}``, which pickling cannot make of a value that is never hashed."""
    body = value[2:-1] if protocol < 4 else value[11:-1]
    return b"\x80" + bytes([protocol]) + b"}" + body + b"K\x01s."


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize(("times", "width"), [(60, 2), (60, 3), (8, 100), (5000, 1)])
@pytest.mark.parametrize("zipped", [True, False])
def test_keys_of_nested_tuples_are_refused(tmp_path, protocol, times, width, zipped):
    if times > 1000:
        data = b"\x80\x02})" + b"\x85" * times + b"K\x01s."
    else:
        data = pickled(protocol, pickle.dumps(doubled(times, width), protocol))
    file = tmp_path / "x.pth"
    if zipped:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x/data.pkl", data)
    else:
        file.write_bytes(data)
    with pytest.raises(CheckpointError, match="a pickle of values nested in each other") as caught:
        refuse_bombs(file, zipped)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("new", [True, False])
def test_what_torch_writes_passes(tmp_path, new):
    model = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16), 12)
    optimizer = torch.optim.Adam(model.parameters())
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    values = {
        "model": model.state_dict(), "parameters": dict(model.named_parameters()),
        "optimizer": optimizer.state_dict(), "shapes": {(1, (2, (3, 4))): "x"}, "list": [[[(1, 2)]]] * 50,
    }  # fmt: skip
    buffer = io.BytesIO()
    torch.save(values, buffer, _use_new_zipfile_serialization=new)
    (tmp_path / "x.pth").write_bytes(buffer.getvalue())
    refuse_bombs(tmp_path / "x.pth", new)
