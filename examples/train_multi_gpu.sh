#!/usr/bin/env bash
# Trains on all GPUs of this machine and pushes the result:  sh examples/train_multi_gpu.sh data/mine owner/name
set -eu
data=$1 repo=$2
gpus=$(nvidia-smi --list-gpus | wc -l)
exec accelerate launch --config_file examples/accelerate/multi_gpu.yaml --num_processes "$gpus" \
    train/finetune.py --config train/configs/default.yaml --train_dir "$data" --output_dir "runs/${repo##*/}" \
    --mixed_precision bf16 --checkpointing_steps 500 --resume_from_checkpoint latest --push_to_hub --hub_model_id "$repo"
