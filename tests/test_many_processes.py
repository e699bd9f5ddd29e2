"""The examples for several GPUs and machines: what can be run without them is run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from conftest import free_port
from test_finetune import TINY, make_data

from train.learning.options import parse

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "examples" / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_reads_the_file(path):
    config = load_config_from_file(str(path))
    assert config.num_processes % config.num_machines == 0 and config.num_processes > 1 and not config.debug


@pytest.mark.integration
@pytest.mark.parametrize("script", ["train_multi_gpu.sh", "train_multi_node.sh"])
def test_the_script_gives_flags_that_finetune_knows(script, tmp_path):
    # In place of GPUs and a cluster: commands of the same names that print what they were given.
    (tmp_path / "data").mkdir()
    for name, text in {"nvidia-smi": "echo GPU 0; echo GPU 1", "scontrol": "echo node-a; echo node-b", "srun": '"$@"',
                       "accelerate": 'printf "%s\\n" "$@"'}.items():  # fmt: skip
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4", "SLURM_NODEID": "1"}
    env = os.environ | slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", f"examples/{script}", tmp_path / "data", "owner/name"]
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, check=True, capture_output=True)
    before, _, flags = done.stdout.partition("train/finetune.py\n")
    launch = dict(zip(arguments := before.split(), arguments[1:], strict=False))
    assert (
        launch["--num_processes"] == ("2" if "gpu" in script else "8") and Path(ROOT, launch["--config_file"]).is_file()
    )
    assert "node" not in script or (launch["--machine_rank"], launch["--main_process_ip"]) == ("1", "node-a")
    config = parse(flags.split("\n")[:-1])
    assert (config.push_to_hub, config.hub_model_id, config.output_dir) == (True, "owner/name", "runs/name")


@pytest.mark.integration
@pytest.mark.slow  # two machines' worth of processes on this one: a minute
def test_two_machines_train_one_model(tmp_path):
    make_data(tmp_path / "data")
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file",
               "examples/accelerate/multi_node.yaml", "--num_processes", "2", "--main_process_port", str(free_port()),
               "--mixed_precision", "no"]  # fmt: skip
    output = str(tmp_path / "out")
    training = ["train/finetune.py", *TINY, "--train_dir", str(tmp_path / "data"), "--output_dir", output]
    machines = [subprocess.Popen([*command, "--machine_rank", rank, *training], cwd=ROOT, env=environment, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for rank in "01"]  # fmt: skip
    outputs = [machine.communicate(timeout=400)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outputs
    assert "2 process(es)" in outputs[0] and (tmp_path / "out" / "model.safetensors").is_file()
