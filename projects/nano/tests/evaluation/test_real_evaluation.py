"""The whole chain on real data with a tiny random model, where the data are at hand."""

import json
import os

import pytest

DATA = os.environ.get("IMAGEBIND_LLM_DATA")


@pytest.mark.skipif(not DATA, reason="set IMAGEBIND_LLM_DATA to the folder of nano's datasets")
def test_eval_nano_writes_everything(tiny_model_folder, tmp_path) -> None:
    from imagebind_llm.cli import main

    with pytest.raises(SystemExit) as left:
        main(["eval", "nano", "--data", str(DATA), "--model", str(tiny_model_folder), "--items", "2",
              "--out", str(tmp_path), "--json"])  # fmt: skip
    assert left.value.code == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["senses"]) == 11
    assert len(results["strange"]) == 22
    assert results["settings"]["caps"]["pictures"] == 2
    assert results["model"]["fingerprints"]["encoder"]
    assert len(results["model"]["weights_sha256"]) == 64
    assert (tmp_path / "senses.png").is_file()
    assert "## Senses" in (tmp_path / "results.md").read_text()


def test_missing_data_is_bad_input(tiny_model_folder, tmp_path, capsys) -> None:
    from imagebind_llm.cli import main

    for arguments in (["--data", str(tmp_path / "none")], ["--data", str(tmp_path)]):
        with pytest.raises(SystemExit) as left:
            main(["eval", "nano", *arguments, "--model", str(tiny_model_folder)])
        assert left.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert str(tmp_path) in error
