"""What an answer in words says, by the official rules of the benchmarks.

Where a benchmark has a script that scores it, its rule is kept to the letter, with its oddities: numbers are
compared with published ones. Beside it stands one tolerant reading (:func:`yes_no`, :func:`choice`) that
knows more ways to say the same thing.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

_RIGHT_FORMS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've
needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've
weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've
why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
you've
"""
_CONTRACTIONS: Mapping[str, str] = {
    # each with one of its apostrophes left out
    **{
        form[: at.start()] + form[at.end() :]: form
        for form in _RIGHT_FORMS.split()
        for at in re.finditer("'", form)
    },
    "somebody'd": "somebodyd",  # sic, in the script
}
_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_ARTICLES = frozenset(("a", "an", "the"))
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32
"""The script gives the flag ``re.UNICODE``, whose value is 32, where :func:`re.sub` takes a count."""


def plain(text: str) -> str:
    """``text`` in one line and in lower case, without white space around it and full stops at its end.

    That is how answers are compared where a benchmark asks for the same words.
    """
    return " ".join(text.split()).lower().rstrip(". ")


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 if ``answer`` is one of ``references``, but for what :func:`plain` takes away; else 0."""
    found = plain(answer)
    return float(any(found == plain(reference) for reference in references))


def vqa_normal(text: str) -> str:
    """An answer as the script of VQA compares it (``vqaEval.py``, VQA v2).

    Line breaks and tabs become spaces. A sign of punctuation goes, together with its place if a space stands
    beside it or any number in the text has a comma; else a space comes in its place. Full stops go, except
    before a digit. Words become lower case; ``none``, ``zero`` … ``ten`` digits; ``a``, ``an``, ``the`` go;
    a contraction gets its apostrophe back.
    """
    return _words(_without_punctuation(text.replace("\n", " ").replace("\t", " ").strip()))


def evalai_normal(text: str) -> str:
    """An answer as the script of TextVQA compares it (``EvalAIAnswerProcessor`` of MMF, also M4C's).

    As :func:`vqa_normal`, but before that commas and question marks go, and ``'s`` becomes a word.
    """
    return vqa_normal(text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip())


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """Accuracy of VQA v2's script, 0 … 1.

    Only if the references differ, their punctuation is taken away. They never lose articles or capitals, and
    their number words stay, so that ``two`` never matches: it is compared as ``2``.

    Args:
        references: what people answered, ten of them as a rule.
    """
    if len(set(references)) > 1:
        references = [_without_punctuation(reference) for reference in references]
    return _agreement(vqa_normal(answer), references)


def textvqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """Accuracy of TextVQA's script, 0 … 1: references are read like the answer, also if all are the same."""
    return _agreement(evalai_normal(answer), [evalai_normal(reference) for reference in references])


def _agreement(answer: str, references: Sequence[str]) -> float:
    """``min(people who said so / 3, 1)``, a mean over leaving out each of the people."""
    count, same = len(references), sum(reference == answer for reference in references)
    return (same * min(1.0, (same - 1) / 3) + (count - same) * min(1.0, same / 3)) / count if same else 0.0


def _without_punctuation(text: str) -> str:
    found, in_number = text, bool(_COMMA_IN_NUMBER.search(text))
    for sign in _PUNCTUATION:
        closes = in_number or f"{sign} " in text or f" {sign}" in text
        found = found.replace(sign, "" if closes else " ")
    return _PERIOD.sub("", found, count=_MOST_PERIODS)


def _words(text: str) -> str:
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def anls(answer: str, references: Sequence[str], threshold: float = 0.5) -> float:
    """Average normalised Levenshtein similarity of one answer, 0 … 1: the best of the references.

    By the script of the Robust Reading Competition: case and runs of white space do not count, the distance
    is divided by the length of the longer text as it was given, and a similarity below ``threshold`` is 0.
    """
    return max((_similarity(answer, reference, threshold) for reference in references), default=0.0)


def _similarity(answer: str, reference: str, threshold: float) -> float:
    first, second = " ".join(answer.lower().split()), " ".join(reference.lower().split())
    longer = max(len(answer), len(reference))
    if not longer:
        return 1.0
    if abs(len(first) - len(second)) > (1 - threshold) * longer:
        return 0.0  # the distance is at least that, and answers may be very long
    found = 1 - _distance(first, second) / longer
    return found if found >= threshold else 0.0


def _distance(first: str, second: str) -> int:
    """Least number of characters to put in, take out or replace."""
    above = list(range(len(second) + 1))
    for row, one in enumerate(first, start=1):
        line = [row]
        for column, other in enumerate(second, start=1):
            line.append(min(above[column] + 1, line[-1] + 1, above[column - 1] + (one != other)))
        above = line
    return above[-1]


def mme_yes_no(answer: str) -> str:
    """``yes``, ``no`` or ``other`` by MME's script: which word the first four characters hold, yes first.

    So ``Yes, it is`` is yes, and ``It is not`` is other. ``Snow`` is no, too.
    """
    head = answer.strip().lower()[:4]
    return "yes" if "yes" in head else "no" if "no" in head else "other"


def pope_yes_no(answer: str) -> str:
    """``yes`` or ``no`` by POPE's script: no if the first sentence has ``No``, ``no`` or ``not``, else yes.

    Words are what stands between single spaces, without commas, and ``NO`` is none of the three. An empty
    answer is yes, and so is one in any other language than English.
    """
    words = answer.partition(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


_UNSURE = re.compile(
    r"\b(not (sure|certain|clear|possible)|no (idea|way to)|(don'?t|do not) know|"
    r"can(no|'?)t (tell|say|be (sure|determined)))|"
    r"是不是|是否|有没有|对不对|不(确定|知道|清楚)|无法"
)
_YES = frozenset(("yes", "yeah", "yep", "yup", "y", "true", "correct"))
_NO = frozenset(("no", "nope", "n", "false", "incorrect", "wrong"))
_DENIALS = frozenset(("not", "none", "never", "neither", "cannot"))
_CHINESE_NO = re.compile(r"不(?!错)|没(?!有?错)|否|无|(?<![不没有])错|非(?!常)|未")
_CHINESE_YES = re.compile(r"是|对|有|正确|真|嗯|[不没]错")


def yes_no(answer: str) -> str | None:
    """``yes``, ``no``, or None if the answer says neither, however it is put.

    The first line with any text is read, in lower case and with full-width characters made plain. What is
    unsure (``not sure``, ``I don't know``) is None. Else its first word decides if it is yes or no (also
    ``true`` and ``false``, ``y`` and ``n``). Else its first sentence, if it has yes-words only, or no-words
    only (``There is no dog``, ``It isn't``). Chinese is read by its first clause: with a no (不是, 没有, 否)
    it is no, else with a yes (是, 对, 有) yes.
    """
    text = unicodedata.normalize("NFKC", answer).lower().replace("’", "'")
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if _UNSURE.search(line):
        return None
    sentence = re.split(r"[.!?。;]", line.lstrip("\"'*([ "), maxsplit=1)[0]
    words = re.findall(r"[a-z']+", sentence)
    if words and sentence.startswith(words[0]):
        if words[0] in _YES:
            return "yes"
        if words[0] in _NO:
            return "no"
    if re.search(r"[\u4e00-\u9fff]", sentence):
        clause = re.split(r"[,、]", sentence, maxsplit=1)[0]
        if _CHINESE_NO.search(clause):
            return "no"
        return "yes" if _CHINESE_YES.search(clause) else None
    says_no = any(word in _NO or word in _DENIALS or word.endswith("n't") for word in words)
    says_yes = any(word in _YES for word in words)
    return None if says_no == says_yes else "no" if says_no else "yes"


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Of options, in their order."""
_FIRST_LETTER = re.compile(r"[(\[*\"']*([A-Za-z])[)\]*\"']*(?:[.):]|,(?!\s*[A-Za-z]\b)|$|\n)")
_NAMED_LETTER = re.compile(
    r"(?:\b(?i:answer|option|choice)\b(?:\s+is)?|答案(?:是|为)?|选项?)[\s:]*[(\[*\"']*([A-Z])(?![A-Za-z'])"
)


def choice(answer: str, options: Sequence[str]) -> int | None:
    """Which of the options an answer means, as its place; None if it names none, or more than one.

    In this order: a letter with which it begins (``B``, ``(b)``, ``B. a cat``); a capital letter that it
    calls the answer (``The answer is B.``); the words of an option alone; the words of just one option among
    others (an option inside of a longer one that is named as well does not count).
    """
    text = unicodedata.normalize("NFKC", answer).strip()
    if (first := _FIRST_LETTER.match(text)) and (place := _place(first[1], options)) is not None:
        return place
    if named := set(_NAMED_LETTER.findall(text)):
        return _place(named.pop(), options) if len(named) == 1 else None
    wanted = [plain(unicodedata.normalize("NFKC", option)) for option in options]
    same = [place for place, option in enumerate(wanted) if option == plain(text)]
    if not same:
        said = {
            place: option
            for place, option in enumerate(wanted)
            if option and re.search(rf"(?<!\w){re.escape(option)}(?!\w)", plain(text))
        }
        same = [
            place
            for place, option in said.items()
            if not any(option != other and option in other for other in said.values())
        ]
    return same[0] if len(same) == 1 else None


def _place(letter: str, options: Sequence[str]) -> int | None:
    place = LETTERS.index(letter.upper())
    return place if place < len(options) else None
