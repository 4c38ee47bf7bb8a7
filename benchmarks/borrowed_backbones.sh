#!/usr/bin/env bash
# Smaller networks from backbones that know the photographs already, taught by sod_l's maps: 80 minutes on two busy cores.
# Worse than what the package has (docs/results.md); kept so that nobody needs to try it again.
#
#     DUTS=DUTS-TR ECSSD=ECSSD bash benchmarks/borrowed_backbones.sh [OPTIONS OF retrain.train]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python} runs=${RUNS:-runs/borrowed}

run() { # NAME LENDER OPTIONS...
    local out=$runs/$1 name=$1 lender=$2
    shift 2
    if [ -e "$out/config.yaml" ]; then "$python" -m retrain.train --out "$out" --resume; return; fi
    "$python" -m retrain.train --genotype "benchmarks/borrowed_$name.yaml" --recipe photos_gpu --recipe.epochs 0 \
        --recipe.loss.teacher 0.5 --backbone_weights "retrain/networks/$lender.safetensors" --data "DUTS-TR=$DUTS" \
        --teacher "$runs/maps" --test "ECSSD=$ECSSD" --quick_scores true --cache "$runs/cache" --out "$out" "$@"
}

[ -d "$runs/maps" ] || "$python" -m retrain.predict --weights sod_l "$DUTS/DUTS-TR-Image" -o "$runs/maps"
run s sod_s --recipe.size 128 --recipe.steps 2700 --recipe.optim.lr 0.002 --recipe.augment.scales '[0.875, 1, 1.125]' "$@"
run m sod_l --recipe.size 192 --recipe.steps 2500 --recipe.batch_size 16 --recipe.optim.backbone_lr 0.3 \
    --recipe.precision fp32 --recipe.augment.scales '[0.833333333, 1, 1.166666667]' "$@"
