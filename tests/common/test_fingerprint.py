import pytest
import torch

from imagebind_llm.common.fingerprint import fingerprint_state_dict


def state():
    generator = torch.Generator().manual_seed(3)
    return {
        "b": torch.randn(3, 5, generator=generator).half().float(),
        "a": torch.arange(4),
        "scalar": torch.tensor(0.5),
    }


def test_is_stable_over_key_order_and_half_precision():
    one = state()
    other = {name: one[name].half() if one[name].is_floating_point() else one[name] for name in reversed(one)}
    assert fingerprint_state_dict(one) == fingerprint_state_dict(other)
    assert len(fingerprint_state_dict(one)) == 16


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(b=s["b"].T.contiguous()),
        lambda s: s["b"].view(-1)[7:8].add_(0.01),
        lambda s: s.update(c=s.pop("b")),
        lambda s: s.pop("a"),
    ],
)
def test_sees_every_kind_of_change(change):
    changed = state()
    change(changed)
    assert fingerprint_state_dict(changed) != fingerprint_state_dict(state())


def test_header_counts():
    assert fingerprint_state_dict(state(), "{}") != fingerprint_state_dict(state())


def test_meta_tensors_are_refused():
    with pytest.raises(ValueError, match="'weird'"):
        fingerprint_state_dict({"weird": torch.empty(2, device="meta")})
