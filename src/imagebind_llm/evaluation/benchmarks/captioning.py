"""Captions of pictures: COCO, NoCaps, Flickr30k and Flickr8k, scored by CIDEr, BLEU, METEOR and ROUGE-L.

Scores are those of ``pycocoevalcap`` (:mod:`imagebind_llm.evaluation.caption_scores`), in per cent as papers
print them; CIDEr can be above 100. CIDEr's document frequencies are those of the references of all pictures
that were asked, also for a group of them. An answer is scored as it is, and none as an empty caption.

The question is that of LVLM-eHub, "Generate caption of this image:". LVLM-eHub cuts answers after 16 tokens
and skips the tokenizer; here they may have 64 tokens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.evaluation.benchmarks.finding import Media, find_table, require_data
from imagebind_llm.evaluation.benchmarks.questions import Question
from imagebind_llm.evaluation.benchmarks.reading import Row, by_id, json_object, text_lines
from imagebind_llm.evaluation.caption_scores import caption_metrics, caption_sums, require_scorers
from imagebind_llm.evaluation.suite import Answer, Facts, Floats, Item, Sample, Suite, SuiteKind

LONGEST = 64
"""Tokens of a caption."""
METRIC = "CIDEr, BLEU-1 … 4, METEOR, ROUGE-L; SPICE with --spice"
IMAGE_QUESTION = "Generate caption of this image:"
_TEST = "image", "images", "val2014", "train2014", "val2017", "train2017"

Spice = Annotated[bool, "Score SPICE too; needs Stanford CoreNLP 3.6.0, which is never downloaded for you"]
Split = Annotated[str, "The part of the data that is asked, as its file calls it"]


@dataclass
class Captioned:
    """A medium, and what people wrote about it.

    Attributes:
        key: its id.
        file: where it is.
        references: their captions.
        group: the part of the benchmark that it belongs to.
    """

    key: str
    file: str
    references: list[str] = field(default_factory=list)
    group: str = ""


class CaptionSuite(Suite):
    """Media that are to be described in a sentence.

    Args:
        name: of the benchmark.
        modality: of its media.
        question: what is asked of each.
        read: the media of the file or folder that the user gave, each key once.
        layout: what ``read`` needs, for messages.
        spice: score SPICE too.
    """

    main = "CIDEr"

    def __init__(
        self,
        name: str,
        modality: str,
        question: str,
        read: Callable[[Path], Iterator[Captioned]],
        layout: str,
        spice: bool = False,
    ) -> None:
        self.name, self._modality, self._question = name, modality, question
        self._read, self._layout, self._spice = read, layout, spice

    def items(self, data: Path | None) -> Iterator[Item]:
        require_scorers(self._spice)
        for one in self._read(require_data(data, self.name, self._layout)):
            if not any(text.strip() for text in one.references):
                raise UserError(f"{one.file!r} has no caption to compare with; expected at least one")
            request = {"question": self._question, self._modality: one.file, "max_new_tokens": LONGEST}
            yield Item(one.key, request, one.references, one.group)

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        texts = [answer if isinstance(answer, str) else "" for answer in answers]
        sums = caption_sums(texts, [item.expected for item in items], self._spice)
        return [Sample(of_one, None, of_one["rouge_l"]) for of_one in sums]

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        return caption_metrics(sums)


def read_coco(table: Path, *folders: str) -> Iterator[Captioned]:
    """Pictures of a file in COCO's format: ``images`` and ``annotations``.

    Raises:
        UserError: it is no such file, or a picture is not there.
    """
    media, content = Media(table, *folders), json_object(table)
    found = {
        key: Captioned(
            key,
            media.path(image.where, image.text("file_name")),
            group=str(image.values.get("domain") or ""),
        )
        for key, image in by_id(content.rows("images"), "id").items()
    }
    for annotation in content.rows("annotations"):
        key, caption = coco_caption(annotation)
        if key not in found:
            raise annotation.refused("image_id", "one of the file's images")
        found[key].references.append(caption)
    yield from found.values()


def coco_caption(annotation: Row) -> tuple[str, str]:
    """Of an annotation in COCO's format the id of its picture, and the caption.

    Raises:
        UserError: it has none.
    """
    return annotation.id("image_id"), annotation.text("caption", empty=True)


def read_karpathy(table: Path, split: str, *folders: str) -> Iterator[Captioned]:
    """Pictures of a file ``dataset_….json`` of Karpathy and Fei-Fei (2015): ``images`` with ``sentences``.

    Raises:
        UserError: it is no such file, or holds nothing of ``split``, or a picture is not there.
    """
    media, splits = Media(table, *folders), set[str]()
    for image in json_object(table).rows("images"):
        splits.add(image.text("split"))
        if image.text("split") != split:
            continue
        name = image.text("filename")
        names = [f"{image.text('filepath')}/{name}"] if image.values.get("filepath") else []
        key = image.id("cocoid") if "cocoid" in image.values else name
        texts = [sentence.text("raw", empty=True) for sentence in image.rows("sentences")]
        yield Captioned(key, media.path(image.where, *names, name), texts)
    if split not in splits:
        raise UserError(f"{str(table)!r} has no split {short(split)}; it has: {', '.join(sorted(splits))}")


def _coco(split: str) -> Callable[[Path], Iterator[Captioned]]:
    def read(data: Path) -> Iterator[Captioned]:
        table = find_table(data, "dataset_coco.json", "captions_val2014.json", "captions_*.json")
        if table.name.startswith("dataset_"):
            return read_karpathy(table, split, *_TEST)
        return read_coco(table, *_TEST)

    return read


_COCO = "dataset_coco.json (Karpathy's split) or captions_val2014.json, and val2014/ with the pictures"


def _make_coco(question: Question = IMAGE_QUESTION, split: Split = "test", spice: Spice = False) -> Suite:
    """Describe photos of COCO in a sentence.

    With dataset_coco.json its test split of 5,000 photos is asked, which papers report; with
    captions_val2014.json all photos in it.
    """
    return CaptionSuite("coco-caption", "image", question, _coco(split), _COCO, spice)


_NOCAPS = "nocaps_val_4500_captions.json, and a folder with the pictures (images/, val_imgs/ or val/)"


def _make_nocaps(question: Question = IMAGE_QUESTION, spice: Spice = False) -> Suite:
    """Describe photos of NoCaps in a sentence; results by domain too (in-, near-, out-domain)."""

    def read(data: Path) -> Iterator[Captioned]:
        table = find_table(data, "nocaps_val_4500_captions.json", "nocaps_*.json")
        return read_coco(table, "images", "val_imgs", "val", "validation")

    return CaptionSuite("nocaps", "image", question, read, _NOCAPS, spice)


_FLICKR30K = "dataset_flickr30k.json (Karpathy's split), and flickr30k-images/ (or images/)"


def _make_flickr30k(
    question: Question = IMAGE_QUESTION, split: Split = "test", spice: Spice = False
) -> Suite:
    """Describe the 1,000 test photos of Flickr30k (Karpathy's split) in a sentence."""

    def read(data: Path) -> Iterator[Captioned]:
        table = find_table(data, "dataset_flickr30k.json", "dataset*.json")
        return read_karpathy(table, split, *_FLICKR_FOLDERS)

    return CaptionSuite("flickr30k", "image", question, read, _FLICKR30K, spice)


_FLICKR_FOLDERS = (
    "flickr30k-images",
    "flickr30k_images",
    "Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "images",
    "Images",
)
_FLICKR8K = (
    "Flickr8k.token.txt and Flickr_8k.testImages.txt, or dataset_flickr8k.json (Karpathy's split), and "
    "Flicker8k_Dataset/ (or images/)"
)


def _make_flickr8k(question: Question = IMAGE_QUESTION, split: Split = "test", spice: Spice = False) -> Suite:
    """Describe the 1,000 test photos of Flickr8k in a sentence.

    Flickr8k.token.txt is read with the list of the split beside it (Flickr_8k.testImages.txt).
    """

    def read(data: Path) -> Iterator[Captioned]:
        table = find_table(data, "dataset_flickr8k.json", "Flickr8k.token.txt")
        if table.suffix == ".json":
            return read_karpathy(table, split, *_FLICKR_FOLDERS)
        return _read_tokens(table, table.parent / f"Flickr_8k.{split}Images.txt")

    return CaptionSuite("flickr8k", "image", question, read, _FLICKR8K, spice)


def _read_tokens(table: Path, chosen: Path) -> Iterator[Captioned]:
    """Pictures of Flickr8k's own files: lines ``NAME#NUMBER<tab>caption``, and a list of names."""
    media = Media(table, *_FLICKR_FOLDERS)
    references: dict[str, list[str]] = {}
    for where, line in text_lines(table):
        name, mark, caption = line.partition("\t")
        name, number, _ = name.partition("#")
        if not mark or not number:
            raise UserError(f"{where} is {short(line)}; expected NAME.jpg#NUMBER, a tab and a caption")
        references.setdefault(name.strip(), []).append(caption)
    for where, line in text_lines(chosen):
        name = line.strip()
        if name not in references:
            raise UserError(f"{where} names {short(name)}, of which {str(table)!r} has no caption")
        yield Captioned(name, media.path(where, name), references[name])


_EXAMPLES = "imagebind-llm eval {0} --data {0}/ --model nano\nimagebind-llm eval {0} --data {0}/ --spice"

COCO = SuiteKind(
    summary="Captions of COCO photos.",
    examples=_EXAMPLES.format("coco-caption"),
    make=_make_coco,
    facts=Facts(
        layout=_COCO,
        metric=METRIC,
        source="cocodataset.org; cs.stanford.edu/people/karpathy/deepimagesent for the split",
        licence="captions CC BY 4.0; photos under Flickr's terms",
    ),
)
NOCAPS = SuiteKind(
    summary="Captions of photos with objects that COCO does not know.",
    examples=_EXAMPLES.format("nocaps"),
    make=_make_nocaps,
    facts=Facts(
        layout=_NOCAPS,
        metric=f"{METRIC}; by domain",
        source="nocaps.org; photos of Open Images",
        licence="captions CC BY 2.0; photos CC BY 2.0",
    ),
)
FLICKR30K = SuiteKind(
    summary="Captions of Flickr30k photos.",
    examples=_EXAMPLES.format("flickr30k"),
    make=_make_flickr30k,
    facts=Facts(
        layout=_FLICKR30K,
        metric=METRIC,
        source="shannon.cs.illinois.edu/DenotationGraph; cs.stanford.edu/people/karpathy/deepimagesent",
        licence="non-commercial research and education; photos under Flickr's terms",
    ),
)
FLICKR8K = SuiteKind(
    summary="Captions of Flickr8k photos.",
    examples=_EXAMPLES.format("flickr8k"),
    make=_make_flickr8k,
    facts=Facts(
        layout=_FLICKR8K,
        metric=METRIC,
        source="on request from the University of Illinois (Hodosh, Young and Hockenmaier 2013)",
        licence="non-commercial research and education; photos under Flickr's terms",
    ),
)
