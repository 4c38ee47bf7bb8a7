#!/usr/bin/env bash
# The networks of the package, made again: eight hours on one CPU core; with a GPU for the runs that had one, six.
#
#     DUTS=DUTS-TR ECSSD=ECSSD WEIGHTS=mobilenet_v2_imagenet.pth LITE1=efficientnet_lite1.pth \
#         bash benchmarks/train_networks.sh [--device cuda]
#
# Weights fit any size, so every network starts from the one before: sod_m's genotype at 120 px from ImageNet's weights (s1),
# then at 224 px (m1, m2), and back to 120 px with the maps of m2 as a teacher (s2). g and its letter ran on a GPU by
# `photos_gpu`; what is published is the mean of runs that grew from one another. sod_s is cut from gs: narrower, at 144 px,
# taught by two networks that have each seen the other half of the photographs (s3), then by masks alone (s4, s5), and at
# last with photographs that vary much, and end as they are (s6, s7). m5 and l3 see them as they are from the start.
#
# Ours of sod_m and sod_l were stopped on the GPU at step 3,225 and 2,475, when its time was up, and ended on a CPU with a
# rate that falls to zero: here they run to their end. Ours began from the means of s1 and s2, of m1 and m2, and of s2 and gs,
# here from s2, m2 and gs; and s6, m5 and l3 from what was published before, the means of s4 and s5, of m1, m2 and gm, and gl,
# here from s5, gm and gl. And the widths of ours were chosen by hand, by trying as `retrain.prune` does, which chooses here.
# Runs that are there are continued.
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
run s1 sod_m --recipe photos_s --recipe.size 120 --backbone_weights "$WEIGHTS" "$@"
run m1 sod_m --recipe photos_m --init "$runs/s1/weights.safetensors" "$@"
run m2 sod_m --recipe photos_m --recipe.steps 5600 "${further[@]}" --init "$runs/m1/weights.safetensors" "$@"
maps=$runs/maps # of photographs that m2 was trained on: a teacher that has seen them, which is less than one that has not
[ -d "$maps" ] || "$python" -m retrain.predict --weights "$runs/m2/weights.safetensors" "$DUTS/DUTS-TR-Image" -o "$maps"
run s2 sod_m --recipe photos_s --recipe.size 120 --recipe.steps 9000 --recipe.augment.crop 0.2 --recipe.augment.colour 0.2 \
    --recipe.loss.teacher 0.5 --teacher "$maps" --init "$runs/m2/weights.safetensors" "$@"

gpu=(--recipe photos_gpu --recipe.epochs 0)
run gs sod_m "${gpu[@]}" --recipe.steps 4300 --recipe.size 120 --recipe.batch_size 64 --recipe.augment.scales '[0.8, 1.0, 1.2]' \
    --init "$runs/s2/weights.safetensors" "$@"
run gm sod_m "${gpu[@]}" --recipe.steps 4200 --recipe.size 224 --recipe.optim.lr 0.0012 --recipe.optim.backbone_lr 0.25 \
    --init "$runs/m2/weights.safetensors" "$@"
run gl sod_l "${gpu[@]}" --recipe.steps 4300 --backbone_weights "$LITE1" "$@"
plain=(--recipe photos_s --recipe.plain 1 --recipe.optim.lr 0.0003 --recipe.ema 0.99 --seed 1)
run m5 sod_m "${plain[@]}" --recipe.size 224 --recipe.steps 500 --init "$runs/gm/weights.safetensors" "$@"
run l3 sod_l "${plain[@]}" --recipe.size 256 --recipe.steps 400 --init "$runs/gl/weights.safetensors" "$@"

[ -d "$runs/folds" ] || "$python" benchmarks/folds.py "$DUTS" "$runs/folds" --count 2
for fold in 0 1; do # teachers of photographs that they have not seen; those that are held out need maps, too, that nobody reads
    [ -e "$runs/t$fold/scores.json" ] || "$python" -m retrain.train --genotype benchmarks/searched_efficientnet_lite1.yaml \
        --recipe photos_cpu --recipe.epochs 4 --recipe.augment.crop 0.15 --recipe.augment.colour 0.15 --backbone_weights package \
        --data "all_but$fold=$runs/folds/all_but$fold" --held_out 0.02 --quick_scores true --cache "$runs/cache" --out "$runs/t$fold" "$@"
    "$python" -m retrain.predict --weights "$runs/t$fold/weights.safetensors" "$runs/folds/fold$fold/images" -o "$runs/unseen" --resume
done
"$python" -m retrain.predict --weights "$runs/t0/weights.safetensors" "$runs/folds/held_out/images" -o "$runs/unseen" --resume
[ -e "$runs/cut/pruning.json" ] || "$python" -m retrain.prune --weights "$runs/gs/weights.safetensors" --size 144 --budget 100e6 \
    --data "DUTS-TR=$DUTS" --cache "$runs/cache" -o "$runs/cut"
start=("$runs/cut/genotype.yaml" --recipe photos_s)
small=("${start[@]}" --recipe.augment.crop 0.2 --recipe.augment.colour 0.2 --recipe.augment.scales '[0.888888889, 1.0, 1.111111111]')
run s3 "${small[@]}" --recipe.steps 4500 --recipe.loss.teacher 0.5 --teacher "$runs/unseen" --init "$runs/cut/weights.safetensors" "$@"
run s4 "${small[@]}" --recipe.steps 4000 --recipe.optim.lr 0.0015 --seed 1 --init "$runs/s3/weights.safetensors" "$@"
run s5 "${small[@]}" --recipe.steps 3600 --recipe.optim.lr 0.0015 --seed 2 --init "$runs/s4/weights.safetensors" "$@"
varied=("${start[@]}" --recipe.augment.crop 0.4 --recipe.augment.colour 0.4 --recipe.augment.rotate 15 --recipe.optim.lr 0.0015
    --recipe.augment.scales '[0.777777778, 0.888888889, 1.0, 1.111111111]' --recipe.ema 0.998)
run s6 "${varied[@]}" --recipe.steps 2400 --recipe.plain 0.3 --seed 3 --init "$runs/s5/weights.safetensors" "$@"
run s7 "${varied[@]}" --recipe.steps 3000 --recipe.plain 0.25 --seed 4 --init "$runs/s6/weights.safetensors" "$@"
"$python" benchmarks/publish.py "$runs/s7" "$runs/s6" --name sod_s --test "ECSSD=$ECSSD"
"$python" benchmarks/publish.py "$runs/m5" --name sod_m --test "ECSSD=$ECSSD"
"$python" benchmarks/publish.py "$runs/l3" --name sod_l --test "ECSSD=$ECSSD"
