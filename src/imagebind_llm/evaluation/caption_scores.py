"""BLEU, METEOR, ROUGE-L, CIDEr and SPICE of captions, through ``pycocoevalcap``, as sums over captions.

The package holds the programs that the field's tables were made with: Stanford's PTB tokenizer and METEOR
1.5, both in Java, and BLEU, ROUGE-L and CIDEr in Python. Each caption comes out as a few sums.
Metrics of a corpus are functions of their totals, so that any draw of captions has its metrics at once:

- BLEU-1 … 4: matched and written n-grams, and lengths (of the closest reference), summed over captions.
- METEOR: matched words, lengths and chunks, summed over captions; a caption that equals a reference in one
  piece adds no chunk. That is what METEOR itself does for a corpus.
- ROUGE-L, CIDEr, SPICE: means over captions. CIDEr's document frequencies are those of all references given,
  so that it is 0 for a single picture.

The package's own wrappers of Java are not used: they write into the package's folder, read text in the
system's encoding, and put captions on the wrong pictures where one has an unusual line break.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebind_llm.common.errors import MissingExtraError, UserError, one_line, require
from imagebind_llm.evaluation.suite import Floats, ratio

FEATURE = "scoring captions"
_PACKAGE = "pycocoevalcap"
_TOKENIZER = "tokenizer/stanford-corenlp-3.4.1.jar"
_METEOR = "meteor/meteor-1.5.jar"
_SPICE = "spice/spice-1.0.jar"
_SPICE_PARTS = ("spice/lib/stanford-corenlp-3.6.0.jar", "spice/lib/stanford-corenlp-3.6.0-models.jar")

_BREAKS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")
"""What ends a line, or a text, for one of the programs. Spaces stand for it."""
_MARK = "|||"
"""What parts the fields of METEOR's lines."""

_ORDERS = (1, 2, 3, 4)
_TINY, _SMALL = 1e-15, 1e-9
"""What BLEU's program adds above and below a fraction."""

_STAGE_WEIGHTS = (1.0, 0.6, 0.8, 0.6)
"""METEOR 1.5 for English: of a word matched exactly, by its stem, as a synonym, within a paraphrase."""
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
"""METEOR 1.5 for English: recall against precision, two of fragmentation, content against function words."""
_STATISTICS = 23
"""Numbers that METEOR says of one caption."""


def require_scorers(spice: bool = False) -> None:
    """See that all that scoring needs is there. Cheap enough to be done before a model is asked.

    Args:
        spice: SPICE is wanted too.

    Raises:
        MissingExtraError: the package is not installed, or not whole.
        UserError: Java is not installed or cannot start, or SPICE's parts are not there.
    """
    require("pycocoevalcap.bleu.bleu", "eval", FEATURE)
    for name in (_TOKENIZER, _METEOR, "meteor/data/paraphrase-en.gz"):
        if not (_folder() / name).is_file():
            raise MissingExtraError(
                f"{FEATURE} needs {name!r} of the package {_PACKAGE!r}, which is not whole; "
                f"run: pip install --force-reinstall --no-deps {_PACKAGE}"
            )
    _java("-Xmx2G", "-version")
    missing = [name for name in _SPICE_PARTS if spice and not (_folder() / name).is_file()]
    if missing:
        raise UserError(
            f"SPICE needs Stanford CoreNLP 3.6.0, which {_PACKAGE!r} does not bring: put "
            f"{' and '.join(Path(name).name for name in missing)} of stanford-corenlp-full-2015-12-09.zip "
            f"(nlp.stanford.edu) into {str(_folder() / 'spice' / 'lib')!r}, or leave SPICE out"
        )


def caption_sums(
    captions: Sequence[str], references: Sequence[Sequence[str]], spice: bool = False
) -> list[dict[str, float]]:
    """What each caption adds to the sums of :func:`caption_metrics`.

    Args:
        captions: one a picture; may be empty.
        references: those of each picture, at least one.
        spice: add SPICE, which takes minutes.

    Returns:
        For each caption its sums: ``n``, ``bleu_…``, ``meteor_…``, ``rouge_l``, ``cider`` (0 … 10) and
        perhaps ``spice``.

    Raises:
        UserError: see :func:`require_scorers`; or no reference holds a word; or Java failed.
    """
    require_scorers(spice)
    if not captions:
        return []
    words = iter(tokenized([*captions, *(text for those in references for text in those)]))
    written = [next(words) for _ in captions]
    known = [[next(words) for _ in those] for those in references]
    if not any(any(those) for those in known):
        raise UserError("no reference caption holds a word; scoring captions needs some")
    parts = [
        [{"n": 1.0} for _ in written],
        _bleu(written, known),
        _meteor(written, known),
        _means(written, known),
    ]
    if spice:
        parts.append(_spice(written, known))
    return [
        {name: value for part in of_one for name, value in part.items()}
        for of_one in zip(*parts, strict=True)
    ]


def caption_metrics(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """Metrics of a corpus.

    Args:
        sums: totals of what :func:`caption_sums` gives, as arrays of any one shape.

    Returns:
        ``CIDEr`` (0 … 10), ``BLEU-1`` … ``BLEU-4``, ``METEOR``, ``ROUGE-L`` and, if it was made, ``SPICE``
        (0 … 1 each); NaN where there is no caption.
    """
    import numpy as np

    count = np.asarray(sums["n"], dtype=np.float64)
    metrics = {"CIDEr": ratio(sums["cider"], count)}
    for order, bleu in zip(_ORDERS, _bleu_of(sums), strict=True):
        metrics[f"BLEU-{order}"] = np.where(count == 0, np.nan, bleu)
    metrics["METEOR"] = np.where(count == 0, np.nan, _meteor_of(sums))
    metrics["ROUGE-L"] = ratio(sums["rouge_l"], count)
    if "spice" in sums:
        metrics["SPICE"] = ratio(sums["spice"], count)
    return metrics


def tokenized(texts: Sequence[str]) -> list[str]:
    """Each text as its words in lower case with one space between, without punctuation.

    They are those of the Penn Treebank (``isn't`` → ``is n't``), as ``pycocoevalcap`` makes them.

    Raises:
        UserError: Java failed.
    """
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    lines = [_BREAKS.sub(" ", text).strip() for text in texts]
    asked = [line for line in lines if line]
    found = _answers(
        asked,
        *("-Xmx1G", "-cp", str(_folder() / _TOKENIZER), "edu.stanford.nlp.process.PTBTokenizer"),
        *("-preserveLines", "-lowerCase"),
    )
    left_out = frozenset(PUNCTUATIONS)
    words = iter(
        " ".join(word for word in line.rstrip().split(" ") if word not in left_out) for line in found
    )
    return [next(words) if line else "" for line in lines]


def _folder() -> Path:
    found = importlib.util.find_spec(_PACKAGE)
    places = None if found is None else found.submodule_search_locations
    assert places, "require_scorers() came first"
    return Path(next(iter(places)))


def _java(*arguments: str, text: str = "") -> str:
    """What Java prints, given ``text``. It has ended when this returns, also by an error."""
    java = shutil.which("java")
    if java is None:
        raise UserError(
            f"{FEATURE} needs Java (the command 'java', version 8 or later), which is not installed; install "
            "a Java runtime, for example OpenJDK 17"
        )
    done = subprocess.run(
        [java, "-Dfile.encoding=UTF-8", *arguments],
        input=text.encode("utf-8", "replace"),
        capture_output=True,
        cwd=tempfile.gettempdir(),
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace") or done.stdout.decode("utf-8", "replace")
        raise UserError(
            f"Java failed (exit status {done.returncode}: {one_line(said, 160) or 'it said nothing'}); "
            f"{FEATURE} needs a Java runtime of version 8 or later and 2 GB of free memory"
        )
    return done.stdout.decode("utf-8", "replace")


def _answers(lines: Sequence[str], *arguments: str) -> list[str]:
    """The line that a Java program answers to each line."""
    if not lines:
        return []
    text = "".join(f"{line}\n" for line in lines)
    found = _java(*arguments, text=text).removesuffix("\n").split("\n")
    if len(found) != len(lines):
        raise UserError(
            f"{FEATURE} failed: a program of {_PACKAGE!r} answered {len(found)} lines to {len(lines)}; "
            "please report it"
        )
    return found


def _bleu(written: Sequence[str], known: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

    found = [
        cook_test(text, cook_refs(those), eff="closest") for text, those in zip(written, known, strict=True)
    ]
    return [
        {
            "bleu_length": one["testlen"],
            "bleu_reference_length": one["reflen"],
            **{f"bleu_written_{order}": one["guess"][order - 1] for order in _ORDERS},
            **{f"bleu_matched_{order}": one["correct"][order - 1] for order in _ORDERS},
        }
        for one in found
    ]


def _bleu_of(sums: Mapping[str, Floats]) -> list[Floats]:
    import numpy as np

    length, reference = (np.asarray(sums[name]) for name in ("bleu_length", "bleu_reference_length"))
    longer = (length + _TINY) / (reference + _SMALL)
    with np.errstate(divide="ignore", over="ignore"):
        penalty = np.where(longer < 1, np.exp(1 - 1 / longer), 1.0)
    precision, scores = np.ones_like(penalty), []
    for order in _ORDERS:
        matched, out_of = np.asarray(sums[f"bleu_matched_{order}"]), np.asarray(sums[f"bleu_written_{order}"])
        precision = precision * ((matched + _TINY) / (out_of + _SMALL))
        scores.append(precision ** (1 / order) * penalty)
    return scores


def _meteor(written: Sequence[str], known: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    lines = [
        f" {_MARK} ".join(["SCORE", *(part.replace(_MARK, "") for part in (*those, text))])
        for text, those in zip(written, known, strict=True)
    ]
    jar = str(_folder() / _METEOR)
    found = _answers(lines, "-Xmx2G", "-jar", jar, "-", "-", "-stdio", "-l", "en", "-norm")
    return [_meteor_sums(line) for line in found]


def _meteor_sums(line: str) -> dict[str, float]:
    """Sums of METEOR's numbers of one caption.

    They are: words of caption and reference; function words of both; for each of four stages matched content
    words of both and matched function words of both; chunks; matched words of both.
    """
    import numpy as np

    numbers = np.array(line.split(), dtype=np.float64)
    if len(numbers) != _STATISTICS:
        raise UserError(
            f"{FEATURE} failed: METEOR answered {one_line(line, 80)!r}, expected {_STATISTICS} numbers; "
            "please report it"
        )
    lengths, functions = numbers[:2], numbers[2:4]
    content, function = numbers[4:20].reshape(4, 2, 2).transpose(1, 0, 2)
    chunks, words = numbers[20], numbers[21:]
    whole = chunks == 1 and bool(np.all((content + function).sum(axis=0) == lengths))
    matched = np.array(_STAGE_WEIGHTS) @ (_DELTA * content + (1 - _DELTA) * function)
    weighted = _DELTA * (lengths - functions) + (1 - _DELTA) * functions
    return {
        "meteor_matched": float(matched[0]),
        "meteor_matched_reference": float(matched[1]),
        "meteor_length": float(weighted[0]),
        "meteor_length_reference": float(weighted[1]),
        "meteor_words": float(words.mean()),
        "meteor_chunks": 0.0 if whole else float(chunks),
    }


def _meteor_of(sums: Mapping[str, Floats]) -> Floats:
    import numpy as np

    precision = ratio(sums["meteor_matched"], sums["meteor_length"])
    recall = ratio(sums["meteor_matched_reference"], sums["meteor_length_reference"])
    mean = ratio(precision * recall, (1 - _ALPHA) * recall + _ALPHA * precision)
    penalty = _GAMMA * ratio(sums["meteor_chunks"], sums["meteor_words"]) ** _BETA
    return np.nan_to_num(mean * (1 - penalty), nan=0.0)


def _means(written: Sequence[str], known: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    results = {at: [text] for at, text in enumerate(written)}
    truths = {at: list(those) for at, those in enumerate(known)}
    _, cider = Cider().compute_score(truths, results)
    _, rouge = Rouge().compute_score(truths, results)
    return [{"cider": float(c), "rouge_l": float(r)} for c, r in zip(cider, rouge, strict=True)]


def _spice(written: Sequence[str], known: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    asked = [
        {"image_id": at, "test": text, "refs": list(those)}
        for at, (text, those) in enumerate(zip(written, known, strict=True))
    ]
    with tempfile.TemporaryDirectory() as name:
        question, answer = Path(name) / "captions.json", Path(name) / "scores.json"
        question.write_text(json.dumps(asked), encoding="utf-8")
        jar = str(_folder() / _SPICE)
        _java("-Xmx8G", "-jar", jar, str(question), "-out", str(answer), "-subset", "-silent")
        scores = {one["image_id"]: one["scores"]["All"]["f"] for one in json.loads(answer.read_text("utf-8"))}
    return [{"spice": float(scores[at])} for at in range(len(written))]
