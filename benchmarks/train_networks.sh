#!/usr/bin/env bash
# The networks of the package, made again: four hours on one CPU core, less on a GPU (--device cuda).
#
#     DUTS=DUTS-TR ECSSD=ECSSD WEIGHTS=mobilenet_v2_imagenet.pth bash benchmarks/train_networks.sh [--device cuda]
#
# One genotype at two sizes; weights fit any size, so every network starts from the one before: sod_s at 120 px from
# ImageNet's weights (s1), then 224 px (m1, m2), and back to 120 px with the maps of m2 as a teacher
# (s2). What is published is the mean of a run and the one that it grew from. Runs that are there are continued.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python} runs=${RUNS:-runs/networks}

run() { # NAME GENOTYPE OPTIONS...
    local out=$runs/$1 genotype=$2
    shift 2
    if [ -e "$out/scores.json" ]; then return; fi
    if [ -e "$out/config.yaml" ]; then "$python" -m retrain.train --out "$out" --resume; return; fi
    "$python" -m retrain.train --genotype "$genotype" --data "DUTS-TR=$DUTS" --quick_scores true --cache "$runs/cache" --out "$out" "$@"
}

further=(--recipe.optim.lr 0.0015 --recipe.optim.backbone_lr 0.3 --recipe.optim.warmup 0.03 --recipe.augment.crop 0.2 --recipe.augment.colour 0.2)
run s1 sod_s --recipe photos_s --backbone_weights "$WEIGHTS" "$@"
run m1 sod_m --recipe photos_m --init "$runs/s1/weights.safetensors" "$@"
run m2 sod_m --recipe photos_m --recipe.steps 5600 "${further[@]}" --init "$runs/m1/weights.safetensors" "$@"
"$python" benchmarks/publish.py "$runs/m2" "$runs/m1" --name sod_m --test "ECSSD=$ECSSD"

maps=$runs/maps # of photographs that m2 was trained on: a teacher that has seen them, which is less than one that has not
[ -d "$maps" ] || "$python" -m retrain.predict --weights "$runs/m2/weights.safetensors" "$DUTS/DUTS-TR-Image" -o "$maps"
run s2 sod_s --recipe photos_s --recipe.steps 9000 --recipe.augment.crop 0.2 --recipe.augment.colour 0.2 \
    --recipe.loss.teacher 0.5 --teacher "$maps" --init "$runs/m2/weights.safetensors" "$@"
"$python" benchmarks/publish.py "$runs/s2" "$runs/s1" --name sod_s --test "ECSSD=$ECSSD"
