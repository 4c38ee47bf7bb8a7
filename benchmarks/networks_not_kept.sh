#!/usr/bin/env bash
# Trainings that gave nothing better than what the package has (docs/results.md); kept so that nobody needs to try them again.
# borrowed_s, borrowed_m: from backbones that know the photographs already, taught by sod_l's maps, 80 minutes on two busy
# cores (ours of borrowed_s from the sod_s before, which had sod_m's genotype). lite0_m: EfficientNet-Lite0 less two deep
# blocks, in sod_m's place, from ImageNet's weights, 54 minutes on two cores.
#
#     DUTS=DUTS-TR ECSSD=ECSSD bash benchmarks/networks_not_kept.sh [OPTIONS OF retrain.train]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python} runs=${RUNS:-runs/not_kept}

run() { # NAME OPTIONS...
    local out=$runs/$1 name=$1
    shift
    if [ -e "$out/config.yaml" ]; then "$python" -m retrain.train --out "$out" --resume; return; fi
    "$python" -m retrain.train --genotype "benchmarks/$name.yaml" --recipe.epochs 0 --data "DUTS-TR=$DUTS" \
        --test "ECSSD=$ECSSD" --quick_scores true --cache "$runs/cache" --out "$out" "$@"
}

borrowed=(--recipe photos_gpu --recipe.loss.teacher 0.5 --teacher "$runs/maps" --backbone_weights)
[ -d "$runs/maps" ] || "$python" -m retrain.predict --weights sod_l "$DUTS/DUTS-TR-Image" -o "$runs/maps"
run borrowed_s "${borrowed[@]}" retrain/networks/sod_m.safetensors --recipe.size 128 --recipe.steps 2700 --recipe.optim.lr 0.002 \
    --recipe.augment.scales '[0.875, 1, 1.125]' "$@"
run borrowed_m "${borrowed[@]}" retrain/networks/sod_l.safetensors --recipe.size 192 --recipe.steps 2500 \
    --recipe.batch_size 16 --recipe.optim.backbone_lr 0.3 --recipe.precision fp32 \
    --recipe.augment.scales '[0.833333333, 1, 1.166666667]' "$@"
run lite0_m --recipe photos_cpu --recipe.size 224 --recipe.first_size 0.571 --recipe.steps 4800 --recipe.ema 0.999 \
    --recipe.loss.side_weights '[1.0, 0.5, 0.3]' --recipe.optim.warmup 0.03 --recipe.augment.crop 0.25 \
    --recipe.augment.rotate 5 --recipe.augment.colour 0.2 --backbone_weights package "$@"
