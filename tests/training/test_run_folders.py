"""A run's folder: nothing that no run has written is replaced or removed, whatever ``run.resume`` says."""

from pathlib import Path

import pytest
from support.builders import make

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.training.checkpoint import claim_run_folder, list_checkpoints, start_over
from imagebind_llm.training.loop import train

RUN = {"steps": 2, "checkpoint_every": 1, "samples": 1, "evaluate_every": 1}


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.txt")}


@pytest.mark.parametrize("resume", ["auto", "never", "force"])
@pytest.mark.parametrize(
    "name",
    [
        "export/thesis.txt",
        "checkpoints/step-00000001/thesis.txt",
        "samples/x.txt",
        "recipe.yaml",
        "metrics.jsonl",
    ],
)
def test_a_folder_that_no_run_has_made_is_refused(resume: str, name: str, tmp_path: Path) -> None:
    stage, recipe = make("language", tmp_path / "mine", tmp_path / "inputs", run={**RUN, "resume": resume})
    file = tmp_path / "mine" / name
    file.parent.mkdir(parents=True)
    file.write_text("years of work")
    with pytest.raises(ConfigError, match=f"holds '{name.partition('/')[0]}', which is not known to be ours"):
        train(stage, recipe)
    assert [path for path in (tmp_path / "mine").rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "years of work"


def test_files_that_are_in_no_ones_way_stay(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.txt").write_text("mine")
    for resume in ("auto", "never"):
        result = train(*make("language", folder, tmp_path / "inputs", run={**RUN, "resume": resume}))
        assert (result.finished, result.step) == (True, 2)
    for name in ("samples/mine.txt", "checkpoints/mine.txt"):
        (folder / name).write_text("mine")
    start_over(folder)
    assert not list_checkpoints(folder / "checkpoints")
    assert not (folder / "export").exists()
    assert content(folder) == dict.fromkeys(("log.txt", "samples/mine.txt", "checkpoints/mine.txt"), "mine")


def test_what_was_put_into_a_result_is_not_removed_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(*make("language", folder, tmp_path / "inputs", run=RUN))
    (folder / "export" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"export' holds 'notes\.txt'"):
        train(*make("language", folder, tmp_path / "inputs", run={**RUN, "resume": "never"}))
    assert content(folder) == {"export/notes.txt": "mine"}
    assert len(list_checkpoints(folder / "checkpoints")) == 2, "all or nothing is removed"


def test_a_checkpoint_with_something_else_in_it_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = {**RUN, "steps": 6, "keep": 1}
    stage, recipe = make("language", folder, tmp_path / "inputs", run=run)
    usual = stage.batch

    def batch(index: int) -> object:
        if index == 2:
            (list_checkpoints(folder / "checkpoints")[-1] / "notes.txt").write_text("mine")
        return usual(index)

    stage.batch = batch  # type: ignore[method-assign]
    assert train(stage, recipe).finished
    kept = [path.name for path in list_checkpoints(folder / "checkpoints")]
    assert len(kept) == 2
    assert kept[-1] == "step-00000006"
    assert content(folder) == {f"checkpoints/{kept[0]}/notes.txt": "mine"}


def test_a_folder_below_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        claim_run_folder(tmp_path / "file")
    with pytest.raises(ConfigError, match="it is a file"):
        claim_run_folder(tmp_path / "file" / "run")
