#!/usr/bin/env bash
# The networks of the package, made again: five hours on one CPU core; with a GPU for the runs that had one, three.
#
#     DUTS=DUTS-TR ECSSD=ECSSD WEIGHTS=mobilenet_v2_imagenet.pth LITE1=efficientnet_lite1.pth \
#         bash benchmarks/train_networks.sh [--device cuda]
#
# sod_s and sod_m are one genotype at two sizes; weights fit any size, so every network starts from the one before: 120 px
# from ImageNet's weights (s1), then 224 px (m1, m2), and back to 120 px with the maps of m2 as a teacher (s2). g and its
# letter ran on a GPU by `photos_gpu`; what is published is the mean of runs that grew from one another. Ours of sod_m and
# sod_l were stopped on the GPU at step 3,225 and 2,475, when its time was up, and ended on a CPU with a rate that falls to
# zero: here they run to their end. And ours began from the means of s1 and s2 and of m1 and m2, here from s2 and m2. Runs
# that are there are continued.
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
maps=$runs/maps # of photographs that m2 was trained on: a teacher that has seen them, which is less than one that has not
[ -d "$maps" ] || "$python" -m retrain.predict --weights "$runs/m2/weights.safetensors" "$DUTS/DUTS-TR-Image" -o "$maps"
run s2 sod_s --recipe photos_s --recipe.steps 9000 --recipe.augment.crop 0.2 --recipe.augment.colour 0.2 \
    --recipe.loss.teacher 0.5 --teacher "$maps" --init "$runs/m2/weights.safetensors" "$@"

gpu=(--recipe photos_gpu --recipe.epochs 0)
run gs sod_s "${gpu[@]}" --recipe.steps 4300 --recipe.size 120 --recipe.batch_size 64 --recipe.augment.scales '[0.8, 1.0, 1.2]' \
    --init "$runs/s2/weights.safetensors" "$@"
run gm sod_m "${gpu[@]}" --recipe.steps 4200 --recipe.size 224 --recipe.optim.lr 0.0012 --recipe.optim.backbone_lr 0.25 \
    --init "$runs/m2/weights.safetensors" "$@"
run gl sod_l "${gpu[@]}" --recipe.steps 4300 --backbone_weights "$LITE1" "$@"
"$python" benchmarks/publish.py "$runs/s2" "$runs/gs" --name sod_s --test "ECSSD=$ECSSD"
"$python" benchmarks/publish.py "$runs/gm" "$runs/m2" "$runs/m1" --name sod_m --test "ECSSD=$ECSSD"
"$python" benchmarks/publish.py "$runs/gl" --name sod_l --test "ECSSD=$ECSSD"
