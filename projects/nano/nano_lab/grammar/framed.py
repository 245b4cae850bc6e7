"""Wordings made of a clause and the words around it, for training alone.

"I wonder whether", "is it true that", "我想知道" go with any question. A model that meets each of them with
every kind of question learns to read past them; one that meets a few set sentences of each kind does not.
None of what comes out is a held-out wording.
"""

from __future__ import annotations

from nano_lab.grammar.words import Language

_CLAIMS: dict[Language, dict[str, str]] = {
    "en": {
        "is_kind": "{it} is {kind}",
        "parity": "[{it} is {parity}|{it} is an {parity} number]",
        "compare": "{it} is {cmp} than {n}",
        "fly": "[{it} can fly|{it} is able to fly|{it} can fly through the air]",
        "live_water": "[{it} lives in water|{it} lives in the water|{it} can live in water]",
        "sail": "[{it} can sail|{it} sails on water|{it} sails on the sea|{it} can travel on the sea]",
        "road": "[{it} drives on the road|{it} drives on roads|{it} can drive on the road]",
    },
    "zh": {
        "is_kind": "{it}[是{kind}|是一种{kindname}|属于{kindname}]",
        "parity": "{it}是{parity}",
        "compare": "{it}比{n}{cmp}",
        "fly": "{it}[会飞|能飞|可以飞|能在天上飞]",
        "live_water": "{it}[住在水里|生活在水里|能住在水里]",
        "sail": "{it}[能在水上开|会在水上开|能航行|可以在海上航行]",
        "road": "{it}[在路上开|能在路上开|可以在公路上开|能开上马路]",
    },
}
"""What is true or not: a clause that states it."""

_OPEN: dict[Language, dict[str, str]] = {
    "en": {
        "category": "[if|whether] {it} is [an animal or a vehicle|a vehicle or an animal]",
        "odd_or_even": "[if|whether] {it} is [odd or even|even or odd]",
        "sound": "[what sound {it} makes|which noise {it} makes|how {it} sounds|what noise comes from {it}]",
        "legs": "how many legs {it} has",
        "wheels": "how many wheels {it} has",
        "next": "[what|which number] comes [right|] after {it}",
        "previous": "[what|which number] comes [right|] before {it}",
        "plus": "[how much {it} plus {n} is|what you get if you add {n} to {it}]",
        "minus": "[how much {it} minus {n} is|what is left if you [take|subtract] {n} from {it}]",
        "numeral": "how {it} is written [as a numeral|in digits|in figures]",
        "word": "how {it} is written [as a word|in words|in letters]",
    },
    "zh": {
        "is_kind": "{it}[是不是{kind}|属不属于{kindname}|能不能算{kind}]",
        "parity": "{it}[是不是|能不能算]{parity}",
        "compare": "{it}是不是比{n}{cmp}",
        "fly": "{it}[会不会|能不能|可不可以]飞",
        "live_water": "{it}是不是[住|生活]在水[里|中]",
        "sail": "{it}[能不能|会不会|可不可以]在[水上|海上][开|航行]",
        "road": "{it}[能不能|可不可以][在路上开|在公路上开|在马路上开|开上公路]",
        "category": "{it}[是|算|属于][动物还是交通工具|交通工具还是动物]",
        "odd_or_even": "{it}是[奇数还是偶数|单数还是双数|奇还是偶]",
        "sound": "{it}[怎么叫|是怎么叫的|发出什么声音|会发出什么样的声音|的叫声是什么样的]",
        "legs": "{it}[有|长着][几|多少]条腿",
        "wheels": "{it}[有|装着][几|多少]个轮子",
        "next": "{it}[后面|之后|的后面]是[几|什么数|哪个数字]",
        "previous": "{it}[前面|之前|的前面]是[几|什么数|哪个数字]",
        "plus": "{it}[加|加上]{n}[等于|是|得][几|多少]",
        "minus": "{it}[减|减去]{n}[等于|是|剩|还剩][几|多少]",
        "numeral": "{it}用阿拉伯数字怎么[写|表示]",
        "word": "{it}用[汉字|中文]怎么[写|表示]",
    },
}
"""What is asked for: a clause that leaves it open. Chinese has one for claims, too ("会不会飞")."""

_AROUND_CLAIMS: dict[Language, tuple[str, ...]] = {
    "en": (
        "is it [true|a fact] that <clause>",
        "do you [agree|believe] that <clause>",
        "are you sure [that|] <clause>",
        "I [believe|guess|suppose] [that|] <clause>. [Is it true|Do you agree|Am I right|Is that so]",
        "[somebody|my friend|someone] says [that|] <clause>. [Is it true|Is that right]",
        "[yes or no|true or false]: <clause>",
        "<clause>. [Yes or no|True or false|Do you agree|Is it true]",
        "<clause>, [no|yes|is that so|am I right]",
        "I [wonder|am asking] [if|whether] <clause>.",
        "let me know [if|whether] <clause>.",
        "I [need|would like] to know [if|whether] <clause>.",
        "can you [check|find out] [if|whether] <clause>",
        "am I right [to think|to say] that <clause>",
        "is it right to say [that|] <clause>",
        "would it be [right|correct] to say [that|] <clause>",
        "could it be that <clause>",
        "so <clause>",
    ),
    "zh": (
        "我[猜|认为|听说]<clause>，[对吗|对不对|是吗]",
        "有人说<clause>，[对吗|对不对|是真的吗]",
        "你[确定|认为|同意]<clause>吗",
        "[是或不是|对还是错]：<clause>",
        "<clause>，[没错吧|对吧|是真的吗|你同意吗]",
        "说<clause>，[对吗|对不对]",
        "可以说<clause>吗",
        "这么说<clause>",
    ),
}
_AROUND_OPEN: dict[Language, tuple[str, ...]] = {
    "en": (
        "I [wonder|am asking] <clause>.",
        "do you know <clause>",
        "let me know <clause>.",
        "I [need|would like] to know <clause>.",
        "[any idea|do you have an idea] <clause>",
        "can you [find out|work out|explain] <clause>",
        "my question is <clause>.",
    ),
    "zh": (
        "我想[知道|问]<clause>。",
        "你能[告诉我|说出]<clause>吗",
        "[帮我|麻烦]看看<clause>。",
        "你[看|说|认为]<clause>",
        "[请|]说说<clause>。",
    ),
}


def framed(language: Language, kind: str) -> tuple[str, ...]:
    """The patterns of a kind of question, none for most that need to look ("what is this?")."""
    found: list[str] = []
    if (claim := _CLAIMS[language].get(kind)) is not None:
        found += [around.replace("<clause>", claim) for around in _AROUND_CLAIMS[language]]
    if (still_open := _OPEN[language].get(kind)) is not None:
        found += [around.replace("<clause>", still_open) for around in _AROUND_OPEN[language]]
    return tuple(found)
