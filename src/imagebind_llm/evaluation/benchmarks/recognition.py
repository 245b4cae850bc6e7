"""Reading a word in a picture: IIIT5K, SVT, IC13, IC15, SVTP, CUTE80, COCO-Text, Total-Text, WordArt, ….

Asked and judged as LVLM-eHub does: the question is "what is written in the image?"; answer and word lose
all but Latin letters, digits and white space, and case; the answer is right if the word stands in it, with no
letter or digit before and behind it. This is ``accuracy``. ``exact`` is the share of answers that are the
word and nothing else.

Two things differ. A word without Latin letters and digits (``&``) is nothing then, which LVLM-eHub finds in
any answer; here it must stand in the answer as it is. And LVLM-eHub takes a label up to its first space; here
all of it counts.

A folder holds pictures cut out around each word, and a list of them. Databases of LMDB, in which some of
these sets are spread too, are not read; unpack them to files first.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.evaluation.benchmarks.finding import Media, find_table
from imagebind_llm.evaluation.benchmarks.questions import Question, Questions
from imagebind_llm.evaluation.benchmarks.reading import text_lines
from imagebind_llm.evaluation.suite import Facts, Item, Suite, SuiteKind

LISTS = ("test_label.txt", "gt.txt", "*_gt.txt", "label.txt", "labels.txt", "*.txt")
"""Names that such lists have."""
QUESTION = "what is written in the image?"
_DROPPED = re.compile(r"[^a-zA-Z0-9\s]")
_QUOTED = re.compile(r'(.+?),\s*"(.*)"')
_LAYOUT = (
    "pictures of single words, and test_label.txt or gt.txt: a picture and its word in each line, parted by "
    "a space, a tab or a comma"
)


def _read(question: str, data: Path) -> Iterator[Item]:
    table = find_table(data, *LISTS)
    media = Media(table, "images", "image", "imgs", "test")
    entries = [(where, *split_line(line, where)) for where, line in text_lines(table)]
    several = len({path.rpartition("/")[0] for _, path, _ in entries}) > 1
    seen: Counter[str] = Counter()
    for where, path, word in entries:
        seen[path] += 1
        yield Item(
            key=path if seen[path] == 1 else f"{path}#{seen[path]}",
            request={"question": question, "image": media.path(where, path)},
            expected=word,
            group=path.rpartition("/")[0] if several else "",
            unit=path,
        )


def split_line(line: str, where: str) -> tuple[str, str]:
    """The picture and the word of a line: ``a.png WORD``, ``a.png<tab>WORD`` or ``a.png, "WORD"``.

    In the last form, that of the ICDAR competitions, ``\\"`` in the word is a quotation mark.

    Raises:
        UserError: it is no such line.
    """
    line = line.strip().removeprefix("\ufeff")
    quoted = _QUOTED.fullmatch(line)
    if quoted is not None:
        path, word = quoted[1], quoted[2].replace('\\"', '"')
    elif "\t" in line:
        path, _, word = line.partition("\t")
    else:
        path, word = (*re.split(r",\s*|\s+", line, maxsplit=1), "")[:2]
    path, word = path.strip(), word.strip()
    if not path or not word:
        raise UserError(f"{where} is {short(line)}; expected the name of a picture and its word")
    return path, word


def plain(text: str) -> str:
    """``text`` in lower case, of Latin letters, digits and white space only."""
    return _DROPPED.sub("", text).lower()


def has_word(answer: str, word: str) -> bool:
    """Whether ``word`` stands in ``answer`` by LVLM-eHub's rule."""
    wanted = plain(word).strip()
    if not wanted:
        return word in answer
    return re.search(rf"\b{re.escape(wanted)}\b", plain(answer)) is not None


def is_word(answer: str, word: str) -> bool:
    """Whether ``answer`` is ``word`` and nothing else, by the same rule."""
    return has_word(answer, word) and plain(answer).split() == plain(word).split()


def _kind(name: str, title: str, source: str) -> SuiteKind:
    def make(question: Question = QUESTION) -> Suite:
        scores = {"accuracy": has_word, "exact": is_word}
        return Questions(name, partial(_read, question), scores, lambda answer, _: plain(answer), _LAYOUT)

    make.__doc__ = f"Read the word in each picture of {title}."
    return SuiteKind(
        summary=f"Words read in {title}.",
        examples=f"imagebind-llm eval {name} --data {name}/ --model nano",
        make=make,
        facts=Facts(
            layout=_LAYOUT,
            metric="accuracy (the word stands in the answer), exact (it is the answer)",
            source=source,
            licence="research use; see its authors' page",
        ),
    )


IIIT5K = _kind("iiit5k", "IIIT 5K-words", "cvit.iiit.ac.in (Mishra, Alahari and Jawahar 2012)")
SVT = _kind("svt", "Street View Text", "Wang, Babenko and Belongie 2011")
IC13 = _kind("ic13", "ICDAR 2013", "rrc.cvc.uab.es (Focused Scene Text, task 3)")
IC15 = _kind("ic15", "ICDAR 2015", "rrc.cvc.uab.es (Incidental Scene Text, task 3)")
SVTP = _kind("svtp", "SVT Perspective", "Phan, Shivakumara, Tian and Tan 2013")
CUTE80 = _kind("cute80", "CUTE80", "Risnumawan, Shivakumara, Chan and Tan 2014")
COCO_TEXT = _kind("coco-text", "COCO-Text", "bgshih.github.io/cocotext (Veit and others 2016)")
TOTAL_TEXT = _kind("total-text", "Total-Text", "github.com/cs-chan/Total-Text-Dataset")
WORDART = _kind("wordart", "WordArt", "github.com/xdxie/WordArt")
CTW = _kind("ctw", "CTW1500", "github.com/Yuliang-Liu/Curve-Text-Detector")
HOST = _kind("host", "HOST (heavily hidden words)", "github.com/wangyuxin87/VisionLAN (OST)")
WOST = _kind("wost", "WOST (weakly hidden words)", "github.com/wangyuxin87/VisionLAN (OST)")
