"""Zero-shot classification by embedding: the class whose name lies nearest to a picture, sound, cloud, ….

Each class is embedded as text, in several sentences (see :mod:`.class_names`). The mean of their unit
embeddings, brought to length 1, stands for the class. A medium belongs to the class with the highest cosine.
Instead of texts, ``prototypes`` lets the embeddings of examples stand for a class.

A class counts as found only if it scores higher than all others: a tie is an error. So two classes that are
called alike are never told apart.

Nothing here asks a language model. The published numbers are those of ImageBind-huge, the encoder, and an
upper bound for what a model that sees through it can know.

How ImageBind measured LLVIP, by its paper (Girdhar et al. 2023, appendix): crops of pedestrians, and crops at
random places of the same size and shape, 15,809 in all, 7,931 of persons. The authors made that split
themselves and have not released it (issue 86 of their repository), so numbers here are near to theirs, not
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from imagebind_llm.common.errors import UserError, one_line
from imagebind_llm.evaluation.benchmarks.class_names import find_names, named, templates_of
from imagebind_llm.evaluation.benchmarks.finding import require_data
from imagebind_llm.evaluation.benchmarks.labelled_media import (
    Labelled,
    below,
    read_esc50,
    read_folders,
    read_llvip,
    read_modelnet,
    read_table,
)
from imagebind_llm.evaluation.suite import Answer, Facts, Floats, Item, Sample, Suite, SuiteKind, ratio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_TOP = 5
_AT_ONCE = 1 << 24
"""Numbers in memory at once."""

ClassesOption = Annotated[Path | None, "File of class names: a label, a tab and its name a line."]
TemplatesOption = Annotated[
    Path | None, "File of sentences for class names, one a line, with {} for the name."
]
PerClassOption = Annotated[int, "Examples of each class, the first ones. 0: all."]
PrototypesOption = Annotated[
    Path | None, "Labelled examples, laid out as the data, that stand for the classes instead of their names."
]


class ZeroShot(Suite):
    """Media to classify, and texts (or examples) that stand for the classes.

    Args:
        name: of the suite.
        modality: of the media.
        read: the labelled media at a place.
        classes: file of class names; None: one beside the data, or the labels themselves.
        templates: file of sentences; None: those for the modality.
        per_class: examples of each class; 0: all.
        prototypes: place of examples that stand for the classes; None: their names do.

    Raises:
        UserError: the modality is text, ``per_class`` is negative, or ``templates`` cannot be read.
    """

    asks = "embeddings"
    main = "top1"

    def __init__(
        self,
        name: str,
        modality: str,
        read: Callable[[Path], Labelled],
        classes: Path | None = None,
        templates: Path | None = None,
        per_class: int = 0,
        prototypes: Path | None = None,
    ) -> None:
        if per_class < 0:
            raise UserError(f"{per_class} examples per class; expected 1 or more, or 0 for all")
        if modality == "text":  # a path would be embedded as if it were the text
            raise UserError("files of text cannot be classified here; give another modality")
        self.name = name
        self._modality, self._read = modality, read
        self._classes, self._per_class, self._prototypes = classes, per_class, prototypes
        self._templates = templates_of(modality, templates)

    def items(self, data: Path | None) -> Iterator[Item]:
        """What stands for the classes, then the media to classify.

        Raises:
            UserError: see the readers in :mod:`.labelled_media`, and :func:`.class_names.named`.
        """
        place = require_data(data, self.name, "the folder or table of its media")
        found = self._read(place)
        yield from self._class_items(found, str(place))
        taken: dict[str, int] = {}
        for example in found.examples:
            taken[example.label] = taken.get(example.label, 0) + 1
            if not self._per_class or taken[example.label] <= self._per_class:
                yield Item(
                    example.key,
                    {self._modality: example.source},
                    {"class": example.label},
                    example.group,
                    example.unit,
                )

    def _class_items(self, found: Labelled, where: str) -> Iterator[Item]:
        if self._prototypes is not None:
            if self._prototypes.resolve() == Path(where).resolve():
                raise UserError(f"the prototypes are the data, {where!r}; give other examples of the classes")
            yield from self._prototype_items(self._prototypes, found.labels)
            return
        file = self._classes or find_names(found.places)
        if found.numbered and file is None:
            raise UserError(
                f"the labels in {where!r} are numbers; give --classes FILE with a number, a tab and a name a "
                "line, or --label with a column of words"
            )
        for label, names in named(found.labels, file, repr(where)).items():
            for name in names:
                for number, template in enumerate(self._templates):
                    yield Item(
                        f"class {label}: {name}: {number}",
                        {"text": template.replace("{}", name)},
                        {"stands_for": label, "name": name},
                        always=True,
                    )

    def _prototype_items(self, place: Path, labels: Sequence[str]) -> Iterator[Item]:
        found = self._read(place)
        lacking = next((label for label in labels if label not in found.labels), None)
        if lacking is not None:
            raise UserError(f"the prototypes in {str(place)!r} have no class {lacking!r}; add examples of it")
        for example in found.examples:
            yield Item(
                f"prototype {example.key}",
                {self._modality: example.source},
                {"stands_for": example.label, "name": example.label},
                always=True,
            )

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """Compare every medium with every class.

        Raises:
            UserError: something that stands for a class could not be embedded, or nothing stands for one.
        """
        import numpy as np

        classes, names, owners = _classes_of(items, answers)
        place = {label: number for number, label in enumerate(classes)}
        samples = [Sample({})] * len(items)
        asked = [number for number, item in enumerate(items) if "class" in item.expected]
        for number in asked:
            label = items[number].expected["class"]
            if label not in place:
                raise UserError(
                    f"suite {self.name!r}: nothing stands for class {label!r} among the items asked; ask "
                    "those too"
                )
        step = max(1, _AT_ONCE // max(names.shape))
        for at in range(0, len(asked), step):
            some = asked[at : at + step]
            rows = [_row(answers[number], names.shape[1]) for number in some]
            # the names of a class stand together; the best of them counts
            scores = np.maximum.reduceat(np.stack(rows) @ names.T, owners, axis=1)
            truth = np.array([place[items[number].expected["class"]] for number in some])
            own = np.take_along_axis(scores, truth[:, None], axis=1)
            # not "how many score as high": nothing is lower than the NaN of what could not be embedded
            ahead = (~(scores < own)).sum(axis=1) - 1
            best = scores.argmax(axis=1)
            for number, rank, choice in zip(some, ahead, best, strict=True):
                read = None if answers[number] is None else classes[choice]
                samples[number] = _sample(items[number].expected["class"], int(rank), len(classes), read)
        return samples

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """``top1``, ``top5`` (of more than five classes), ``mean_per_class`` and ``chance``, all 0 … 1.

        ``mean_per_class`` is the mean over classes of the share of their examples that is found; a class
        without an example (in a draw) is left out. ``chance`` is ``top1`` of guessing.
        """
        import numpy as np

        count = sums.get("n", 0.0)
        found = {"top1": ratio(sums.get("top1", 0.0), count)}
        if "top5" in sums:
            found["top5"] = ratio(sums["top5"], count)
        total, present = np.zeros(np.shape(count)), np.zeros(np.shape(count))
        for name, examples in sums.items():
            if name.startswith("n:"):
                share = ratio(sums.get(f"top1:{name[2:]}", 0.0), examples)
                total += np.nan_to_num(share)
                present += ~np.isnan(share)
        found["mean_per_class"] = ratio(total, present)
        found["chance"] = ratio(sums.get("chance", 0.0), count)
        return found


def _classes_of(
    items: Sequence[Item], answers: Sequence[Answer]
) -> tuple[list[str], NDArray[np.float64], NDArray[np.intp]]:
    """Classes, the unit rows of their names ``[M, D]``, and where the names of each class begin ``[K]``."""
    import numpy as np

    rows: dict[str, dict[str, list[Floats]]] = {}
    for item, answer in zip(items, answers, strict=True):
        if "stands_for" not in item.expected:
            continue
        if answer is None or isinstance(answer, str):
            medium = "text" if "text" in item.request else next(iter(item.request))
            raise UserError(
                f"{one_line(item.key)!r}, which stands for a class, could not be embedded; classification "
                f"needs an encoder that takes {medium}"
                + (
                    "; without one, give examples with --prototypes where the suite has it"
                    * (medium == "text")
                )
            )
        rows.setdefault(item.expected["stands_for"], {}).setdefault(item.expected["name"], []).append(answer)
    if not rows:
        raise UserError("nothing that stands for a class is among the items asked; ask all items")
    means: list[NDArray[np.float64]] = []
    owners: list[int] = []
    for names in rows.values():
        owners.append(len(means))
        for several in names.values():
            mean = np.asarray(several, np.float64).mean(axis=0)
            means.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
    return list(rows), np.stack(means), np.array(owners)


def _row(answer: Answer, size: int) -> NDArray[np.float64]:
    import numpy as np

    if answer is None or isinstance(answer, str):
        return np.full(size, np.nan)
    return np.asarray(answer, np.float64)


def _sample(label: str, ahead: int, classes: int, read: str | None) -> Sample:
    """What an example adds, if ``ahead`` of the other classes score as high as its own."""
    right = ahead < 1
    sums = {"n": 1, "top1": right, "chance": 1 / classes, f"n:{label}": 1, f"top1:{label}": right}
    if classes > _TOP:
        sums["top5"] = ahead < _TOP
    return Sample(sums, read, float(right))


def _folders(
    classes: ClassesOption = None,
    templates: TemplatesOption = None,
    modality: Annotated[
        str, "What the files are: image, video, audio, point, depth, thermal, imu, …"
    ] = "image",
    per_class: PerClassOption = 0,
    prototypes: PrototypesOption = None,
) -> Suite:
    """Classify the files in a folder of folders, one for each class, of any modality."""
    return ZeroShot(
        "folders",
        modality,
        lambda data: read_folders(data, modality),
        classes,
        templates,
        per_class,
        prototypes,
    )


def _labelled_table(
    classes: ClassesOption = None,
    templates: TemplatesOption = None,
    modality: Annotated[str, "What the media are: image, audio, point, …"] = "image",
    column: Annotated[str, "Column of the media. Default: called as the modality."] = "",
    label: Annotated[str, "Column of the class, words or whole numbers."] = "label",
    split: Annotated[str, "In a folder, the file SPLIT.parquet is read."] = "test",
    per_class: PerClassOption = 0,
    prototypes: PrototypesOption = None,
) -> Suite:
    """Classify the media in a table."""
    return ZeroShot(
        "labelled-table",
        modality,
        lambda data: read_table(data, modality, column or None, label, split),
        classes,
        templates,
        per_class,
        prototypes,
    )


def _imagenet(
    classes: ClassesOption = None, templates: TemplatesOption = None, per_class: PerClassOption = 0
) -> Suite:
    """Classify ImageNet's validation pictures."""
    return ZeroShot(
        "imagenet",
        "image",
        lambda data: read_folders(below(data, "val"), "image"),
        classes,
        templates,
        per_class,
    )


def _esc50(
    fold: Annotated[int, "Fold 1 to 5. 0: all five; each is reported too."] = 0,
    classes: ClassesOption = None,
    templates: TemplatesOption = None,
    per_class: PerClassOption = 0,
) -> Suite:
    """Classify ESC-50's clips of environmental sound."""
    return ZeroShot("esc50", "audio", lambda data: read_esc50(data, fold), classes, templates, per_class)


def _modelnet40(
    classes: ClassesOption = None,
    templates: TemplatesOption = None,
    split: Annotated[Literal["test", "train"], "Which part."] = "test",
    per_class: PerClassOption = 0,
) -> Suite:
    """Classify ModelNet's shapes (of 40 classes, or of 10)."""
    return ZeroShot(
        "modelnet40", "point", lambda data: read_modelnet(data, split), classes, templates, per_class
    )


def _scenes(name: str) -> Callable[..., Suite]:
    def make(
        classes: ClassesOption = None, templates: TemplatesOption = None, per_class: PerClassOption = 0
    ) -> Suite:
        """Classify depth maps of rooms by the kind of room."""
        return ZeroShot(
            name,
            "depth",
            lambda data: read_folders(below(data, "test"), "depth"),
            classes,
            templates,
            per_class,
        )

    return make


def _llvip(
    classes: ClassesOption = None,
    templates: TemplatesOption = None,
    split: Annotated[Literal["test", "train"], "Which part."] = "test",
    per_class: PerClassOption = 0,
) -> Suite:
    """Tell persons from background in crops of LLVIP's infrared pictures."""
    return ZeroShot("llvip", "thermal", lambda data: read_llvip(data, split), classes, templates, per_class)


def _ego4d_imu(
    classes: ClassesOption = None, templates: TemplatesOption = None, per_class: PerClassOption = 0
) -> Suite:
    """Classify Ego4D's inertial recordings by what their wearer does."""
    return ZeroShot(
        "ego4d-imu", "imu", lambda data: read_folders(data, "imu", units=True), classes, templates, per_class
    )


_METRIC = "top-1 accuracy; top-5, mean of the classes' accuracies, chance"
_OF_THE_ENCODER = "ImageBind-huge (the encoder, no language model): {} (ImageBind's model card)"

FOLDERS = SuiteKind(
    summary="Zero-shot classification of a folder of folders, any modality.",
    examples="imagebind-llm eval folders --data sounds --modality audio",
    make=_folders,
    facts=Facts(
        "CLASS/*.jpg (.wav, .ply, …): a folder for each class; classes.txt (label, tab, name) if they are "
        "called otherwise",
        _METRIC,
        "your own data",
        "your own",
    ),
)

LABELLED_TABLE = SuiteKind(
    summary="Zero-shot classification of the media in a table.",
    examples="imagebind-llm eval labelled-table --data cifar10/test.parquet --modality image",
    make=_labelled_table,
    facts=Facts(
        "a .parquet, .csv, .tsv or .jsonl, or a folder with test.parquet: a column of media (paths; in "
        "Parquet also bytes) and one of labels",
        _METRIC,
        "your own data, or an export of Hugging Face datasets",
        "your own",
    ),
)

IMAGENET = SuiteKind(
    summary="ImageNet-1k: zero-shot classification of photographs.",
    examples="imagebind-llm eval imagenet --data imagenet",
    make=_imagenet,
    facts=Facts(
        "val/n01440764/*.JPEG, a folder for each class, and LOC_synset_mapping.txt or classes.txt beside it",
        _METRIC,
        "https://www.image-net.org (ILSVRC 2012)",
        "non-commercial research and education",
        _OF_THE_ENCODER.format("77.7 top-1 with OpenAI's 80 sentences; ours are 8"),
    ),
)

ESC50 = SuiteKind(
    summary="ESC-50: zero-shot classification of environmental sounds.",
    examples="imagebind-llm eval esc50 --data ESC-50-master",
    make=_esc50,
    facts=Facts(
        "meta/esc50.csv, audio/*.wav",
        _METRIC + "; by fold",
        "https://github.com/karolpiczak/ESC-50",
        "CC BY-NC 3.0",
        _OF_THE_ENCODER.format("66.9 top-1") + "; 66.4 when MTEB ran it again",
    ),
)

MODELNET40 = SuiteKind(
    summary="ModelNet40: zero-shot classification of 3D shapes.",
    examples="imagebind-llm eval modelnet40 --data ModelNet40",
    make=_modelnet40,
    facts=Facts(
        "CLASS/test/*.off; or modelnet40_normal_resampled with modelnet40_test.txt and CLASS/CLASS_0001.txt",
        _METRIC,
        "https://modelnet.cs.princeton.edu",
        "academic research (the shapes belong to their authors)",
    ),
)

NYU_DEPTH = SuiteKind(
    summary="NYU-Depth v2: zero-shot classification of rooms from depth.",
    examples="imagebind-llm eval nyu-depth --data nyu",
    make=_scenes("nyu-depth"),
    facts=Facts(
        "test/CLASS/*.png (16-bit millimetres) or *.npy (metres): depth maps of nyu_depth_v2_labeled.mat by "
        "kind of room; a class such as 'others' may have several names in classes.txt (others, tab, "
        "study | foyer | …)",
        _METRIC,
        "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
        "not stated",
        _OF_THE_ENCODER.format("54.0 top-1, 10 classes"),
    ),
)

SUN_RGBD = SuiteKind(
    summary="SUN RGB-D: zero-shot classification of rooms from depth.",
    examples="imagebind-llm eval sun-rgbd --data sunrgbd",
    make=_scenes("sun-rgbd"),
    facts=Facts(
        "test/CLASS/*.npy (metres) or *.png (16-bit millimetres). The data set's own PNGs have their bits "
        "turned: bring them back (v >> 3 | v << 13), or set the model's depth image_encoding to sunrgbd",
        _METRIC,
        "https://rgbd.cs.princeton.edu",
        "not stated",
    ),
)

LLVIP = SuiteKind(
    summary="LLVIP: persons or background in infrared, zero-shot.",
    examples="imagebind-llm eval llvip --data LLVIP",
    make=_llvip,
    facts=Facts(
        "infrared/test/*.jpg, Annotations/*.xml (Pascal VOC); crops are made from them",
        _METRIC,
        "https://bupt-ai-cz.github.io/LLVIP",
        "non-commercial",
        _OF_THE_ENCODER.format("63.4 top-1, on crops of its own that were not released"),
    ),
)

EGO4D_IMU = SuiteKind(
    summary="Ego4D: zero-shot classification of what a wearer does, from IMU.",
    examples="imagebind-llm eval ego4d-imu --data ego4d",
    make=_ego4d_imu,
    facts=Facts(
        "SCENARIO/VIDEO_START.csv: excerpts of 5 s, six columns (m/s², rad/s) and time; a folder for each "
        "scenario",
        _METRIC,
        "https://ego4d-data.org",
        "Ego4D licence (signed)",
        _OF_THE_ENCODER.format("25.0 top-1, 108 scenarios, on a split of its own"),
    ),
)
