"""English caption requests, and the sentences that tie the turns of a dialog together."""

from __future__ import annotations

CAPTION: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "caption_image": (
        (
            "Generate caption of this image.",
            "generate [a|the] caption [of|for] [this|the] <seen>.",
            "[write|give|make|create] a [short|] caption for [this|the] <seen>.",
            "caption [this|the] <seen>.",
            "what is a good caption for [this|the] <seen>",
            "give me a [short|] caption of [this|the] <seen>.",
            "[can|could] you caption [this|the] <seen>",
            "what caption fits [this|the] <seen>",
            "describe [this|the] <seen> as a caption.",
            "this <seen> needs a caption.",
            "write one line [under|for] [this|the] <seen>.",
            "I need a caption for [this|the] <seen>.",
        ),
        (
            "can you write a good caption for this <seen>",
            "create one caption that fits the <seen>.",
            "what would be a caption of this <seen>",
            "I need one line as a caption for the <seen>.",
        ),
    ),
    "caption_sound": (
        (
            "generate [a|the] caption [of|for] [this|the] <heard>.",
            "[write|give|make|create] a caption for [this|the] <heard>.",
            "caption [this|the] <heard>.",
            "what is a good caption for [this|the] <heard>",
            "give me a [short|] caption of [this|the] <heard>.",
            "[can|could] you caption [this|the] <heard>",
            "what caption fits [this|the] <heard>",
            "describe [this|the] <heard> as a caption.",
            "this <heard> needs a caption.",
            "I need a caption for [this|the] <heard>.",
        ),
        (
            "can you write a good caption for this <heard>",
            "create one caption that fits the <heard>.",
            "what would be a caption of this <heard>",
        ),
    ),
    "caption": (
        (
            "write a caption.",
            "generate a caption.",
            "give me a caption.",
            "caption [this|it].",
            "a caption, please.",
            "make a [short|] caption.",
            "create a [short|] caption.",
            "what is a good caption",
            "write a [short|] caption for it.",
            "[can|could] you write a caption",
            "I need a caption.",
        ),
        ("can you make one caption for it", "what would be a good caption", "give it a short caption."),
    ),
}

TURNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "again": (
        (
            "and now this one",
            "and this one",
            "and this",
            "what about this one",
            "how about this one",
            "and the next one",
            "now this one",
            "and what about this",
            "and now",
            "here is another one",
            "and that one",
            "ok, and this one",
            "what about this",
            "here is one more",
            "next one",
        ),
        ("ok, what about the next one", "how about this", "and here is one more", "now what about that one"),
    ),
    "same": (
        (
            "is it the same [as before|]",
            "is this the same [as before|as the first one|]",
            "is this the same thing",
            "are they the same",
            "are both the same",
            "is this one the same as the one before",
            "the same thing again",
            "is it the same thing [as before|again]",
            "is this one like the first one",
            "[tell me|say] if it is the same.",
            "do I show you the same thing [again|]",
            "is it the same one",
            "same as before",
        ),
        (
            "is this again the one before",
            "tell me if both are the same thing.",
            "would you say they are the same",
        ),
    ),
    "recall": (
        (
            "what was the first one",
            "what was the one before",
            "what was it before",
            "what did I show you [first|before]",
            "what was the thing before",
            "do you remember the first one",
            "which one was first",
            "what came first",
            "[tell me|say] what the first one was.",
            "what was the first thing",
            "and what was the first one again",
            "[can|could] you remember what was first",
        ),
        (
            "do you remember what was before",
            "tell me the first thing again.",
            "which thing did I show you first",
        ),
    ),
}

STATEMENTS: tuple[str, ...] = (
    "I see {x}",
    "I hear {x}",
    "I can [see|hear|sense|feel] {x}",
    "there is {x} [here|in the <media>|]",
    "it is {x}",
    "this is {x}",
    "here is {x}",
    "[the|this] <media> shows {x}",
    "you [see|hear|sense] {x}",
    "I [found|notice|recognise] {x}",
    "what I [see|hear] is {x}",
    "I am showing you {x}",
    "look, {x}",
    "you are given {x}",
)

QUESTION_OPENINGS: tuple[str, ...] = (
    "hey, ",
    "hi, ",
    "ok, ",
    "so, ",
    "well, ",
    "hello, ",
    "a question: ",
    "please tell me: ",
)
REQUEST_OPENINGS: tuple[str, ...] = ("please ", "hey, ", "ok, ", "now ", "hi, ", "please, ")
CLOSINGS: tuple[str, ...] = (", please", ", thanks", " please")
FOLLOW_OPENINGS: tuple[str, ...] = (
    "and ",
    "ok, ",
    "and ",
    "then ",
    "now, ",
    "great, ",
    "thanks, ",
    "ok, and ",
)
