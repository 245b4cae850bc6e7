"""The token engine: what a row gets depends on no other row, whatever joins, leaves, fails or waits."""

import os
import signal
import sys
import threading

import pytest
import torch
from support.tiny import conditions, language_model, make_model, open_gates

from imagebind_llm import UserError
from imagebind_llm.inference.driver import Driver
from imagebind_llm.inference.engine import Engine, TokenRequest
from imagebind_llm.inference.sampler import Choice, Sampler, Sampling
from imagebind_llm.model.adaptation import add_lora
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

WINDOWED = {"mistral": 4, "gemma2": 4, "gemma3_text": 4, "phi3": 4}
"""Families with sliding windows, shorter than the prompts here."""


def model_of(kind="llama", style="residual", **changes):
    if not changes:
        return open_gates(make_model(kind, style))
    base = language_model(kind, **changes)
    config = ImageBindLLMConfig(text_config=base.config, embedding_dim=28)
    return open_gates(ImageBindLLMForConditionalGeneration(config, language_model=base).eval())


@pytest.fixture(scope="module")
def model():
    return model_of()


def prompt(length, seed):
    return torch.randint(3, 50, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def request(number, length, new=10, **sampling):
    """Every third without a condition; the others see one of two, the first tokens none."""
    ids = prompt(length, number)
    settings = Sampling(max_new_tokens=new, **sampling)
    if number % 3 == 2:
        return TokenRequest(ids, sampling=settings)
    seen = [-1, *[number % 2] * (length - 1)]
    return TokenRequest(ids, seen, conditions(2, seed=number), settings)


def generated(model, own):
    """What transformers' ``generate`` writes for the request alone, greedily."""
    inputs = {} if own.conditions is None else {
        "conditions": own.conditions, "condition_ids": torch.tensor([own.condition_ids])
    }  # fmt: skip
    ids = torch.tensor([own.input_ids])
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=own.sampling.max_new_tokens,
        do_sample=False, eos_token_id=None, **inputs,
    )  # fmt: skip
    return out[0, ids.shape[1] :].tolist()


def alone(model, own, **settings):
    (found,) = Driver(Engine(model, **settings)).complete([own])
    return found.ids


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "qwen3", *WINDOWED])
def test_rows_are_what_generate_writes_for_each_alone(kind):
    window = {"sliding_window": WINDOWED[kind]} if kind in WINDOWED else {}
    rows_are_alone(model_of(kind, **window))


@pytest.mark.parametrize("kind", ["llama", "phi3", "gpt_neox"])
def test_rows_that_attend_to_several_vectors_are_alone(kind):
    rows_are_alone(model_of(kind, "tokens"))


@pytest.mark.parametrize("style", ["residual", "value", "tokens"])
def test_rows_without_a_condition_get_no_update_for_conditions(style):
    model = model_of("llama", style)
    add_lora(model, rank=3, scale=2.0, tokens="conditioned")
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in sorted(model.language_model.named_parameters()):
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    rows_are_alone(model)


def rows_are_alone(model):
    lengths = [9, 3, 14, 6, 1, 11, 5]
    requests = [request(i, length, new=6 + i) for i, length in enumerate(lengths)]
    expected = [generated(model, own) for own in requests]
    assert len({tuple(ids[:4]) for ids in expected}) > 1
    # three rows at a time: rows of other lengths join while some are written, and leave at other times
    engine = Engine(model, max_rows=3)
    found = Driver(engine).complete(requests)
    assert [completion.ids for completion in found] == expected
    assert [completion.finish_reason for completion in found] == ["length"] * len(requests)
    assert engine.idle


def test_sampled_rows_equal_themselves_alone(model):
    settings = [
        {"temperature": 0.0},
        {"temperature": 0.7, "top_p": 0.9, "seed": 1},
        {"temperature": 3.0, "top_p": 1.0, "seed": 2},
        {"temperature": 3.0, "top_p": 0.5, "seed": 2},
        {"temperature": 1.0, "top_p": 0.75, "seed": 3},
        {"temperature": 3.0, "top_p": 1.0, "seed": 4},
    ]
    requests = [request(0, 8, **setting) for setting in settings]
    expected = [alone(model, own) for own in requests]
    assert len({tuple(ids) for ids in expected}) > 3
    assert expected[0] == generated(model, requests[0])
    for rows in (6, 4, 2):
        for order in (range(6), [5, 3, 1, 4, 2, 0]):
            found = Driver(Engine(model, max_rows=rows)).complete([requests[i] for i in order])
            assert [completion.ids for completion in found] == [expected[i] for i in order]


def test_seeds_repeat_in_threads_and_in_interleaved_streams(model):
    requests = [request(i, 4 + i, temperature=2.0, seed=100 + i) for i in range(8)]
    expected = [alone(model, own) for own in requests]
    driver = Driver(Engine(model, max_rows=5))
    found: dict[tuple[int, int], list[int]] = {}

    def work(number):
        for turn in range(3):
            (completion,) = driver.complete([requests[number]])
            found[number, turn] = completion.ids

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {(number, turn): expected[number] for number in range(8) for turn in range(3)}

    streams = [driver.stream(own) for own in requests[:2]]
    ids: list[list[int]] = [[], []]
    for step in range(10):
        for number in (0, 1, 1, 0)[step % 2 :: 2]:
            ids[number].append(next(streams[number]).token)
    assert ids == expected[:2]


def test_others_random_numbers_are_not_touched(model):
    torch.manual_seed(5)
    before = torch.rand(2)
    torch.manual_seed(5)
    alone(model, request(0, 5, temperature=1.0, seed=1))
    assert torch.equal(torch.rand(2), before)


def test_without_a_seed_answers_follow_the_global_random_numbers(model):
    texts = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        texts.append(alone(model, request(0, 5, new=20, temperature=5.0)))
    assert texts[0] == texts[1] != texts[2]


def test_an_aborted_row_leaves_the_others_alone(model):
    requests = [request(i, 5 + i, new=12) for i in range(3)]
    expected = [generated(model, own) for own in requests]
    engine = Engine(model)
    numbers = [engine.add(own) for own in requests]
    found = {number: [] for number in numbers}
    for step in range(30):
        for event in engine.step():
            found[event.sequence].append(event.token)
        if step == 3:
            engine.abort(numbers[0])
    assert engine.idle
    assert found[numbers[0]] == expected[0][:4]
    assert [found[number] for number in numbers[1:]] == expected[1:]


def test_a_stream_that_is_closed_gives_its_row_back(model):
    engine = Engine(model)
    stream = Driver(engine).stream(request(0, 5, new=40))
    next(stream)
    assert not engine.idle
    stream.close()
    assert engine.idle


def test_end_tokens_end_a_row(model):
    ids = generated(model, request(0, 6, new=12))
    own = request(0, 6, new=12, end_tokens=frozenset({ids[4]}))
    (found,) = Driver(Engine(model)).complete([own])
    assert found.ids == ids[: ids.index(ids[4]) + 1]
    assert found.finish_reason == "stop"


def test_memory_for_rows_is_bounded(model):
    requests = [request(i, 10, new=10) for i in range(6)]
    engine = Engine(model, max_rows=6, max_tokens=45)  # room for two rows of 20
    seen = []
    real = model.forward

    def watched(*args, **kwargs):
        seen.append(len(kwargs["input_ids"]))
        return real(*args, **kwargs)

    model.forward = watched
    try:
        found = Driver(engine).complete(requests)
    finally:
        del model.forward
    assert max(seen) == 2
    assert [completion.ids for completion in found] == [generated(model, own) for own in requests]
    tight = Engine(model, max_tokens=4)  # less than one needs: it runs all the same, alone
    assert [c.ids for c in Driver(tight).complete(requests[:2])] == [c.ids for c in found[:2]]


def test_a_model_that_fails_on_one_prompt_fails_that_one_only(model, monkeypatch):
    requests = [request(i, 6 + i) for i in range(4)]
    expected = [generated(model, own) for own in requests]
    real, bad = model.forward, requests[1].input_ids[:6]

    def forward(*args, **kwargs):
        if any(row[-7:-1].tolist() == bad for row in kwargs["input_ids"]):
            raise MemoryError("no memory left: 17")
        return real(*args, **kwargs)

    monkeypatch.setattr(model, "forward", forward)
    engine = Engine(model)
    found = Driver(engine).complete(requests)
    assert isinstance(found[1], MemoryError)
    assert [found[i].ids for i in (0, 2, 3)] == [expected[i] for i in (0, 2, 3)]
    assert engine.idle


def test_after_a_failed_step_the_next_requests_are_answered(model, monkeypatch):
    own = request(0, 6)
    expected = generated(model, own)
    real, calls = model.forward, []

    def forward(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("the power is gone")
        return real(*args, **kwargs)

    monkeypatch.setattr(model, "forward", forward)
    driver = Driver(Engine(model))
    (failed,) = driver.complete([own])
    assert "power" in str(failed)
    (found,) = driver.complete([own])
    assert found.ids == expected


def test_an_interrupt_loses_nobody_else(model, monkeypatch):
    requests = [request(i, 6) for i in range(2)]
    expected = [generated(model, own) for own in requests]
    engine = Engine(model)
    numbers = [engine.add(own) for own in requests]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.step()
    found = {number: [] for number in numbers}
    while not engine.idle:
        for event in engine.step():
            found[event.sequence].append(event.token)
    assert list(found.values()) == expected


def test_what_does_not_fit_is_refused(model):
    engine = Engine(model)
    with pytest.raises(UserError, match="64 tokens and the model's context is 64"):
        engine.add(TokenRequest(prompt(64, 1)))
    with pytest.raises(UserError, match="no token"):
        engine.add(TokenRequest([]))
    with pytest.raises(UserError, match="3 condition ids from 0 to 2 for 3 tokens and 2 conditions"):
        engine.add(TokenRequest([3, 4, 5], [0, 1, 2], conditions(2)))
    with pytest.raises(UserError, match="2 condition ids"):
        engine.add(TokenRequest([3, 4, 5], [0, 1], conditions(2)))
    assert engine.idle
    (found,) = Driver(engine).complete([TokenRequest(prompt(60, 1), sampling=Sampling(max_new_tokens=500))])
    assert len(found.ids) == 4


@pytest.mark.parametrize("style", ["residual", "tokens"])
def test_a_remembered_beginning_is_not_read_again(style):
    model = model_of(style=style)
    first = prompt(20, 1)
    seen = [0] * 12 + [1] * 8
    both = conditions(2, seed=4)

    def ask(engine, ids, seen, given):
        before = engine.prefilled
        own = TokenRequest(ids, seen, given, Sampling(max_new_tokens=5), reuse=True)
        (found,) = Driver(engine).complete([own])
        return found.ids, engine.prefilled - before

    engine = Engine(model)
    answer, read = ask(engine, first, seen, both)
    assert read == 20
    longer = [*first, *answer, *prompt(6, 2)]
    sees = [*seen, *[1] * 11]
    fresh, _ = ask(Engine(model), longer, sees, both)
    assert ask(engine, longer, sees, both) == (fresh, 31 - 24)  # the last new token had not been read

    # the same words about another picture, from the token on that sees it
    other = torch.stack([both[0], conditions(1, seed=9)[0]])
    fresh, _ = ask(Engine(model), longer, sees, other)
    assert ask(engine, longer, sees, other) == (fresh, 31 - 12)
    # the same picture under another number is the same
    swapped = [1 - number for number in sees]
    assert ask(engine, longer, swapped, both.flip(0))[1] == 1
    # nothing in common
    assert ask(engine, prompt(9, 5), [-1] * 9, None)[1] == 9


def test_remembered_beginnings_are_bounded(model):
    engine = Engine(model, remembered_tokens=30)
    own = [TokenRequest(prompt(15, i), sampling=Sampling(max_new_tokens=4), reuse=True) for i in range(3)]
    driver = Driver(engine)
    for one in own:
        driver.complete([one])
    before = engine.prefilled
    driver.complete([own[2]])
    assert engine.prefilled - before == 1
    driver.complete([own[0]])
    assert engine.prefilled - before == 1 + 15


def choices(*samplings):
    return [Choice.start(sampling, [3, 4, 3]) for sampling in samplings]


def test_top_p_and_temperature_give_the_right_shares():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 1.5])
    rows = choices(*[Sampling(temperature=0.8, top_p=0.8, seed=seed) for seed in range(4000)])
    found = torch.tensor(Sampler()(logits.expand(4000, 5), rows))
    shares = torch.softmax(logits / 0.8, -1)
    kept = torch.tensor([True, True, False, False, True])  # 0.506 + 0.271 < 0.8 <= 0.506 + 0.271 + 0.145
    expected = torch.where(kept, shares, 0) / shares[kept].sum()
    measured = torch.bincount(found, minlength=5) / 4000
    assert torch.allclose(measured, expected, atol=0.03)
    assert set(Sampler()(logits.expand(50, 5), choices(*[Sampling(1, 1e-6, 1.0, i) for i in range(50)]))) == {
        0
    }
    assert set(Sampler()(logits.expand(50, 5), choices(*[Sampling(1, 9.0, 1e-9, i) for i in range(50)]))) == {
        0
    }


def test_flat_distributions_are_sampled_from_all_tokens():
    rows = choices(*[Sampling(temperature=1e300, top_p=0.999, seed=seed) for seed in range(300)])
    found = Sampler()(torch.randn(3000).expand(300, 3000), rows)
    assert len(set(found)) > 250


def test_the_models_own_penalties_are_applied():
    from transformers import GenerationConfig

    logits = torch.tensor([[0.0, 0, 0, 5, 4.9, 4.8, 0, 0]])
    plain, penalty = GenerationConfig(), GenerationConfig(repetition_penalty=1.5)
    rows = choices(Sampling())
    assert Sampler(plain)(logits, rows) == [3]
    assert Sampler(penalty)(logits, rows) == [5]  # 3 and 4 have been said
    assert Sampler(GenerationConfig(suppress_tokens=[3]))(logits, rows) == [4]


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal: a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("settings", [{}, {"temperature": 2.0, "seed": 5}], ids=["greedy", "sampled"])
def test_ctrl_c_in_one_caller_harms_no_other(model, settings, monkeypatch):
    """The signal comes in the middle of a step that one caller makes for all."""
    mine, other = request(1, 9, new=12, **settings), request(2, 5, new=12)
    expected = alone(model, mine)
    for moment in (1, 2, 4):  # in the other's prefill, and in steps that write a token of both
        driver = Driver(Engine(model))
        stream = driver.stream(mine)
        found = [next(stream).token, next(stream).token]
        real, calls = model.forward, iter(range(100))

        def forward(*args, moment=moment, real=real, calls=calls, **kwargs):
            if next(calls) + 1 == moment:
                os.kill(os.getpid(), signal.SIGINT)
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(model, "forward", forward)
            with pytest.raises(KeyboardInterrupt):
                driver.complete([other])
        found += [event.token for event in stream]
        assert found == expected
        assert driver.complete([other])[0].ids == alone(model, other)  # the driver goes on
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_callers_that_add_and_leave_while_another_steps(model):
    driver = Driver(Engine(model, max_rows=4))
    errors = []

    def leaving():
        try:
            for number in range(40):
                stream = driver.stream(request(number, 3, new=4))
                next(stream)
                stream.close()
        except Exception as error:
            errors.append(error)

    def staying():
        try:
            driver.complete([request(number, 3, new=2) for number in range(60)])
        except Exception as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for work in (leaving, staying) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    assert driver.engine.idle


def test_what_is_not_a_number_stays_with_its_own_request(model):
    late = TokenRequest([7, 8, 9], sampling=Sampling(max_new_tokens=8))
    other = TokenRequest(list(range(3, 44)), sampling=Sampling(max_new_tokens=15))
    broken = TokenRequest(list(range(3, 40)), [0] * 37, conditions(1) * float("nan"))
    engine = Engine(model)
    first, second = engine.add(other), engine.add(broken)
    found: dict[int, list] = {}
    third = None
    while not engine.idle:
        for event in engine.step():
            found.setdefault(event.sequence, []).append(event.error or event.token)
        if third is None and len(found[first]) == 5:
            third = engine.add(late)
    assert found[first] == alone(model, other)
    assert found[third] == alone(model, late)
    assert "not numbers" in str(found[second][-1])
