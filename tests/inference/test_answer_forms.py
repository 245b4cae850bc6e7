"""Answers of a given form: whatever the model would rather write, what it writes is valid for its schema."""

import json
import pickle
import random

import pytest
import torch
from support.tiny import make_model

from imagebind_llm import Assistant, UserError
from imagebind_llm.inference.driver import Driver
from imagebind_llm.inference.engine import Engine, TokenRequest
from imagebind_llm.inference.grammar import Grammar, Vocabulary, grammar_for
from imagebind_llm.inference.request import Options
from imagebind_llm.inference.response_format import Form, read_form
from imagebind_llm.inference.sampler import Sampling

jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("llguidance")

SCHEMAS = [
    {
        "type": "object",
        "properties": {
            "name": {"enum": ["cat", "dog", "bird"]},
            "age": {"type": "integer", "minimum": 0, "maximum": 99},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    {
        "type": "object",
        "properties": {"note": {"type": "string", "maxLength": 12}, "tags": {"type": "null"}},
        "required": ["note"],
        "additionalProperties": False,
    },
    {"anyOf": [{"type": "string", "pattern": "^[a-c]{2,4}$"}, {"const": {"x": [1, 2.5]}}]},
    {"type": "number", "minimum": -2, "maximum": 2, "multipleOf": 0.5},
]


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def tokenizer(bot):
    return bot.processor.tokenizer


def asked(schema):
    return {"type": "json_schema", "json_schema": {"name": "given", "schema": schema}}


def compiled(bot, schema):
    return grammar_for(
        Form("schema", json.dumps(schema)),
        bot.processor.tokenizer,
        bot.model.config.text_config.vocab_size,
        bot.pipeline.end_tokens,
    )


def random_answer(grammar, tokenizer, seed, most=400):
    """What a model without any opinion writes."""
    draw, mask, ids = random.Random(seed), grammar.start(), []
    for _ in range(most):
        allowed = mask.allowed().nonzero()[:, 0].tolist()
        assert allowed, mask.problem
        token = draw.choice(allowed)
        mask.accept(token)
        if token == tokenizer.eos_token_id:
            assert mask.problem is None
            return tokenizer.decode(ids)
        ids.append(token)
    return None


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_random_tokens_become_valid_json(bot, tokenizer, schema):
    found = {random_answer(compiled(bot, schema), tokenizer, seed) for seed in range(25)}
    assert len(found) > 1, "the mask leaves a choice"
    for text in found - {None}:
        jsonschema.validate(json.loads(text), schema)


def test_the_answer_to_a_question_has_the_form(bot):
    for seed in range(3):
        answer = bot.ask(
            "What is this?",
            text="a dog",
            temperature=1.5,
            top_p=1.0,
            seed=seed,
            response_format=asked(SCHEMAS[0]),
        )
        assert answer.finish_reason == "stop"
        jsonschema.validate(json.loads(answer.text), SCHEMAS[0])


def test_an_answer_that_is_cut_says_so(bot):
    answer = bot.ask("What is this?", text="a dog", max_new_tokens=3, response_format=asked(SCHEMAS[0]))
    assert answer.finish_reason == "length"
    assert answer.text.startswith("{")


def test_rows_of_other_schemas_and_free_rows_are_what_each_gets_alone(bot, tokenizer):
    ids = tokenizer("<|bos|><|user|>What is this?<|end|><|assistant|>")["input_ids"]
    ends = bot.pipeline.end_tokens
    sampling = [
        Sampling(60, 1.2, 1.0, seed, ends, constraint=None if schema is None else compiled(bot, schema))
        for seed, schema in enumerate([*SCHEMAS, None, SCHEMAS[0]])
    ]
    requests = [TokenRequest(ids, sampling=own) for own in sampling]
    engine = Engine(bot.model, max_rows=3)
    together = [found.ids for found in Driver(engine).complete(requests)]
    alone = [found.ids for own in requests for found in Driver(Engine(bot.model)).complete([own])]
    assert together == alone
    for found, schema in zip(together, [*SCHEMAS, None, SCHEMAS[0]], strict=True):
        if schema is not None and found[-1] in ends:
            jsonschema.validate(json.loads(tokenizer.decode(found[:-1])), schema)
    free, (first, last) = together[5], (together[0], together[6])
    assert sum(ids[-1] in ends for ids in together) >= 5
    assert first != last, "two rows of one schema with seeds of their own"
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(tokenizer.decode(free))


def test_every_sign_of_json_and_any_character_can_be_spelled(bot, tokenizer):
    text = "".join(map(chr, range(32, 127))) + "é零😀\n\u2028"
    form = {"const": {text: [text, -1.5e-7, True, False, None]}}
    assert json.loads(random_answer(compiled(bot, form), tokenizer, 0, 2000)) == form["const"]


def test_a_grammar_survives_a_copy_to_another_process(bot, tokenizer):
    grammar = compiled(bot, SCHEMAS[1])
    copy = pickle.loads(pickle.dumps(grammar))
    assert random_answer(copy, tokenizer, 3) == random_answer(grammar, tokenizer, 3)


def test_a_lark_grammar(bot):
    form = {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "it is " ("a" | "b") "!"'}}
    assert bot.ask("What is this?", text="a dog", response_format=form).text in ("it is a!", "it is b!")


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"type": "xml"}, "expected an object with a 'type'"),
        ("json_object", "expected an object with a 'type'"),
        ({"type": "json_schema"}, "json_schema is None"),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, "schema is None"),
        ({"type": "json_schema", "json_schema": {"schema": {}, "scheme": {}}}, "did you mean 'schema'"),
        ({"type": "json_object", "json_schema": {}}, "unknown key"),
        (asked({"enum": [float("nan")]}), "is no JSON"),
        (asked({"enum": ["x" * 200_000]}), "200,014 characters"),
    ],
)
def test_a_malformed_form_is_refused_before_anything_is_read(form, says):
    with pytest.raises(UserError, match=says):
        Options(response_format=form)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "word"}, "Invalid type: word"),
        ({"type": "string", "format": "colour"}, "Unknown format: colour"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable"),
        ({"$ref": "https://example.org/schema.json"}, "cannot be followed"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused(bot, schema, says):
    with pytest.raises(UserError, match=says) as error:
        bot.ask("What is this?", text="a dog", response_format=asked(schema))
    assert "\n" not in str(error.value)


def test_a_tokenizer_that_cannot_spell_json_is_refused():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "<s>": 1, "</s>": 2, "dog": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>")
    with pytest.raises(UserError, match="tokenizer"):
        grammar_for(Form("schema", "{}"), tokenizer, 4, {2})
    with pytest.raises(UserError, match="eos_token"):
        Vocabulary.of(tokenizer, 4, ())


def test_where_the_model_forbids_all_that_is_allowed_only_that_answer_ends(bot, tokenizer):
    """A generation configuration may forbid tokens; the rows beside go on."""

    class Mask:
        problem = None

        def allowed(self):
            return torch.zeros(50, dtype=torch.bool)

        def accept(self, token):
            raise AssertionError("nothing may be chosen")

    class Constraint:
        def start(self):
            return Mask()

    engine = Driver(Engine(make_model()))
    lost, found = engine.complete(
        [
            TokenRequest([3, 4], sampling=Sampling(5, constraint=Constraint())),
            TokenRequest([3, 4], sampling=Sampling(5)),
        ]
    )
    assert isinstance(lost, UserError)
    assert "no token can come next" in str(lost)
    assert len(found.ids) == 5


def test_nothing_is_asked_of_the_library_without_a_form(bot, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "llguidance", None)
    assert read_form({"type": "text"}) is None
    assert bot.ask("What is this?", text="a dog", response_format={"type": "text"}).text
    with pytest.raises(UserError, match=r"imagebind-llm\[tools\]"):
        Grammar(Form("schema", "{}"), Vocabulary("{}", 4, (2,)))
