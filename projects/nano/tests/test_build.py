"""The build of nano: order, folders, failures and interruptions; no training."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from imagebind_llm.common.errors import UserError
from imagebind_llm.training.build import leaves
from imagebind_llm.training.recipe import load_recipe
from nano_lab.build import RUNS, Plan, steps
from nano_lab.world.sounds import decode_wave
from nano_lab.world.tables import COLUMNS, OTHERS, check_tables, decode_pictures, read_columns

RECIPES = Path(__file__).parents[3] / "recipes" / "nano"


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    for dataset, columns in (COLUMNS | OTHERS).items():
        (root / dataset).mkdir()
        for split in ("train", "test"):
            pq.write_table(
                pa.table({name: ["x"] * 50 for name in columns}), root / dataset / f"{split}.parquet"
            )
    return root


def test_every_recipe_is_trained_once_and_after_what_it_reads():
    plan = steps(Plan(Path("data"), RECIPES))
    order = {step.name: place for place, step in enumerate(plan)}
    assert set(order) == {p.stem for p in RECIPES.glob("*.yaml")} | {"merge", "average", "pack", "evaluate"}
    for step in plan:
        assert all(order[name] < order[step.name] for name in step.after)
        if step.arguments[0] != "train" or step.name == "merge":
            continue
        before = set(step.after)
        while more := {name for s in plan if s.name in before for name in s.after} - before:
            before |= more
        needed = [value for _, value in leaves(yaml.safe_load(Path(step.arguments[2]).read_text()))]
        exports = {
            str(v).split("/")[2] for v in needed if str(v).startswith(f"{RUNS}/") and "export" in str(v)
        }
        assert exports <= before, step.name


def test_the_average_keeps_what_is_equal_and_refuses_another_model(tmp_path, tiny_model_folder):
    import torch
    from safetensors.torch import load_file, save_file

    from imagebind_llm.common.errors import CheckpointError
    from nano_lab.average import average

    weights = load_file(tiny_model_folder / "model.safetensors")
    gate, bias = "injection.gate", "bind.project.bias"
    changed = {**weights, gate: weights[gate] + 1.0, bias: weights[bias] * 3.0}
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, state in zip(folders, (weights, changed), strict=True):
        shutil.copytree(tiny_model_folder, folder)
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    average(folders, tmp_path / "mean")
    mean = load_file(tmp_path / "mean" / "model.safetensors")
    torch.testing.assert_close(mean[gate], weights[gate] + 0.5)
    torch.testing.assert_close(mean[bias], weights[bias] * 2.0)
    assert all(mean[name].equal(tensor) for name, tensor in weights.items() if name not in (gate, bias))
    assert (tmp_path / "mean" / "config.json").read_text() == (folders[1] / "config.json").read_text()
    changed.pop(gate)
    save_file(changed, folders[0] / "model.safetensors", metadata={"format": "pt"})
    for given, message in (
        (folders, "give rounds of one model"),
        (folders[:1], "1 model folders were given"),
        ([folders[0], tmp_path], "has no model.safetensors"),
    ):
        with pytest.raises(CheckpointError, match=message):
            average(given, tmp_path / "none")


def test_photographs_of_other_things_can_be_left_out_everywhere(tmp_path):
    for photographs, others in ((True, ("flickr8k",)), (False, ())):
        plan = steps(Plan(Path("data"), RECIPES, tmp_path, tmp_path / "out", photographs=photographs))
        trained = [step for step in plan if step.arguments[:1] == ("train",) and step.name != "merge"]
        for step in trained:
            recipe = load_recipe(step.arguments[1], Path(step.arguments[2]), step.arguments[3:])
            if step.name == "language":
                assert not hasattr(recipe, "data")
            else:
                shown = () if step.name == "generator" else others  # it draws nothing else than nano's things
                assert recipe.data.others == shown, step.name
                shares = getattr(recipe.data, "shares", None) or {}
                assert photographs or not shares.get("photographs"), step.name


def test_all_runs_go_where_they_are_told(tmp_path):
    for step in steps(Plan(Path("data"), RECIPES, tmp_path, tmp_path / "out", ("run.steps=2",), 4)):
        words = " ".join(step.arguments).replace(str(RECIPES), "")
        assert RUNS not in words, words
        if step.arguments[0] == "train" and step.name != "merge":
            recipe = load_recipe(step.arguments[1], Path(step.arguments[2]), step.arguments[3:])
            assert recipe.run.folder == str(tmp_path / step.name)
            assert recipe.run.steps == 2
            assert RUNS not in str(recipe)


def command(*arguments: str, cwd: Path, wait: bool = True):
    call = [sys.executable, "-m", "nano_lab.build", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not wait:
        return subprocess.Popen(call, cwd=cwd, env=environment, stderr=subprocess.PIPE, text=True)
    return subprocess.run(call, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def test_terminated_it_takes_its_steps_along(tables, tmp_path):
    """The first steps import torch for seconds: time enough to strike."""
    worker = command(
        "--data", str(tables), "--recipes", str(RECIPES), "--runs", str(tmp_path / "runs"), cwd=tmp_path,
        wait=False,
    )  # fmt: skip
    logs = tmp_path / "runs" / "logs"
    limit = time.monotonic() + 60
    while time.monotonic() < limit and len(list(logs.glob("*.log"))) < 2:
        time.sleep(0.05)
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    assert len(children) == 2
    worker.send_signal(signal.SIGTERM)
    _, told = worker.communicate(timeout=60)
    assert worker.returncode == 130
    assert "Traceback" not in told
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_steps_of_a_killed_build_keep_others_out(tables, tmp_path):
    given = ("--data", str(tables), "--recipes", str(RECIPES), "--runs", str(tmp_path / "runs"))
    worker = command(*given, cwd=tmp_path, wait=False)
    logs = tmp_path / "runs" / "logs"
    limit = time.monotonic() + 60
    while time.monotonic() < limit and len(list(logs.glob("*.log"))) < 2:
        time.sleep(0.05)
    children = [int(n) for n in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()]
    worker.kill()
    worker.communicate(timeout=60)
    for child in children:
        os.kill(child, signal.SIGSTOP)  # they shall not end by themselves meanwhile
    try:
        second = command(*given, cwd=tmp_path)
        assert second.returncode == 2
        assert "steps of one that was killed still run" in second.stderr
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--data", "nowhere"], "there is no folder 'nowhere'", 2),
        (["--data", "TABLES"], "start the build in the folder that holds recipes/nano, or give --recipes", 2),
        (["--data", "TABLES", "run.steps=2"], "give --out", 2),
        (["--data", "TABLES", "--jobs", "0"], "0 is below 1", 2),
        (["--data", "TABLES", "--items", "1"], "1 is below 2", 2),
    ],
)
def test_what_cannot_be_built_is_said_at_once(tables, tmp_path, arguments, message, code):
    done = command(*(a.replace("TABLES", str(tables)) for a in arguments), cwd=tmp_path)
    assert message in done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def copied(tables: Path, folder: Path) -> Path:
    for path in tables.rglob("*.parquet"):
        target = folder / path.relative_to(tables)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder


def test_missing_and_damaged_data_are_found_before_hours_of_work(tables, tmp_path):
    check_tables(tables)
    data = copied(tables, tmp_path)
    (data / "fsdd" / "test.parquet").unlink()
    with pytest.raises(UserError, match=r"there is no '.*fsdd/test\.parquet'"):
        check_tables(data)
    whole = (tables / "fsdd" / "test.parquet").read_bytes()
    (data / "fsdd" / "test.parquet").write_bytes(whole[:-100])
    with pytest.raises(UserError, match=r"fsdd/test\.parquet' is no whole Parquet file .*copy it again"):
        check_tables(data)
    (data / "fsdd" / "test.parquet").write_bytes(whole)
    pq.write_table(pa.table({"audio": ["x"]}), data / "shapes" / "train.parquet")
    with pytest.raises(UserError, match="has no column 'points'; its columns are: audio"):
        check_tables(data)


def test_damage_inside_of_a_file_is_one_line_too(tables, tmp_path):
    data = copied(tables, tmp_path)
    path = data / "mnist" / "train.parquet"
    rows = pa.table({name: np.arange(20_000).astype(str) for name in COLUMNS["mnist"]})
    pq.write_table(rows, path, compression="zstd")
    locked = bytearray(path.read_bytes())
    locked[2000:4000] = bytes(2000)
    path.write_bytes(locked)
    check_tables(data)  # the end is whole
    with pytest.raises(UserError, match=r"mnist/train\.parquet' is no whole Parquet file"):
        read_columns(data, "mnist", "train", COLUMNS["mnist"])


def test_damaged_pictures_and_sounds_are_one_line(tmp_path):
    buffer = io.BytesIO()
    Image.new("L", (28, 28), 7).save(buffer, "PNG")
    other = io.BytesIO()
    Image.new("L", (30, 28), 7).save(other, "PNG")
    good = buffer.getvalue()
    assert decode_pictures([good, good], "L").shape == (2, 28, 28)
    for bad in (good[:40], b"", None):
        with pytest.raises(UserError, match=r"picture 1 of nano's data is damaged"):
            decode_pictures([good, bad], "L")
    with pytest.raises(UserError, match="picture 1 of nano's data is 30 × 28 pixels; expected 28 × 28"):
        decode_pictures([good, other.getvalue()], "L")
    with pytest.raises(UserError, match="a sound of nano's data is damaged"):
        decode_wave(b"RIFFnothing")
