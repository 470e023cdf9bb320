#!/usr/bin/env bash
# Measure on one GPU, in about 8 minutes, what docs/results.md has a section for.
#   benchmarks/gpu.sh PAIRS [OUT]     PAIRS: train/ and val/; OUT: benchmarks/results/gpu
# DEVICE=cpu tries the script where there is none, with tiny sizes.
set -euo pipefail

export PAIRS_ROOT=${1:?usage: gpu.sh PAIRS [OUT]}
PAIRS_ROOT=$(realpath "$PAIRS_ROOT")
cd "$(dirname "$0")/.."
OUT=$(realpath -m "${2:-benchmarks/results/gpu}")
DEVICE=${DEVICE:-cuda}
PYTHON=${PYTHON:-python}
configs=(configs/psp_cityscapes_pairs.py configs/psp_efficientnet-lite2_cityscapes_pairs.py
         configs/psp_r50-d8_cityscapes_pairs.py)
heads=() networks=(--compile) training=(--minutes 1)
precisions=(float32 tf32 bfloat16)
if [ "$DEVICE" = cpu ]; then
    heads=(--only r18 --map 8x8 --rounds 1)
    networks=(--config configs/psp_demo.py --size 64x64 --rounds 1)
    training=(--minutes 0.4 --cfg-options train_dataloader.batch_size=2
              train_dataloader.num_workers=0 train_dataloader.persistent_workers=False)
    precisions=(float32 bfloat16)
    configs=(configs/psp_small_cityscapes_pairs.py)
else
    "$PYTHON" -m pytest -q -m gpu
fi
measure() { "$PYTHON" -m benchmarks "$@" --json "$OUT/$name.json"; }

mkdir -p "$OUT"
for precision in "${precisions[@]}"; do
    name=heads_$precision
    case $precision in
        tf32) measure heads --device "$DEVICE" --tf32 "${heads[@]}" ;;
        *) measure heads --device "$DEVICE" --dtype "$precision" "${heads[@]}" ;;
    esac
done
name=networks
measure networks --device "$DEVICE" "${networks[@]}"
name=training
measure training "${configs[@]}" "${training[@]}"
