"""Caption scores agree with pycocoevalcap's own, and nothing that a caption holds breaks them."""

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from imagebind_llm.common.errors import MissingExtraError, UserError
from imagebind_llm.evaluation import caption_scores
from imagebind_llm.evaluation.benchmarks.captioning import COCO
from imagebind_llm.evaluation.caption_scores import (
    caption_metrics,
    caption_sums,
    require_scorers,
    tokenized,
)
from imagebind_llm.evaluation.suite import Item

pytest.importorskip("pycocoevalcap.bleu.bleu", reason="pycocoevalcap is not installed")
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")

PAIRS = [
    ("A dog runs across the grass.", ["A dog runs across the grass.", "A brown dog is running outside."]),
    ("a man rides a horse", ["A man riding a horse on the beach.", "Someone rides horses at the sea."]),
    ("Two cats, sitting on a couch!", ["Two cats sit on the sofa.", 'The "cats" are on a couch.']),
    ("", ["An empty street at night.", "A road."]),
    ("A plate of food with broccoli and rice", ["Broccoli and rice on a plate.", "A meal (with rice)."]),
    ("The the the the the", ["The train is at the station.", "A train waits."]),
    ("it's a photo of\na very large\r\nbuilding", ["A large building.", "It's a tall building's front."]),
    ("a woman ||| holds an umbrella", ["A woman holds an umbrella in the rain.", "A lady in the rain"]),
    ("一只狗在跑", ["一只狗在草地上跑。", "A dog runs."]),
    ("a boat \u2028 on\x85the \x0bwater \x00 \ud800", ["A boat on the water.", "Boats in a lake"]),
    ("...", ["A bird flies.", "..."]),
    ("A kitchen with a stove and a sink " * 40, ["A kitchen with a stove.", "A clean kitchen"]),
]
CAPTIONS = [caption for caption, _ in PAIRS]
REFERENCES = [references for _, references in PAIRS]
METEOR = 0.22275724255582982
METEORS = [
    *(1.0, 0.363166923119682, 0.38369219126180504, 0.0, 0.4369165739006062, 0.08648648648648649),
    *(0.3615198580088721, 0.3316354717558818, 0.29789766402314066, 1.0, 0.0, 0.055495797230119395),
]
"""What pycocoevalcap 1.2's own Meteor says of all, and of each; it takes long to start."""


@pytest.fixture(scope="module")
def found():
    """Sums of a suite's samples, where the fourth answer is none."""
    items = [Item(str(at), {}, references) for at, references in enumerate(REFERENCES)]
    samples = COCO.make().judge(items, [caption or None for caption in CAPTIONS])
    assert all(0 <= sample.score <= 1 for sample in samples)
    return [sample.sums for sample in samples]


def total(samples):
    return {name: np.array(sum(sample[name] for sample in samples)) for name in samples[0]}


def with_java(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a Java of ours first, which says its version and then does ``body``."""
    java = folder / "java"
    java.write_text(f"#!{sys.executable}\nimport sys\nif '-version' in sys.argv: sys.exit(0)\n{body}\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@needs_java
def test_scores_are_those_of_the_package(found):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    results = {at: [text] for at, text in enumerate(tokenized(CAPTIONS))}
    words = iter(tokenized([text for those in REFERENCES for text in those]))
    truths = {at: [next(words) for _ in those] for at, those in enumerate(REFERENCES)}
    bleu, _ = Bleu(4).compute_score(truths, results, verbose=0)
    cider, ciders = Cider().compute_score(truths, results)
    rouge, rouges = Rouge().compute_score(truths, results)

    metrics = {name: float(value) for name, value in caption_metrics(total(found)).items()}
    assert metrics == pytest.approx(
        {
            "CIDEr": cider,
            **{f"BLEU-{order}": score for order, score in enumerate(bleu, start=1)},
            "METEOR": METEOR,
            "ROUGE-L": rouge,
        },
        rel=1e-9,
    )
    assert [sample["cider"] for sample in found] == pytest.approx(list(ciders))
    assert [sample["rouge_l"] for sample in found] == pytest.approx(list(rouges))
    for sample, expected in zip(found, METEORS, strict=True):
        assert float(caption_metrics(total([sample]))["METEOR"]) == pytest.approx(expected, rel=1e-9)


@needs_java
def test_words_are_those_of_the_package():
    from pycocoevalcap.tokenizer import ptbtokenizer

    if not os.access(Path(ptbtokenizer.__file__).parent, os.W_OK):
        pytest.skip("the package's own tokenizer writes into its folder, which cannot be written")
    plain = [text for those in REFERENCES for text in those if text.isascii()]
    theirs = ptbtokenizer.PTBTokenizer().tokenize({at: [{"caption": text}] for at, text in enumerate(plain)})
    assert tokenized(plain) == [theirs[at][0] for at in range(len(plain))]


@needs_java
def test_captions_stay_in_place_whatever_they_hold():
    assert tokenized(
        ["", "A dog.", "...", "\u2028", "a\x85b\nc", "一只狗", "\u200b", 'He said "it\'s"', ""]
    ) == [
        "",
        "a dog",
        "",
        "",
        "a b c",
        "一只狗",
        "",
        "he said it 's",
        "",
    ]


@needs_java
def test_metrics_of_many_draws_at_once(found):
    draws = np.random.default_rng(0).integers(0, len(found), (3, 5, len(found)))
    sums = {name: np.array([sample[name] for sample in found])[draws].sum(-1) for name in found[0]}
    metrics = caption_metrics(sums)
    assert {values.shape for values in metrics.values()} == {(3, 5)}
    one = caption_metrics(total([found[at] for at in draws[2, 4]]))
    for name, values in metrics.items():
        assert values[2, 4] == pytest.approx(float(one[name])), name


@needs_java
def test_a_perfect_caption_and_an_empty_one(found):
    perfect, empty = (caption_metrics(total([found[at]])) for at in (0, 3))
    for name in ("BLEU-1", "BLEU-4", "METEOR", "ROUGE-L"):
        assert float(perfect[name]) == pytest.approx(1, abs=1e-6), name
        assert float(empty[name]) == 0, name
    assert float(empty["CIDEr"]) == 0


def test_no_captions_have_no_metrics():
    names = [*(f"bleu_{part}_{order}" for part in ("matched", "written") for order in (1, 2, 3, 4))]
    names += ["n", "bleu_length", "bleu_reference_length", "cider", "rouge_l"]
    names += [f"meteor_{part}" for part in ("matched", "matched_reference", "length", "length_reference")]
    names += ["meteor_words", "meteor_chunks"]
    assert all(np.isnan(value) for value in caption_metrics(dict.fromkeys(names, np.array(0.0))).values())


@needs_java
def test_references_without_words_are_refused():
    with pytest.raises(UserError, match="no reference caption holds a word"):
        caption_sums(["a dog"], [["...", ""]])


def test_missing_java_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"needs Java .* install a Java runtime"):
        require_scorers()


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    monkeypatch.setitem(sys.modules, "pycocoevalcap.bleu", None)
    monkeypatch.setitem(sys.modules, "pycocoevalcap.bleu.bleu", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'imagebind-llm\[eval\]'"):
        require_scorers()


def test_java_that_does_not_start_is_one_line(monkeypatch, tmp_path):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'Could not reserve enough space' >&2\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(UserError, match="exit status 1: Could not reserve enough space"):
        require_scorers()


def test_a_wrong_number_of_lines_is_refused(monkeypatch, tmp_path):
    with_java(tmp_path, "print('one'); print('two')", monkeypatch)
    with pytest.raises(UserError, match="answered 2 lines to 3"):
        tokenized(["a", "b", "c"])


def test_java_ends_with_the_caller(monkeypatch, tmp_path):
    with_java(
        tmp_path,
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(100)",
        monkeypatch,
    )

    def interrupt(*_):
        raise KeyboardInterrupt

    def press():
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            threading.Event().wait(0.02)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        thread = threading.Thread(target=press)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            tokenized(["a dog"])
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    _, status = os.waitpid(int((tmp_path / "pid").read_text()), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@needs_java
def test_nothing_is_left_on_disk(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    package = Path(caption_scores._folder())
    before = sorted(package.rglob("*"))
    tokenized(["a dog"])
    assert not list(tmp_path.iterdir())
    assert sorted(package.rglob("*")) == before


def test_spice_without_its_parts_says_what_to_get(monkeypatch, tmp_path):
    with_java(tmp_path, "", monkeypatch)
    monkeypatch.setattr(caption_scores, "_SPICE_PARTS", ("spice/lib/absent-models.jar",))
    with pytest.raises(UserError, match=r"put absent-models\.jar of stanford-corenlp-full-2015-12-09\.zip"):
        require_scorers(spice=True)


def test_spice_is_read_by_caption(monkeypatch, tmp_path):
    answer = [{"image_id": at, "scores": {"All": {"f": at / 4}}} for at in (1, 0)]
    with_java(
        tmp_path,
        "asked = __import__('json').load(open(sys.argv[sys.argv.index('-out') - 1]))\n"
        "assert asked[1] == {'image_id': 1, 'test': 'b', 'refs': ['y', 'z']}\n"
        f"open(sys.argv[sys.argv.index('-out') + 1], 'w').write({json.dumps(answer)!r})",
        monkeypatch,
    )
    assert caption_scores._spice(["a", "b"], [["x"], ["y", "z"]]) == [{"spice": 0.0}, {"spice": 0.25}]
