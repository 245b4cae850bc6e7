"""How many parameters a model has: the same number wherever it is told, and as its files hold."""

import re
from pathlib import Path

import pytest
from safetensors import safe_open

from imagebind_llm.checkpoints.card import _facts
from imagebind_llm.checkpoints.doctor import diagnose
from imagebind_llm.checkpoints.export import export
from imagebind_llm.checkpoints.summary import summary
from imagebind_llm.common.locate import nano_folder
from imagebind_llm.evaluation.provenance import model_facts
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model


def in_files(folder: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no dict
                part = name.partition(".")[0]
                counts[part] = counts.get(part, 0) + opened.get_tensor(name).numel()
    return counts | {"total": sum(counts.values())}


def numbers(text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)]


@pytest.mark.parametrize("which", ["nano", "tiny"])
def test_info_doctor_card_and_evaluation_tell_the_same(which, tiny_model_folder):
    folder = nano_folder() if which == "nano" else tiny_model_folder
    counts = in_files(folder)
    assert summary(folder)["parameters"] == counts
    assert diagnose(str(folder), fingerprints=False, self_test=False).facts["parameters"] == counts
    if which == "nano":
        card = (Path(__file__).parents[2] / "MODEL_CARD.md").read_text(encoding="utf-8")
        shown = re.search(r"^\| parameters \| (.*) \|$", card, re.MULTILINE)
        assert sorted(numbers(shown[1])) == sorted(counts.values())
        return
    assert model_facts(Assistant.from_pretrained(folder, cache=False), "x", folder)["parameters"] == counts
    row = numbers(_facts(Model.from_pretrained(folder), "full", None, None)["parameters"])
    assert row[0] == counts["total"]
    assert sorted(row[1:]) == sorted(count for part, count in counts.items() if part != "total")


def test_an_adapter_s_own_numbers_are_not_called_the_model_s(tmp_path):
    export("nano", tmp_path / "adapter", "adapter")
    facts = summary(tmp_path / "adapter")
    assert "parameters" not in facts
    assert facts["adapter_parameters"] == in_files(tmp_path / "adapter")
