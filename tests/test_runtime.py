"""Every runtime gives the same scores, and a graph of other weights is never used."""

import json
import logging
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from fakedet import Detector, FakeDetConfig, FakeDetForImageClassification
from fakedet.hub import checkpoint as hub
from fakedet.network import graph, graph_export
from fakedet.network.graph import cache_path
from fakedet.network.runtime import RUNTIMES, OnnxRuntime, RuntimeUnavailable, make_runtime
from fakedet.network.torch_runtime import TorchRuntime
from train import export

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples" / "images").iterdir())
GOLDEN = json.loads((ROOT / "tests" / "golden.json").read_text())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The cache of graphs made on demand: an empty one for each test."""
    monkeypatch.setenv("FAKEDET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def checkpoint_of(folder: Path, seed: int = 0, **settings) -> hub.Checkpoint:
    torch.manual_seed(seed)
    settings = {"backbone": "test_efficientnet", "input_size": 64, **settings}
    model = FakeDetForImageClassification(FakeDetConfig(**settings)).eval()
    torch.nn.init.normal_(model.fc1.bias, std=0.5)  # some hidden units off, some on
    hub.save_checkpoint(model, folder)
    return hub.load_checkpoint(folder)


def views(count: int, side: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, side, side), dtype=np.float32)


def assert_alike(one, other, tolerance: float = 1e-4) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=tolerance)


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_gives_the_golden_scores(name):
    detector = Detector.from_pretrained(runtime=name)
    assert detector.runtime.name == name
    for path in EXAMPLES:
        verdict = detector.predict(path)
        assert verdict.p_fake == pytest.approx(GOLDEN[path.name]["p_fake"], abs=1e-3)
        assert verdict.verdict == GOLDEN[path.name]["verdict"]
        assert verdict.model["runtime"] == name


def test_the_bundled_graph_belongs_to_the_bundled_weights(cache):
    # After an exchange of the weights: python train/export.py
    assert make_runtime(hub.load_checkpoint()).name == "onnx"
    assert not list(cache.glob("*.onnx")), "the graph had to be made anew: run python train/export.py"


def test_a_graph_is_compared_with_torch_once_on_a_machine(tmp_path, cache, monkeypatch):
    checkpoint = checkpoint_of(tmp_path / "m")
    OnnxRuntime(checkpoint)
    monkeypatch.setattr(OnnxRuntime, "_compare", lambda *_: pytest.fail("compared again"))
    OnnxRuntime(checkpoint)
    for path in cache.glob("*.checked"):
        path.unlink()
    with pytest.raises(pytest.fail.Exception, match="compared again"):
        OnnxRuntime(checkpoint)


@pytest.mark.parametrize("backbone", ["tf_efficientnet_b0", "resnet18", "mobilenetv2_100"])
def test_a_graph_agrees_with_torch_for_any_number_of_views(backbone, tmp_path):
    checkpoint = checkpoint_of(tmp_path / "m", backbone=backbone)
    fast, slow = OnnxRuntime(checkpoint), TorchRuntime(checkpoint.model)
    for count in (1, 2, 9, 40):
        assert_alike(fast(views(count, 64)), slow(views(count, 64)))


def test_padding_becomes_part_of_the_convolutions(tmp_path):
    # A step of its own would have the map copied out of the layout that the convolutions work in, and back.
    import onnx

    side = 75  # the maps are 75, 38, 19, 10, 5 wide: TensorFlow's padding is alike on both sides, or lopsided
    checkpoint = checkpoint_of(tmp_path / "m", backbone="tf_efficientnet_b0", input_size=side)
    assert_alike(OnnxRuntime(checkpoint)(views(2, side)), TorchRuntime(checkpoint.model)(views(2, side)))
    made = onnx.load_from_string(cache_path(checkpoint.sha256, side).read_bytes())
    assert not [node for node in made.graph.node if node.op_type == "Pad"]


def test_the_score_of_a_view_does_not_depend_on_the_batch():
    # Else the table of a scan would change with the batch size and the number of processes.
    runtime = OnnxRuntime(hub.load_checkpoint())
    side = next(iter(runtime.sessions))
    together = runtime(views(37, side))
    for step in (1, 2, 9):
        parts = [runtime(views(37, side)[at : at + step]) for at in range(0, 37, step)]
        for whole, part in zip(together, zip(*parts, strict=True), strict=True):
            assert (whole == np.concatenate(part)).all()


@pytest.mark.parametrize("own_network", [False, True])
def test_smaller_views_of_tiny_images_have_their_own_graph(own_network, tmp_path):
    # It uses the weights of the network of tiny images, where there is one.
    checkpoint = checkpoint_of(tmp_path / "m", tiny_side=48, tiny_input_size=32, tiny_network=own_network)
    fast, slow = OnnxRuntime(checkpoint), TorchRuntime(checkpoint.model)
    assert set(fast.sessions) == {64, 32}
    for side in (64, 32):
        assert_alike(fast(views(3, side)), slow(views(3, side)))


def test_a_missing_graph_is_exported_once_and_cached(tmp_path, cache, monkeypatch):
    checkpoint = checkpoint_of(tmp_path / "m")
    assert make_runtime(checkpoint).name == "onnx"
    assert [path.name for path in cache.glob("*.onnx")] == [cache_path(checkpoint.sha256, 64).name]
    monkeypatch.setattr(graph_export, "make_graph", None)  # may not be called again
    assert make_runtime(checkpoint).name == "onnx"


def test_without_a_writable_cache_the_graph_is_exported_every_time(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FAKEDET_CACHE", str(tmp_path / "file" / "no folder"))
    assert make_runtime(checkpoint_of(tmp_path / "m")).name == "onnx"


def test_the_graph_of_other_weights_is_never_used(tmp_path, caplog):
    old = checkpoint_of(tmp_path / "m")
    (tmp_path / "m" / "model.onnx").write_bytes(graph_export.make_graph(old.model, old.sha256, 64))
    new = checkpoint_of(tmp_path / "m", seed=1)
    with caplog.at_level(logging.INFO, "fakedet"):
        runtime = OnnxRuntime(new)
    assert "made for other weights" in caplog.text
    assert_alike(runtime(views(4, 64)), TorchRuntime(new.model)(views(4, 64)))


def falsified(checkpoint) -> bytes:
    """A graph that names the weights but computes something else."""
    import onnx

    made = onnx.load_from_string(graph_export.make_graph(checkpoint.model, checkpoint.sha256, 64))
    next(node for node in made.graph.node if node.op_type == "Relu").op_type = "Neg"
    return made.SerializeToString()


@pytest.mark.parametrize("what", ["answers otherwise", "no graph at all"])
def test_a_graph_that_cannot_be_trusted_is_replaced(what, tmp_path, caplog):
    checkpoint = checkpoint_of(tmp_path / "m")
    data = falsified(checkpoint) if what == "answers otherwise" else b"this is no graph"
    (tmp_path / "m" / "model.onnx").write_bytes(data)
    with caplog.at_level(logging.INFO, "fakedet"):
        runtime = make_runtime(checkpoint)
    assert runtime.name == "onnx"
    assert "model.onnx is not used" in caplog.text
    assert_alike(runtime(views(4, 64)), TorchRuntime(checkpoint.model)(views(4, 64)))


def test_without_onnx_runtime_torch_is_used_and_the_log_gives_the_reason(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    checkpoint = checkpoint_of(tmp_path / "m")
    assert make_runtime(checkpoint).name == "torch"
    assert "pip install onnxruntime" in caplog.text
    with pytest.raises(RuntimeUnavailable, match="pip install onnxruntime"):
        make_runtime(checkpoint, "onnx")


@pytest.mark.parametrize("wrong", ["0", "-1", "two"])
def test_an_invalid_number_of_threads_is_refused(wrong, monkeypatch):
    monkeypatch.setenv("FAKEDET_THREADS", wrong)
    with pytest.raises(ValueError, match="FAKEDET_THREADS"):
        Detector.from_pretrained()


def test_concurrent_callers_get_the_same_outputs():
    runtime = OnnxRuntime(hub.load_checkpoint())
    side = next(iter(runtime.sessions))
    inputs = [views(3, side, seed) for seed in range(8)]
    alone = [runtime(pixels) for pixels in inputs]
    with ThreadPoolExecutor(2) as pool:
        for one, other in zip(alone, pool.map(runtime, inputs), strict=True):
            assert_alike(one, other, 0)


def test_export_writes_graphs_beside_the_weights_or_with_them_inside(tmp_path):
    import onnxruntime

    checkpoint = checkpoint_of(tmp_path / "m", tiny_side=48, tiny_input_size=32)
    assert export.main(["--model", str(tmp_path / "m")]) == 0
    names = set(graph.sides(checkpoint.model.config))
    assert names == {path.name for path in (tmp_path / "m").glob("*.onnx")}
    assert names <= set(hub.FILES)
    assert export.main(["--model", str(tmp_path / "m"), "--full", str(tmp_path / "whole.onnx")]) == 0
    shutil.move(tmp_path / "whole.onnx", tmp_path / "elsewhere.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "elsewhere.onnx")
    assert_alike(session.run(["logit", "cam"], {"pixels": views(2, 64)}), TorchRuntime(checkpoint.model)(views(2, 64)))


def test_export_reports_a_missing_checkpoint_in_one_line(tmp_path, capsys):
    assert export.main(["--model", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip() == "the checkpoint has no config.json"
