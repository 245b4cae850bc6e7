"""The paper's claims, measured in worlds small enough to work the numbers out by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.evaluation.claims.agreement import disagreements, row_count
from imagebind_llm.evaluation.claims.base import base_of
from imagebind_llm.evaluation.claims.cost import Timing, condition_cost, in_turn, prompt_tokens, summary
from imagebind_llm.evaluation.claims.document import Document, Figure, Section, Table, html, markdown, write
from imagebind_llm.evaluation.claims.mixtures import Point, crossing, curve, mixed, outcome
from imagebind_llm.evaluation.claims.perplexity import Text, surprises
from imagebind_llm.evaluation.claims.perplexity import summary as text_summary


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"seven"}, "first"),
        ({"cat"}, "second"),
        ({"cat", "seven"}, "both"),
        (set(), "other"),
        ({"dog"}, "other"),
        ({"cat", "seven", "dog"}, "other"),
    ],
)
def test_an_answer_names_the_first_the_second_both_or_something_else(said, expected) -> None:
    assert outcome(said, "seven", "cat") == expected


def test_media_are_mixed_as_a_request_mixes_them() -> None:
    first, second = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[0.0, 1.0], [0.6, 0.8]])
    found = mixed(first, second, 0.25)
    assert found.tolist() == pytest.approx(np.array([[0.75, 0.25], [0.6, 0.8]]) / (1 + 1e-6), rel=1e-6)
    assert mixed(first, second, 0.0).tolist()[0] == pytest.approx([1, 0], abs=2e-6)


def seen_above(threshold: float):
    """Names the things, one an axis, that are more than ``threshold`` of the condition."""

    def ask(conditions: Tensor) -> list:
        return [outcome({i for i in (0, 1) if row[i] > threshold}, 0, 1) for row in conditions]

    return ask


def test_a_curve_counts_what_is_named_at_each_weight() -> None:
    axes = torch.eye(2)
    points = curve(axes[[0, 0, 0]], axes[[1, 1, 1]], seen_above(0.25))
    assert [point.weight for point in points] == pytest.approx([0.1 * i for i in range(11)])
    named = ["first"] * 3 + ["both"] * 5 + ["second"] * 3
    assert [max(point.counts, key=point.counts.get) for point in points] == named
    row = points[0].to_dict()
    assert (row["n"], row["first"]["correct"], row["both"]["correct"]) == (3, 3, 0)
    assert row["first"]["low"] == pytest.approx(1 / (1 + 1.959964**2 / 3), abs=1e-5)  # Wilson, all of three
    assert row["other"]["low"] == 0.0
    with pytest.raises(UserError, match="0 and 0 things to mix"):
        curve(axes[:0], axes[:0], seen_above(0))
    with pytest.raises(UserError, match="1 and 2 things"):
        curve(axes[:1], axes, seen_above(0))


def test_the_two_things_cross_where_their_shares_meet() -> None:
    def at(weight: float, first: int, second: int) -> Point:
        return Point.of(weight, ["first"] * first + ["second"] * second + ["other"] * (4 - first - second))

    assert crossing([at(0, 4, 0), at(0.4, 3, 0), at(0.6, 1, 2), at(1, 0, 4)]) == pytest.approx(0.55)
    assert crossing([at(0, 4, 0), at(0.5, 2, 2), at(1, 0, 4)]) == pytest.approx(0.5)
    assert crossing([at(0, 4, 0), at(1, 3, 1)]) is None


class Foreteller:
    """Gives each next token the chances of a table, whatever came before; sees nothing."""

    device = torch.device("cpu")

    def __init__(self, chances: list[float], context: int | None = None) -> None:
        self._logits = torch.tensor(chances).log()
        text = SimpleNamespace(max_position_embeddings=context)
        self.config = SimpleNamespace(get_text_config=lambda: text)

    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self._logits.expand(*input_ids.shape, -1))


def test_perplexity_and_bits_by_hand() -> None:
    model = Foreteller([0.5, 0.25, 0.125, 0.125])
    texts = [
        Text((3, 0, 1, 2), (False, True, True, True), 3),  # 1 + 2 + 3 bits in 3 tokens, of 3 bytes
        Text((0, 1, 1), (False, False, True), 1),  # 2 bits in 1 token, of 1 byte
    ]
    nats = surprises(model, texts)
    assert (nats / math.log(2)).tolist() == pytest.approx([6, 2])
    found = text_summary(texts, nats)
    assert (found["texts"], found["tokens"]) == (2, 4)
    assert found["perplexity"]["value"] == pytest.approx(2 ** (8 / 4))
    assert found["bits"]["value"] == pytest.approx(8 / 4)
    even = surprises(Foreteller([0.25] * 4), texts)
    assert text_summary(texts, even)["perplexity"] == {"value": 4.0, "low": None, "high": None}


def test_texts_that_cannot_be_measured_are_refused() -> None:
    text = Text((0, 1, 1), (False, False, True), 1)
    with pytest.raises(UserError, match="3 tokens; the model's context is 2"):
        surprises(Foreteller([0.5, 0.5], context=2), [text])
    with pytest.raises(UserError, match="without a token to foretell"):
        surprises(Foreteller([0.5, 0.5]), [Text((0,), (False,), 0)])


def test_a_text_is_as_surprising_alone_as_among_others_and_as_transformers_says(bot) -> None:
    tokenizer = bot.processor.tokenizer
    texts = [Text.plain(words, tokenizer) for words in ("A dog.", "Two cats run over the road.", "七")]
    assert texts[2].ids[0] == tokenizer.bos_token_id
    assert (texts[2].counted, texts[2].size) == ((False, True, True, True), 3)
    together = surprises(bot.model, texts)
    assert together == pytest.approx([surprises(bot.model, [text])[0] for text in texts], rel=1e-4)
    ids = torch.tensor([texts[0].ids])
    loss = bot.model(input_ids=ids, labels=ids).loss.item()
    assert together[0] == pytest.approx(loss * (len(texts[0].ids) - 1), rel=1e-4)


def test_only_answers_or_all_that_is_said_counts(bot) -> None:
    from imagebind_llm.model.dialog import build_dialog

    said = [{"role": "user", "content": "猫?"}, {"role": "assistant", "content": "Yes."}]
    dialog = build_dialog(said, bot.processor.tokenizer)
    answers, whole = Text.answers(dialog, ["Yes."]), Text.whole(dialog, ["猫?", "Yes."])
    assert (answers.size, whole.size) == (4, 8)
    assert sum(answers.counted) == 5  # four letters and the end
    assert sum(whole.counted) == len(whole.ids) - 1
    assert surprises(bot.model, [answers])[0] < surprises(bot.model, [whole])[0]


def test_without_a_condition_and_with_closed_gates_it_is_the_same_model(bot) -> None:
    """What the arm without injection stands on: leaving the condition out switches the injection off."""
    texts = [Text.plain("A dog and a cat.", bot.processor.tokenizer)]
    condition = torch.nn.functional.normalize(torch.ones(1, 28), dim=1)
    plain, seeing = surprises(bot.model, texts), surprises(bot.model, texts, condition)
    assert abs(plain[0] - seeing[0]) > 1e-3
    gates = [p for name, p in bot.model.injection.named_parameters() if "gate" in name]
    before = [gate.detach().clone() for gate in gates]
    try:
        with torch.no_grad():
            for gate in gates:
                gate.zero_()
        assert surprises(bot.model, texts, condition)[0] == plain[0]
    finally:
        with torch.no_grad():
            for gate, values in zip(gates, before, strict=True):
                gate.copy_(values)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A language model's folder, and that of a whole model made from it with everything tuned."""
    from support.tiny_model import write_tiny_model

    from imagebind_llm import ImageBindLLMForConditionalGeneration
    from imagebind_llm.model.adaptation import add_biases, add_lora, tune_norms, tuned_parameters

    folder = tmp_path_factory.mktemp("pair")
    whole = ImageBindLLMForConditionalGeneration.from_pretrained(write_tiny_model(folder / "start", seed=3))
    whole.language_model.save_pretrained(folder / "language")
    torch.manual_seed(5)
    add_lora(whole, rank=2)
    add_biases(whole)
    tune_norms(whole)
    with torch.no_grad():
        for parameter in tuned_parameters(whole).values():
            parameter.add_(0.3 * torch.randn_like(parameter))
    whole.save_pretrained(folder / "tuned")
    return folder


def logits(model, ids) -> Tensor:
    with torch.no_grad():
        return model(input_ids=ids).logits


def test_the_base_is_the_language_model_that_is_given(pair) -> None:
    from transformers import AutoModelForCausalLM

    from imagebind_llm import ImageBindLLMForConditionalGeneration

    model = ImageBindLLMForConditionalGeneration.from_pretrained(pair / "tuned")
    real = AutoModelForCausalLM.from_pretrained(pair / "language").eval()
    ids = torch.arange(6)[None]
    given = base_of(model, pair / "tuned", pair / "language")
    assert given.exact
    assert torch.equal(logits(given.model, ids), logits(real, ids))
    found = base_of(model, pair / "tuned")
    assert not found.exact
    assert "its norms are the tuned ones" in found.says
    assert not torch.allclose(logits(found.model, ids), logits(real, ids), atol=1e-3)
    with torch.no_grad():  # but for the norms it is the same
        for name, parameter in found.model.named_parameters():
            if "norm" in name:
                parameter.copy_(real.get_parameter(name))
    assert torch.equal(logits(found.model, ids), logits(real, ids))
    assert not torch.allclose(logits(model, ids), logits(real, ids), atol=1e-3)


def test_a_base_of_another_model_is_refused_and_one_that_is_not_there_is_said(
    pair, bot, tiny_model_folder
) -> None:
    with pytest.raises(CheckpointError, match=r"has the fingerprint .*, and the model was made from"):
        base_of(bot.model, tiny_model_folder, pair / "language")
    found = base_of(bot.model, tiny_model_folder)
    assert found.model is None
    assert found.says.startswith("There is no base to compare with")


def test_steps_are_timed_in_turn_and_compared_round_by_round() -> None:
    now, order = [0.0], []

    def step(name: str, *seconds: float):
        left = list(seconds)

        def run() -> None:
            order.append(name)
            now[0] += left.pop(0)

        return run

    steps = {"quick": step("quick", 9, 0.001, 0.002, 0.003), "slow": step("slow", 9, 0.005, 0.004, 0.013)}
    found = in_turn(steps, rounds=3, clock=lambda: now[0])
    assert order == ["quick", "slow", "slow", "quick", "quick", "slow", "slow", "quick"]
    assert found["quick"] == pytest.approx([1, 2, 3])
    assert found["slow"] == pytest.approx([5, 4, 13])
    values = summary(found, {"more": ("quick", "slow")})
    assert values["steps"]["slow"] == {"median": 5.0, "low": 4.5, "high": 9.0, "rounds": 3}
    assert values["differences"]["more"]["median"] == 4.0  # of 4, 2 and 10
    assert Timing.of([1, 2, 3, 4]).median == 2.5


def test_a_condition_costs_no_tokens(bot, tiny_cache_folder) -> None:
    from imagebind_llm import Assistant
    from imagebind_llm.common.modality import Modality

    tokens = prompt_tokens(bot, "What is this?")
    assert tokens["with"] == tokens["without"] > len("What is this?")
    seeing = Assistant(bot.model, bot.processor, tiny_cache_folder)
    found = condition_cost(seeing, "What is this?", {Modality.IMAGE: torch.zeros(3, 32, 32)}, rounds=2)
    assert found["tokens"] == tokens
    assert list(found["steps"]) == [
        "encode image", "cache", "bind and gates", "prompt without", "prompt with", "answer without",
        "answer with",
    ]  # fmt: skip
    assert all(timing["median"] > 0 and timing["rounds"] == 2 for timing in found["steps"].values())
    assert found["steps"]["answer with"]["median"] > found["steps"]["prompt with"]["median"]


CARD = "# Card\n\n## Results\n\n| sense | n | right |\n|---|---|---|\n| cat | 9 | 50.0 |\n| dog | 9 | 1.0 |\n"


def test_documents_disagree_row_by_row() -> None:
    assert disagreements(CARD, CARD) == []
    assert row_count(CARD) == 2
    now = CARD.replace("50.0", "50.1").replace("| dog |", "| fox |")
    assert [str(row) for row in disagreements(CARD, now)] == [
        "Results, cat: 9 · 50.0 → 9 · 50.1",
        "Results, dog: 9 · 1.0 → no such row",
        "Results, fox: no such row → 9 · 1.0",
    ]
    twice = "## A\n| x | y |\n|---|---|\n| a | 1 |\n\n| x | y |\n|---|---|\n| a | 2 |\n"
    assert [row.row for row in disagreements(twice, twice.replace("2", "3"))] == ["a (2)"]


def test_a_report_is_one_page_that_needs_nothing_else(tmp_path) -> None:
    picture = Figure("curve", b"\x89PNG not really", "what <is> named")
    document = Document(
        "Claims & more",
        ["All **good**, see `a<b`."],
        [Section("Mixtures", [picture, Table(["a", "b"], [["x<y", 1]])])],
    )
    write(document, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page == html(document)
    assert "<strong>good</strong>" in page
    assert "<code>a&lt;b</code>" in page
    assert "Claims &amp; more" in page
    assert "<td>x&lt;y</td>" in page
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page
    assert "<script" not in page
    assert (tmp_path / "curve.png").read_bytes() == picture.png
    text = (tmp_path / "report.md").read_text()
    assert text == markdown(document)
    assert "| x<y | 1 |" in text
    assert "![what <is> named](curve.png)" in text


def test_drawings_repeat_byte_by_byte() -> None:
    pytest.importorskip("matplotlib")
    from imagebind_llm.evaluation.claims.plots import draw_curves, draw_maps

    axes = torch.eye(2)
    points = [point.to_dict() for point in curve(axes[:1], axes[1:], seen_above(0.25))]
    curves = {"both": {"first": "picture", "second": "sound", "points": points}}
    maps = {"off": [("digits", np.eye(2)), ("sounds", -np.eye(2))]}
    for draw, values in ((draw_curves, curves), (draw_maps, maps)):
        first = draw(values)
        assert first.startswith(b"\x89PNG")
        assert first == draw(values)
