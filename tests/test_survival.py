"""Training that meets bad images, a full disk, a kill or too little memory: it says so, and loses nothing it had."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from test_finetune import TINY, launch, make_data
from torch.utils.data import DataLoader

from fakedet import FakeDetConfig
from fakedet.hub import load_folder, save_checkpoint
from train import finetune
from train.data.loading import Source, TooManyUnreadable
from train.data.sampling import BalancedTrainDataset
from train.learning.build import build_model
from train.learning.checkpoints import SaveError, find_checkpoint, save_state
from train.learning.options import parse
from train.learning.state import Progress
from train.learning.validation import EvalViews

ROOT = Path(__file__).resolve().parents[1]


def spoiled(folder: Path, bad: int, count: int = 64) -> Path:
    """A prepared data set in which `bad` training images are cut short."""
    data = datasets.load_from_disk(str(make_data(folder / "whole", count, 16)))
    plain = data["train"].cast_column("image", datasets.Image(decode=False))

    def cut(row, index):
        stored = {"bytes": row["image"]["bytes"], "path": f"picture_{index:03d}.png"}
        return {"image": stored | ({"bytes": stored["bytes"][:60]} if index < bad else {})}

    plain = plain.map(cut, with_indices=True).cast_column("image", datasets.Image())
    datasets.DatasetDict({"train": plain, "validation": data["validation"]}).save_to_disk(str(folder / "spoiled"))
    return folder / "spoiled"


def samples_of(folder: Path, length: int) -> BalancedTrainDataset:
    data = datasets.load_from_disk(str(folder))["train"].cast_column("image", datasets.Image(decode=False))
    return BalancedTrainDataset([(Source(str(folder)), data)], FakeDetConfig(input_size=32), length, 0)


def test_an_unreadable_image_is_skipped_counted_and_named(tmp_path, caplog):
    # over all loader workers; each epoch counts anew, or a long run would stop for one bad file
    samples = samples_of(spoiled(tmp_path, 1), 640)
    for epoch in range(3):
        samples.plan_epoch(epoch)
        samples.unreadable.max_count = 100
        assert len(list(DataLoader(samples, 32, num_workers=2))) == 20
        expected = sum(int(row) == 0 for _, row in samples.plan)
        assert samples.unreadable.total == expected > 0
    with caplog.at_level(logging.ERROR):
        samples[int(np.flatnonzero(samples.plan[:, 1] == 0)[0])]
    assert "skipped an unreadable image: picture_000.png" in caplog.text


@pytest.mark.parametrize("workers", [0, 2])
def test_over_one_percent_unreadable_stops(tmp_path, workers):
    samples = samples_of(spoiled(tmp_path, 8), 200)
    with pytest.raises(TooManyUnreadable, match="over 1 % of the images cannot be read"):
        list(DataLoader(samples, 8, num_workers=workers))
    nothing = samples_of(spoiled(tmp_path / "all", 64), 64)
    with pytest.raises(TooManyUnreadable):
        nothing[0]


def test_validation_leaves_unreadable_images_out(tmp_path):
    data = datasets.load_from_disk(str(spoiled(tmp_path, 1)))["train"].cast_column(
        "image", datasets.Image(decode=False)
    )
    views = EvalViews([(3, data)], FakeDetConfig(input_size=32), 32)
    owners = [int(views[row][2]) for row in range(4)]
    assert owners == [-1, 3, 3, 3] and views.unreadable.total == 1


@pytest.mark.integration
@pytest.mark.slow  # a launch of training; the parts are tested above without one
def test_training_on_bad_data_ends_with_one_sentence(tmp_path):
    output = launch(*TINY[:-6], "--num_workers", "2", "--head_epochs", "1", "--finetune_epochs", "0",
                    "--train_dir", spoiled(tmp_path, 8), "--output_dir", tmp_path / "out", ok=False)  # fmt: skip
    assert "Training stopped: over 1 % of the images cannot be read, picture_00" in output
    assert 'train/data/sampling.py", line' not in output.split("Training stopped")[1]


@pytest.mark.parametrize("need", [lambda: torch.empty(2**60, dtype=torch.uint8), lambda: bytearray(2**60)])
def test_out_of_memory_says_which_flags_to_lower(need, monkeypatch, data_flags):
    # the allocation that fails is a real one; a GPU raises the same kind of error, which accelerate recognises
    monkeypatch.setattr(sys, "argv", ["finetune.py", *data_flags])
    monkeypatch.setattr(finetune, "training_function", lambda args: need())
    with pytest.raises(SystemExit, match="--per_device_train_batch_size"):
        finetune.main()


def test_a_gpu_out_of_memory_says_so_too(monkeypatch, data_flags):
    def explode(args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(sys, "argv", ["finetune.py", *data_flags])
    monkeypatch.setattr(finetune, "training_function", explode)
    with pytest.raises(SystemExit, match="ran out of memory: halve --per_device_train_batch_size"):
        finetune.main()


@pytest.fixture
def data_flags(tmp_path):
    return ["--train_dir", str(make_data(tmp_path / "data", 4, 2)), "--output_dir", str(tmp_path / "out")]


# --- saves that are killed, and a disk that is full: in a process of its own, which forks what it kills --------------


def saver(folder: Path):
    """A function that saves checkpoint `step` and the best model, as training does."""
    from accelerate import Accelerator

    torch.set_num_threads(1)
    args = parse(["--train_dir", "unused", "--output_dir", str(folder), *TINY])
    accelerator, model, progress = Accelerator(cpu=True), build_model(args), Progress()
    accelerator.register_for_checkpointing(progress)
    prepared = accelerator.prepare(model)

    def save(step: int) -> None:
        progress.step = step
        with torch.no_grad():
            prepared.fc2.bias.fill_(step)
        save_state(accelerator, args, progress)
        save_checkpoint(model, folder)

    return save


def whole(folder: Path) -> tuple[int, int]:
    """Step of the checkpoint that would be resumed, and of the best model; raises where one of them is not whole."""
    place = find_checkpoint(SimpleNamespace(resume_from_checkpoint="latest", output_dir=str(folder)))
    step = torch.load(place / "custom_checkpoint_0.pkl", weights_only=True)["plain"]["step"]
    from safetensors.torch import load_file

    assert load_file(place / "model.safetensors")["fc2.bias"].item() == step
    torch.load(place / "random_states_0.pkl", weights_only=False)
    return step, int(load_folder(folder, "x", None, "").model.fc2.bias.item())


def killed_saves(folder: Path, times: int) -> None:
    """Kills a saving process `times` times, each time at another moment, and looks at what is left."""
    save, rng = saver(folder), np.random.default_rng(0)
    save(0)
    for number in range(times):
        pid = os.fork()
        if not pid:
            step, _ = whole(folder)
            for more in range(10_000):
                save(step + more % 3)  # the same name again, too
        time.sleep(0.05 + float(rng.random()) * 0.25)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        print(number, whole(folder), flush=True)


def full_disk(folder: Path) -> None:
    """Saves where no file may grow beyond 50 kB."""
    save = saver(folder)
    save(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    try:
        save(2)
    except SaveError as error:
        print("SaveError:", error)
    assert whole(folder) == (1, 1)
    assert not [path for path in folder.rglob("*") if "partial" in path.name]


def test_a_kill_while_the_old_checkpoint_is_removed_leaves_the_new_one(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    save = saver(tmp_path)
    save(5)

    def killed_at_the_first_file(folder, **_):
        next(Path(folder).glob("custom_checkpoint_*")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed_at_the_first_file)
        save(4)  # sorted before the one that is half removed now
    assert whole(tmp_path)[0] == 4
    save(6)
    assert whole(tmp_path) == (6, 6) and len(list((tmp_path / "checkpoints").iterdir())) == 1


@pytest.mark.integration
@pytest.mark.integration
def test_neither_a_kill_during_a_save_nor_a_full_disk_costs_a_whole_checkpoint(tmp_path):
    code = (
        "import sys; from pathlib import Path; import test_survival as t\n"
        "t.killed_saves(Path(sys.argv[1], 'killed'), 12); t.full_disk(Path(sys.argv[1], 'full'))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    *kills, last = done.stdout.strip().splitlines()
    assert len(kills) == 12
    assert last.startswith("SaveError: The checkpoint could not be written") and last.endswith("Is the disk full?")
