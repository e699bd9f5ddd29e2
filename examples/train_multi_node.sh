#!/usr/bin/env bash
# Trains on several machines under Slurm:  sbatch --nodes 2 --gpus-per-node 4 examples/train_multi_node.sh data/mine owner/name
# Without Slurm run the last command on every machine, with its own --machine_rank (0 is HOST itself).
# data, --output_dir and the code must be seen by all machines; a job that is started again continues.
#SBATCH --job-name fakedet
#SBATCH --ntasks-per-node 1
#SBATCH --cpus-per-task 16
set -eu
data=$1 repo=$2
host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export data repo host
exec srun bash -c 'exec accelerate launch --config_file examples/accelerate/multi_node.yaml \
    --num_machines "$SLURM_NNODES" --num_processes "$((SLURM_NNODES * SLURM_GPUS_ON_NODE))" \
    --machine_rank "$SLURM_NODEID" --main_process_ip "$host" \
    train/finetune.py --config train/configs/default.yaml --train_dir "$data" --output_dir "runs/${repo##*/}" \
    --mixed_precision bf16 --checkpointing_steps 500 --resume_from_checkpoint latest --push_to_hub --hub_model_id "$repo"'
