#!/usr/bin/env bash
# Train with one process a GPU; without a GPU, with that many processes on the CPU.
#   tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (and PORT) on each.
# MAX_RESTARTS=3 restarts all processes, up to three times, when one of them dies; with --resume they
# resume from the last checkpoint.
set -euo pipefail

CONFIG=${1:?usage: dist_train.sh CONFIG GPUS [options of tools/train.py]}
GPUS=${2:?usage: dist_train.sh CONFIG GPUS [options of tools/train.py]}
HERE=$(cd "$(dirname "$0")" && pwd)
NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
PORT=${PORT:-29500}
MAX_RESTARTS=${MAX_RESTARTS:-0}

if [ "$MAX_RESTARTS" = 0 ]; then
    meet=(--node_rank="$NODE_RANK" --master_addr="$MASTER_ADDR" --master_port="$PORT")
else
    # Each attempt needs a store of its own: in one that holds what the dead have left, the next
    # attempt may wait for them. LOCAL_ADDR: by what other machines reach this one.
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    meet=(--rdzv_backend=c10d --rdzv_endpoint="$MASTER_ADDR:$PORT"
          --rdzv_id="${RDZV_ID:-pspnet_plugin}" --rdzv_conf="is_host=$((NODE_RANK == 0))")
    [ "$NNODES" != 1 ] || LOCAL_ADDR=${LOCAL_ADDR:-127.0.0.1}
    [ -z "${LOCAL_ADDR:-}" ] || meet+=(--local_addr="$LOCAL_ADDR")
fi

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="$NNODES" \
    --nproc_per_node="$GPUS" \
    --max_restarts="$MAX_RESTARTS" \
    "${meet[@]}" \
    "$HERE/train.py" "$CONFIG" --launcher pytorch "${@:3}"
