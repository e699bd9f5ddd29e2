"""Data sets pushed to the Hub by prepare.py and read from it by finetune.py, against a stand-in."""

from pathlib import Path

import datasets
import pytest
from publish_material import TINY, draw_photos, run

from train import prepare


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    draw_photos(folder, 10)
    return folder


@pytest.mark.integration
def test_a_data_set_comes_back_from_the_hub_byte_for_byte(stand_in, photos, tmp_path):
    run(stand_in, tmp_path, "train/prepare.py", "--data", photos, "--output_dir", tmp_path / "data",
        "--val_fraction", 0.2, "--test_fraction", 0.2, "--push_to_hub", "lab/pictures")  # fmt: skip
    files = stand_in.repo("lab/pictures", "datasets").files
    parquet = tmp_path / "train.parquet"
    parquet.write_bytes(next(blob.data for name, blob in files.items() if name.startswith("data/train")))
    pulled = datasets.load_dataset("parquet", data_files=str(parquet), split="train", cache_dir=str(tmp_path / "cache"))
    local = datasets.load_from_disk(str(tmp_path / "data"))["train"]
    raw = [part.cast_column("image", datasets.Image(decode=False)) for part in (pulled, local)]
    assert [row["image"]["bytes"] for row in raw[0]] == [stored(row["image"]) for row in raw[1]]
    assert pulled.features["label"].names == ["real", "fake"]


def stored(image: dict) -> bytes:
    return image["bytes"] or Path(image["path"]).read_bytes()


@pytest.mark.parametrize(
    ("repo", "message"),
    [
        ("other/pictures", "may not write to other/pictures"),
        ("a/b/c", "no Hub id"),
        ("lab/open", "exists and is public"),
    ],
)
def test_a_data_set_that_could_not_be_pushed_is_not_prepared(stand_in, photos, tmp_path, capsys, repo, message):
    # Preparing can take an hour: an obstacle to the push is reported before it starts.
    stand_in.add("lab/open", {"README.md": b"# here"}, kind="datasets")
    output = tmp_path / "out"
    command = ["--data", photos, "--output_dir", output, "--push_to_hub", repo, "--private"]
    assert prepare.main([str(part) for part in command]) == 2
    assert message in capsys.readouterr().err and not output.exists()


@pytest.mark.integration
def test_a_missing_data_set_is_reported_before_training(stand_in, tmp_path):
    output = run(stand_in, tmp_path, "train/finetune.py", *TINY, "--dataset_name", "lab/nothing", "--output_dir",
                 tmp_path / "no", code=1)  # fmt: skip
    assert "lab/nothing is no prepared folder, and cannot be loaded from the Hub" in output
    assert "Traceback" not in output
