"""What can be fetched: packages with their exact content, licences, and who writes them anew."""

from collections.abc import Mapping
from dataclasses import dataclass

from imagebind_llm.checkpoints.packages.package import Package


@dataclass(frozen=True)
class DataSet:
    """A data set to fetch.

    Attributes:
        what: one line: content and numbers.
        licence: of the content, in a few words.
        terms: more about it, one line.
        packages: where it comes from.
        members: patterns of the files that are taken out of the packages; ``*`` stands for slashes too.
        licences: patterns of those that state the licence; they are copied to ``licences/``.
        writer: module of this package with a function ``write(unpacked, out)``.
        svg: whether drawings must be rendered, which takes an extra.
    """

    what: str
    licence: str
    terms: str
    packages: tuple[Package, ...]
    members: tuple[str, ...]
    licences: tuple[str, ...]
    writer: str
    svg: bool = False

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(package.size for package in self.packages)


CATALOGUE: Mapping[str, DataSet] = {
    "tux-paint": DataSet(
        what="946 pictures (many are photographs) with captions in up to 78 languages, 134 with a sound of "
        "their own, and captions read aloud: the stamps of Tux Paint",
        licence="GPL-2",
        terms="The pictures and sounds are under the same licence as the program.",
        packages=(
            Package(
                "debian",
                "tuxpaint-stamps-default",
                "2022.06.04-1",
                "pool/main/t/tuxpaint-stamps/tuxpaint-stamps-default_2022.06.04-1_all.deb",
                160880444,
                "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
            ),
        ),
        members=("usr/share/tuxpaint/stamps/*",),
        licences=("usr/share/doc/*/copyright",),
        writer="stamps",
        svg=True,
    ),
    "sweet-home": DataSet(
        what="820 models of furniture (OBJ) with names in up to 21 languages, categories and a rendered "
        "picture each: furniture of Sweet Home 3D",
        licence="CC-BY-3.0, CC0",
        terms="Name the makers: the column creator of points.jsonl, and the licence files beside the models.",
        packages=(
            Package(
                "debian",
                "sweethome3d-furniture",
                "1.8-1",
                "pool/main/s/sweethome3d-furniture/sweethome3d-furniture_1.8-1_all.deb",
                119782356,
                "3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668",
            ),
        ),
        members=("*.sh3f",),
        licences=("usr/share/doc/*/copyright",),
        writer="furniture",
    ),
    "openclipart": DataSet(
        what="7,104 drawings with titles and keywords: Open Clip Art Library 0.18",
        licence="public domain",
        terms="Dedicated to the public domain by those who drew them.",
        packages=(
            Package(
                "debian",
                "openclipart-svg",
                "1:0.18+dfsg-19",
                "pool/main/o/openclipart/openclipart-svg_0.18+dfsg-19_all.deb",
                24919068,
                "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
            ),
        ),
        members=("*.svg",),
        licences=("usr/share/doc/*/copyright",),
        writer="clipart",
        svg=True,
    ),
    "asterisk-en": DataSet(
        what="568 prompts of a telephone exchange, spoken by one voice, with transcripts: Asterisk's sounds",
        licence="CC-BY-SA-3.0",
        terms="Recorded by Allison Smith; what is made of them stays under the same licence.",
        packages=(
            Package(
                "debian",
                "asterisk-core-sounds-en-wav",
                "1.6.1-1",
                "pool/main/a/asterisk-core-sounds/asterisk-core-sounds-en-wav_1.6.1-1_all.deb",
                18272864,
                "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
            ),
            Package(
                "debian",
                "asterisk-core-sounds-en",
                "1.6.1-1",
                "pool/main/a/asterisk-core-sounds/asterisk-core-sounds-en_1.6.1-1_all.deb",
                22844,
                "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
            ),
        ),
        members=("usr/share/asterisk/sounds/*.wav", "*/core-sounds-en.txt.gz"),
        licences=("usr/share/doc/asterisk-core-sounds-en-wav/copyright",),
        writer="prompts",
    ),
    "imagenet-words": DataSet(
        what="names, meanings and more general words of ImageNet's 1,000 classes: the list is timm's, the "
        "words are WordNet's (3.0)",
        licence="WordNet licence; Apache-2.0 (the list)",
        terms="WordNet is free for any use with its notice kept.",
        packages=(
            Package(
                "pypi",
                "timm",
                "1.0.31",
                "timm-1.0.31-py3-none-any.whl",
                2798714,
                "5bd50f7d0fe6d09bf9285ac2523234a1b7e6bf075c0be3e7aed09139fcb617c7",
            ),
            Package(
                "debian",
                "wordnet-base",
                "1:3.0-37",
                "pool/main/w/wordnet/wordnet-base_3.0-37_all.deb",
                6467132,
                "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
            ),
        ),
        members=("timm/data/_info/imagenet_synsets.txt", "usr/share/wordnet/data.noun"),
        licences=("*.dist-info/licenses/LICENSE", "usr/share/doc/*/copyright"),
        writer="words",
    ),
    "sonic-pi": DataSet(
        what="165 named sounds of instruments, machines and rooms in 14 groups: the samples of Sonic Pi",
        licence="CC0",
        terms="Each from a page of freesound.org, which labels.csv names where the package does.",
        packages=(
            Package(
                "debian",
                "sonic-pi-samples",
                "3.2.2~repack-8",
                "pool/main/s/sonic-pi/sonic-pi-samples_3.2.2~repack-8_all.deb",
                21882696,
                "25f2312d2fae005e6ad0f4726b8ed3084e776006a5a132083506e960224ac79d",
            ),
        ),
        members=("usr/share/sonic-pi/samples/*",),
        licences=("usr/share/doc/*/copyright",),
        writer="samples",
    ),
    "fluent-emoji": DataSet(
        what="1,360 pictures of emoji with their Unicode names: Fluent Emoji, rendered in 3D",
        licence="MIT",
        terms="Drawn by Microsoft, packed by LobeHub; names are those of Unicode's character data.",
        packages=(
            Package(
                "npm",
                "@lobehub/fluent-emoji-3d",
                "1.1.0",
                "@lobehub/fluent-emoji-3d/-/fluent-emoji-3d-1.1.0.tgz",
                15792027,
                "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
            ),
        ),
        members=("package/assets/*.webp",),
        licences=("package/package.json", "package/README.md"),
        writer="emoji",
    ),
    "watch-exercises": DataSet(
        what="140 recordings of a watch's accelerometer and gyroscope: seven shoulder exercises, ten people",
        licence="BSD-3-Clause",
        terms="Please cite Burns et al. 2018, arXiv:1802.01489.",
        packages=(
            Package(
                "pypi",
                "seglearn",
                "1.2.5",
                "seglearn-1.2.5-py3-none-any.whl",
                11320941,
                "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
            ),
        ),
        members=("seglearn/data/watch_dataset.npy",),
        licences=("*.dist-info/LICENSE",),
        writer="exercises",
    ),
    "basic-motions": DataSet(
        what="80 recordings of a watch's accelerometer and gyroscope: standing, walking, running, badminton",
        licence="BSD-3-Clause",
        terms="The licence is the package's; the recordings are those of the UEA archive (timeseries"
        "classification.com), which states none of its own.",
        packages=(
            Package(
                "pypi",
                "aeon",
                "1.6.0",
                "aeon-1.6.0-py3-none-any.whl",
                6421000,
                "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
            ),
        ),
        members=("aeon/datasets/data/BasicMotions/BasicMotions_*.ts",),
        licences=("*.dist-info/licenses/LICENSE",),
        writer="motions",
    ),
    "easy-vqa": DataSet(
        what="48,248 questions about 5,000 made pictures of one shape each, in 13 answers: easy-VQA",
        licence="MIT",
        terms="Made by a program; no photographs.",
        packages=(
            Package(
                "pypi",
                "easy-vqa",
                "1.0",
                "easy_vqa-1.0-py3-none-any.whl",
                3215672,
                "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f",
            ),
        ),
        members=("easy_vqa/data/*/images/*.png", "easy_vqa/data/*/questions.json"),
        licences=("*.dist-info/LICENSE",),
        writer="shapes",
    ),
}
"""Name → data set."""
