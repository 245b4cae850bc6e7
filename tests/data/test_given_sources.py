"""What is given to the data commands: files of the same name, recipes; the message when nothing is good."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from source_samples import pictures

from imagebind_llm.cli.data_sources import read_sources
from imagebind_llm.data.errors import TrainingDataError
from imagebind_llm.data.mixture import SourceMixture
from imagebind_llm.data.sources import SourceSettings, open_source


def table(folder: Path) -> Path:
    pictures(folder)
    path = folder / "captions.tsv"
    path.write_text("url\tcaption\n0.png\ta caption\n")
    return path


def test_files_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    paths = [table(tmp_path / part) for part in ("a/x", "b/x", "c")]
    sources = read_sources([str(path) for path in paths])
    assert [source.label for source in sources] == ["a/x/captions.tsv", "b/x/captions.tsv", "c/captions.tsv"]
    mixture = SourceMixture([open_source(source, tmp_path / "index") for source in sources], [1, 1, 1])
    assert {mixture.draw(np.random.default_rng(seed)).source for seed in range(30)} == {
        source.label for source in sources
    }
    assert [source.name for source in read_sources([str(paths[0]), str(paths[0])])] == [None, None]


def test_a_recipe_names_its_sources(tmp_path: Path) -> None:
    listed = [{"kind": "tsv", "path": "x.tsv", "weight": 2}]
    for number, values in enumerate(({"sources": listed}, {"stage": "bind", "data": {"sources": listed}})):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(values))
        assert read_sources([str(path)]) == (SourceSettings("tsv", "x.tsv", 2.0),)


def test_when_nothing_is_good_the_last_reason_is_told(tmp_path: Path) -> None:
    pictures(tmp_path / "pictures")
    source = open_source(SourceSettings("folder", str(tmp_path / "pictures")), tmp_path / "index")
    with pytest.raises(
        TrainingDataError, match=r"none of 12 samples is good .*the last: .*no caption: neither"
    ):
        list(SourceMixture([source], [1]).iterate())
