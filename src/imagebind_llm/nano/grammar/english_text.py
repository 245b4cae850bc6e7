"""English text-only questions, small talk, captions and the sentences that tie the turns of a dialog."""

from __future__ import annotations

TEXT: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "hello": (
        ("hello", "hi", "hey", "hello there", "hi there", "good [morning|evening|day|afternoon]", "hello, [nano|friend]",
         "hey there", "greetings", "hi, how are you", "hello, how are you", "how are you", "how are you doing"),
        ("hi and good [morning|day]", "hey, how are you doing", "good day to you, friend"),
    ),
    "who": (
        ("who are you", "what are you", "what is your name", "what's your name", "tell me who you are.",
         "introduce yourself.", "what [kind of|] [model|assistant|machine] are you", "are you a [robot|human|model]",
         "what do I call you", "how do I call you", "who am I talking to", "do you have a name",
         "[tell me|say] something about yourself.", "[can|could] you introduce yourself"),
        ("say who you are.", "tell me your name.", "what kind of robot are you", "do you call yourself a machine"),
    ),
    "can_do": (
        ("what can you do", "what are you [good at|able to do]", "help", "help me.",
         "how can you help [me|]", "what do you know", "what can I ask [you|]", "what [kind of|sort of|] questions can I ask",
         "what do you understand", "tell me what you can do.", "how do I use you", "what are you for",
         "how does this work", "what things do you know", "what can you recognise"),
        ("tell me what I can ask.", "what kind of help can you give", "do you know what you are able to do",
         "what questions do you understand"),
    ),
    "thanks": (
        ("thanks", "thank you", "thank you very much", "thanks a lot", "many thanks", "great, thanks", "ok, thanks",
         "thank you so much", "good job", "well done", "very good", "great", "thanks for [the help|the answer|your help]",
         "that was [great|good|helpful]"),
        ("great, thank you so much", "thanks, well done", "very good, thanks a lot", "that was very helpful, thanks"),
    ),
    "bye": (
        ("bye", "goodbye", "good night", "see you", "see you [later|tomorrow|soon]", "bye bye", "that is all",
         "I have to go", "ok, bye", "so long", "I am done", "see you next time"),
        ("that is all, bye", "I have to go now, see you", "goodbye and see you soon"),
    ),
    "define": (
        ("what is {it}", "what's {it}", "tell me about {it}.", "describe {it}.", "what do you know about {it}",
         "explain what {it} is.", "what can you [tell me|say] about {it}", "what kind of thing is {it}",
         "[do you know|can you tell me] what {it} is", "say something about {it}.", "how would you describe {it}",
         "tell me [something|more|a little] about {it}."),
        ("explain {it}.", "I want to know what {it} is.", "can you describe {it}", "do you know something about {it}"),
    ),
    "find_sound": (
        ("name an animal that {verbs}.", "which animal {verbs}", "what animal {verbs}", "what kind of animal {verbs}",
         "tell me an animal that {verbs}.", "which animal is it that {verbs}", "what {verbs}", "who {verbs}",
         "do you know an animal that {verbs}", "say which animal {verbs}.", "[can|could] you name an animal that {verbs}",
         "I hear something that {verbs}. What is it"),
        ("tell me what animal {verbs}.", "it is an animal and it {verbs}. Which one is it",
         "do you know which animal {verbs}", "I want an animal that {verbs}."),
    ),
    "find": (
        ("name {clue}.", "what is {clue}", "tell me {clue}.", "which thing is {clue}", "do you know {clue}",
         "[can|could] you name {clue}", "give me {clue}.", "say {clue}.", "I am looking for {clue}.",
         "can you think of {clue}", "[give me|tell me] the name of {clue}."),
        ("I want the name of {clue}.", "can you give me {clue}", "think of {clue}."),
    ),
    "which_bigger": (
        ("which is {cmp}, {a} or {b}", "what is {cmp}, {a} or {b}", "{a} or {b}, which is {cmp}",
         "which number is {cmp}, {a} or {b}", "is {a} or {b} {cmp}", "[tell me|say] which is {cmp}, {a} or {b}.",
         "which of {a} and {b} is {cmp}", "what number is {cmp}: {a} or {b}",
         "{a} and {b}: which one is {cmp}", "which one is {cmp}, {a} or {b}", "do you know which is {cmp}, {a} or {b}"),
        ("of {a} and {b}, which is {cmp}", "tell me, is {a} or {b} {cmp}", "say which number is {cmp}: {a} or {b}."),
    ),
    "world": (
        ("what is the weather [like|today|]", "what time is it", "who is the [president|king|queen]",
         "where [is|can I find] [the station|the nearest bank|Paris|London]", "tell me a [joke|story].",
         "what is the capital of [France|China|Spain]", "how do I [cook rice|bake bread|learn French]",
         "write a [poem|song|letter].", "who won the [game|match|race]", "what day is it",
         "[translate|say] this in [French|Spanish|German].", "what is the meaning of life",
         "what is the [best|nearest] [book|song|bank]", "how is the weather [today|tomorrow]"),
        ("write a [joke|story].", "where is the best [bank|station]", "who is the king of [France|Spain]"),
    ),
}

CAPTION: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "caption_image": (
        ("Generate caption of this image.", "generate [a|the] caption [of|for] [this|the] <seen>.",
         "[write|give|make|create] a [short|] caption for [this|the] <seen>.", "caption [this|the] <seen>.",
         "what is a good caption for [this|the] <seen>", "give me a [short|] caption of [this|the] <seen>.",
         "[can|could] you caption [this|the] <seen>", "what caption fits [this|the] <seen>",
         "describe [this|the] <seen> as a caption.", "this <seen> needs a caption.",
         "write one line [under|for] [this|the] <seen>.", "I need a caption for [this|the] <seen>."),
        ("can you write a good caption for this <seen>", "create one caption that fits the <seen>.",
         "what would be a caption of this <seen>", "I need one line as a caption for the <seen>."),
    ),
    "caption_sound": (
        ("generate [a|the] caption [of|for] [this|the] <heard>.", "[write|give|make|create] a caption for [this|the] <heard>.",
         "caption [this|the] <heard>.", "what is a good caption for [this|the] <heard>",
         "give me a [short|] caption of [this|the] <heard>.", "[can|could] you caption [this|the] <heard>",
         "what caption fits [this|the] <heard>", "describe [this|the] <heard> as a caption.",
         "this <heard> needs a caption.", "I need a caption for [this|the] <heard>."),
        ("can you write a good caption for this <heard>", "create one caption that fits the <heard>.",
         "what would be a caption of this <heard>"),
    ),
    "caption": (
        ("write a caption.", "generate a caption.", "give me a caption.", "caption [this|it].", "a caption, please.",
         "make a [short|] caption.", "create a [short|] caption.", "what is a good caption", "write a [short|] caption for it.",
         "[can|could] you write a caption", "I need a caption."),
        ("can you make one caption for it", "what would be a good caption", "give it a short caption."),
    ),
}

TURNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "again": (
        ("and now this one", "and this one", "and this", "what about this one", "how about this one", "and the next one",
         "now this one", "and what about this", "and now", "here is another one", "and that one", "ok, and this one",
         "what about this", "here is one more", "next one"),
        ("ok, what about the next one", "how about this", "and here is one more", "now what about that one"),
    ),
    "same": (
        ("is it the same [as before|]", "is this the same [as before|as the first one|]", "is this the same thing",
         "are they the same", "are both the same", "is this one the same as the one before", "the same thing again",
         "is it the same thing [as before|again]", "is this one like the first one", "[tell me|say] if it is the same.",
         "do I show you the same thing [again|]", "is it the same one", "same as before"),
        ("is this again the one before", "tell me if both are the same thing.",
         "would you say they are the same"),
    ),
    "recall": (
        ("what was the first one", "what was the one before", "what was it before", "what did I show you [first|before]",
         "what was the thing before", "do you remember the first one", "which one was first", "what came first",
         "[tell me|say] what the first one was.", "what was the first thing", "and what was the first one again",
         "[can|could] you remember what was first"),
        ("do you remember what was before", "tell me the first thing again.", "which thing did I show you first"),
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

QUESTION_OPENINGS: tuple[str, ...] = ("hey, ", "hi, ", "ok, ", "so, ", "well, ", "hello, ", "a question: ", "please tell me: ")
REQUEST_OPENINGS: tuple[str, ...] = ("please ", "hey, ", "ok, ", "now ", "hi, ", "please, ")
CLOSINGS: tuple[str, ...] = (", please", ", thanks", " please")
FOLLOW_OPENINGS: tuple[str, ...] = ("and ", "ok, ", "and ", "then ", "now, ", "great, ", "thanks, ", "ok, and ")
