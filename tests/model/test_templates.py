"""Chat templates: rendered as transformers does, and stopped where they take too long or grow too large."""

import resource
import time

import pytest
from support.token_layouts import LAYOUTS, Layout, make_tokenizer

from imagebind_llm.common.errors import UserError
from imagebind_llm.model.dialog import ALPACA_TEMPLATE, build_dialog, render_dialog
from imagebind_llm.model.templates import Budget, TemplateLimitError, names_read, render

MESSAGES = [
    {"role": "system", "content": " Be <b>brief</b>. "},
    {"role": "user", "content": "What's 'this' & \"that\"?\n{{ no }}"},
    {
        "role": "assistant",
        "content": "Ünïcode 🚀",
        "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
    },
    {"role": "tool", "content": "3", "name": "f", "tool_call_id": "1"},
    {"role": "user", "content": "and?"},
]  # fmt: skip
FEATURES = {
    "loops": (
        "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}{{ loop.index }}/"
        "{{ loop.length }}{{ loop.last }}{{ loop.cycle('a', 'b') }}{{ m.content }}"
        "{% if loop.index0 == 3 %}{% break %}{% endif %}{% else %}none{% endfor %}"
    ),
    "namespace": (
        "{% set ns = namespace(n=0, seen=[]) %}{% for m in messages[::-1] %}{% set ns.n = ns.n + 1 %}"
        "{% set ns.seen = ns.seen + [m.role] %}{% endfor %}{{ ns.n }}{{ ns.seen }}{{ dict(a=1) }}"
    ),
    "json": (
        "{{ messages | tojson }}{{ messages[1] | tojson(indent=2) }}{{ {'b': 1, 'a': 'é'} |"
        " tojson(sort_keys=true, ensure_ascii=true, separators=(',', ':')) }}"
    ),
    "filters": (
        "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(' | ') }}"
        "{{ messages[0].content | trim | upper | replace('B', '8') | indent(4, true) }}"
        "{{ range(5) | list | sum }}{{ 'x' | center(9) }}{{ [3, 1] | sort | first }}"
        "{{ nothing | default(1) }}{{ messages | map(attribute='role') | unique | list | length }}"
        "{{ 'a b'.split() | last | capitalize }}"
    ),
    "methods": (
        "{{ messages[1].content.split(' ')[-1].strip().title() }}{{ ', '.join(['a', 'b']) }}"
        "{{ '{} {:>5} {n}'.format('a', 3, n=2) }}{{ '%s-%03d' % ('a', 7) }}{{ 'ab' * 3 }}{{ 2 ** 10 }}"
        "{{ 'abc'.startswith('a') }}{{ messages[2].items() | list | length }}{{ 7 // 2 }}{{ 'a' ~ 1 ~ none }}"
    ),
    "macros": (
        "{% macro show(m, depth=0) %}[{{ m.role }}{% if depth < 2 %}{{ show(m, depth + 1) }}{% endif %}]"
        "{% endmacro %}{% for m in messages %}{{ show(m) }}{% endfor %}"
        "{% set block %} a {{ messages | length }}{% endset %}{{ block | trim }}"
        "{% call(x) apply(1) %}{{ x }}{% endcall %}"
    ).replace("{% call(x)", "{% macro apply(y) %}<{{ caller(y) }}>{% endmacro %}{% call(x)"),
    "blocks": (
        "  {% if true %}\n  a\n  {% endif %}\n{%- for m in messages %}\n    {{- m.role }}\n{% endfor %}\n"
        "{% generation %}b{{ messages[0].content }}{% endgeneration %}{{ bos_token }}{{ eos_token }}"
    ),
    "tools": (
        "{% for tool in tools %}{{ tool | tojson }}{{ tool.function.name }}{% endfor %}{{ documents }}"
        "{{ strftime_now('%Y') }}{{ enable_thinking is defined }}"
    ),
    "nested": (
        "{{ [[1, 2], (3,), {'a': [none, true]}] }}{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}"
        "{% endfor %}"
    ),
    "alpaca": ALPACA_TEMPLATE,
}  # fmt: skip


def add(first: int, second: int) -> int:
    """Add two numbers.

    Args:
        first: a number.
        second: another.
    """
    return first + second


@pytest.mark.parametrize("name", FEATURES)
def test_the_same_text_as_transformers(name):
    tokenizer = make_tokenizer(Layout(("<s>", "</s>"), (), (), FEATURES[name], "</s>", "<s>"))
    arguments = {"tools": [add]} if name == "tools" else {}
    expected = tokenizer.apply_chat_template(
        MESSAGES, tokenize=False, add_generation_prompt=True, **arguments
    )
    variables = {"tools": None, "documents": None, **tokenizer.special_tokens_map}
    variables |= {"messages": MESSAGES, "add_generation_prompt": True}
    if name == "tools":
        from transformers.utils import get_json_schema

        variables["tools"] = [get_json_schema(add)]
    assert render(FEATURES[name], variables, Budget(variables)) == expected
    assert len(expected) > 10


@pytest.mark.parametrize("name", LAYOUTS)
def test_whole_dialogs_are_the_same_text_as_transformers(name):
    tokenizer = make_tokenizer(LAYOUTS[name])
    messages = MESSAGES if LAYOUTS[name].system else MESSAGES[1:]
    arguments = {"tools": [add], "enable_thinking": False} if name == "qwen" else {}
    expected = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, **arguments
    )
    found = render_dialog(messages, tokenizer, add_generation_prompt=True, **arguments)
    assert found == expected


GROW = "{%% set n = namespace(x=%s) %%}{%% for i in range(60) %%}{%% set n.x = %s %%}{%% endfor %%}"
LONG = "x" * 90_000
MACHINES = {
    "a range": "{% for i in range(10**9) %}{% endfor %}",
    "copies": "{{ 'a' * 10**10 }}",
    "copies of lists": "{{ [[1] * 1000] * 10000 }}",
    "a power": GROW % ("7", "n.x * n.x"),
    "a tower": "{{ 9 ** (9 ** 9) }}",
    "doubling ~": GROW % ("'a'", "n.x ~ n.x"),
    "doubling +": GROW % ("'a'", "n.x + n.x"),
    "doubling lists": GROW % ("1", "[n.x, n.x]"),
    "doubling maps": GROW % ("1", "{1: n.x, 2: n.x}"),
    "doubling namespaces": (
        "{% set n = namespace(x=1) %}{% for i in range(60) %}{% set n = namespace(x=[n, n]) %}{% endfor %}"
        "{% set k = namespace(n=n) %}{% for i in range(60) %}"
        "{% set k.n = namespace(a=k.n, b=k.n) %}{% endfor %}"
    ),
    "doubling blocks": (
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set x %}{{ n.x }}{{ n.x }}{% endset %}"
        "{% set n.x = x %}{% endfor %}"
    ),
    "padding": "{{ 'a'.center(10**10) }}",
    "padding, constant": "{{ 'a' | center(10000000000) }}",
    "padding to the left": "{{ 'a'.ljust(10**10) }}",
    "a format": "{{ '{:10000000000}'.format(1) }}",
    "a format of a format": "{{ '{:{w}}'.format(1, w=10**9) }}",
    "percent": "{{ '%10000000000d' % 1 }}",
    "percent with a star": "{{ '%*d' % (10**9, 1) }}",
    "many places": "{{ ('{0}' * 2000).format('a' * 900000) }}",
    "replacing": "{{ ('a' * 900000).replace('', 'b' * 900000) }}",
    "the filter replace": "{{ ('a' * 900000) | replace('a', 'b' * 900000) }}",
    "joining": "{{ ('a' * 900000).join(range(2000) | map('string')) }}",
    "the filter join": "{{ range(2000) | join('a' * 900000) }}",
    "indenting": "{{ ('a\n' * 400000) | indent(900000) }}",
    "indenting JSON": "{{ ([1] * 2000) | tojson(indent=900000) }}",
    "wrapping": "{{ ('a' * 900000) | wordwrap(1, wrapstring='b' * 900000) }}",
    "tabs": "{{ '\t'.expandtabs(10**10) }}",
    "batches": "{{ [1] | batch(10000000000, 'x') | list }}",
    "bytes": "{{ (5).to_bytes(10**9, 'big') }}",
    "sums of lists": "{{ ([[1]] * 20000) | sum(start=[]) | length }}",
    "its own words": "{% for i in range(90000) %}" + LONG + "{% endfor %}",
    "its own words, kept": "{% set y %}{% for i in range(90000) %}" + LONG + "{% endfor %}{% endset %}",
    "its own words, called": (
        "{% macro f() %}" + LONG + "{% endmacro %}{% set x %}{% for i in range(90000) %}{{ f() }}"
        "{% endfor %}{% endset %}"
    ),
    "itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a long source": "x" * 600_000,
    "a deep source": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
}  # fmt: skip


@pytest.mark.parametrize("name", MACHINES)
def test_templates_that_grow_are_one_line(name):
    tokenizer = make_tokenizer(Layout(("<s>", "</s>"), (), (), MACHINES[name], "</s>"))
    before, started = peak(), time.process_time()
    with pytest.raises(UserError, match="the chat template of this tokenizer") as caught:
        build_dialog([{"role": "user", "content": "hi"}], tokenizer)
    assert "\n" not in str(caught.value)
    assert peak() - before < 150e6
    assert time.process_time() - started < 5


def peak():
    """Most memory this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
        "{% for i in 'a' * 900000 %}{% for j in 'a' * 900000 %}{{ i }}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for i in range(90000) %}{{ (range(90000) | list | length) - i and '' }}{% endfor %}",
    ],
)
def test_templates_that_never_end_are_stopped(template):
    variables = {"messages": MESSAGES}
    started = time.process_time()
    with pytest.raises(TemplateLimitError, match=r"too long to render|writes more|builds something"):
        render(template, variables, Budget(variables, seconds=0.3))
    assert time.process_time() - started < 3


def test_all_renders_of_a_dialog_share_their_time():
    template = "{% for m in messages %}{{ m.content }}{% for i in range(20000) %}{% endfor %}{% endfor %}"
    variables = {"messages": MESSAGES}
    budget = Budget(variables, seconds=0.5)
    render(template, variables, budget)

    def on_and_on():
        while True:
            render(template, variables, budget)

    with pytest.raises(TemplateLimitError):
        on_and_on()


def test_what_may_be_written_grows_with_the_dialog():
    words = "word " * 1_000_000
    tokenizer = make_tokenizer(LAYOUTS["qwen"])
    text = render_dialog([{"role": "user", "content": words}], tokenizer)
    assert text == f"<|im_start|>user\n{words}<|im_end|>\n"


def test_arguments_are_what_the_template_reads():
    tokenizer = make_tokenizer(LAYOUTS["qwen"])
    assert names_read(LAYOUTS["qwen"].template) == {
        "messages", "tools", "add_generation_prompt", "enable_thinking"
    }  # fmt: skip
    messages = [{"role": "user", "content": "hi"}]
    text = render_dialog(
        messages, tokenizer, add_generation_prompt=True, enable_thinking=False, documents=None
    )
    assert text.endswith("<think>\n\n</think>\n\n")
    for arguments, complaint in (
        ({"enable_thinkin": False}, "did you mean 'enable_thinking'"),
        ({"bos_token": "x"}, "unknown argument for the chat template of this tokenizer 'bos_token'"),
        ({"eos_token": "x"}, "unknown argument .* 'eos_token'"),
        ({"raise_exception": "x"}, "unknown argument .* 'raise_exception'"),
        ({"documents": [{"text": "x"}]}, "'documents'"),
        ({"tools": {"name": "f"}}, "tools is dict; expected a list"),
        ({"tools": [print]}, "a tool cannot be described"),
        ({"tools": [{1, 2}]}, "tools holds {1, 2}"),
        ({"enable_thinking": float("nan")}, "enable_thinking holds nan"),
    ):
        with pytest.raises(UserError, match=complaint) as caught:
            render_dialog(messages, tokenizer, **arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError):  # it is ours, and given once
        render_dialog(messages, tokenizer, True, add_generation_prompt=False)


def test_one_of_several_templates():
    tokenizer = make_tokenizer(LAYOUTS["qwen"])
    tokenizer.chat_template = {"tool_use": "{{ tools | tojson }}", "default": "{{ messages[0].content }}"}
    messages = [{"role": "user", "content": "hi"}]
    assert render_dialog(messages, tokenizer) == "hi"
    assert render_dialog(messages, tokenizer, tools=[{"name": "f"}]) == '[{"name": "f"}]'
    tokenizer.chat_template = {"odd": "x"}
    with pytest.raises(UserError, match="has no default chat template"):
        render_dialog(messages, tokenizer)
