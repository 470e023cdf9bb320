#!/usr/bin/env bash
# Train with one process a GPU; without a GPU, with that many processes on the CPU.
#   tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (and PORT) on each.
set -euo pipefail

CONFIG=${1:?usage: dist_train.sh CONFIG GPUS [options of tools/train.py]}
GPUS=${2:?usage: dist_train.sh CONFIG GPUS [options of tools/train.py]}
HERE=$(cd "$(dirname "$0")" && pwd)

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$HERE/train.py" "$CONFIG" --launcher pytorch "${@:3}"
