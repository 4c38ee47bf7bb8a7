#!/usr/bin/env bash
# Trainings that gave nothing better than what the package has (docs/results.md); kept so that nobody needs to try them again.
# borrowed_s, borrowed_m: from backbones that know the photographs already, taught by sod_l's maps, 80 minutes on two busy
# cores (ours of borrowed_s from the sod_s before, which had sod_m's genotype). lite0_m: EfficientNet-Lite0 less two deep
# blocks, in sod_m's place, from ImageNet's weights, 54 minutes on two cores. The others go on from the package's networks,
# ours from those that it had before: plain_s, as_before_s and taught_s from sod_s, varied_m from sod_m; narrow_l and narrow_m
# from what retrain.prune leaves, first with maps of photographs that the teachers have not seen (UNSEEN: the folder
# `unseen` of benchmarks/train_networks.sh in commit 3927520). lite2_l (EfficientNet-Lite2 in sod_l's place) and lite0_g (lite0_m for longer) took two and
# a half minutes beside each other on a lent GPU, lite2_l2 one and a half; the teacher of ours
# of lite2_l2 was the mean of sod_l and lite2_l. live_s and blend_s: sod_s taught by sod_l at hand, half an hour on a core each.
# Ours of sod_s were of the sod_s before, whose sizes, for 144 px, they keep.
#
#     DUTS=DUTS-TR ECSSD=ECSSD UNSEEN=runs/networks/unseen bash benchmarks/networks_not_kept.sh [OPTIONS OF retrain.train]
set -euo pipefail
. "$(dirname "$0")/trainings.sh"
runs=${RUNS:-runs/not_kept}

test=(--recipe.epochs 0 --test "ECSSD=$ECSSD")
borrowed=("${test[@]}" --recipe photos_gpu --recipe.loss.teacher 0.5 --teacher "$runs/maps" --backbone_weights)
[ -d "$runs/maps" ] || "$python" -m retrain.predict --weights sod_l "$DUTS/DUTS-TR-Image" -o "$runs/maps"
run borrowed_s benchmarks/borrowed_s.yaml "${borrowed[@]}" retrain/networks/sod_m.safetensors --recipe.size 128 \
    --recipe.steps 2700 --recipe.optim.lr 0.002 --recipe.augment.scales '[0.875, 1, 1.125]' "$@"
run borrowed_m benchmarks/borrowed_m.yaml "${borrowed[@]}" retrain/networks/sod_l.safetensors --recipe.size 192 \
    --recipe.steps 2500 --recipe.batch_size 16 --recipe.optim.backbone_lr 0.3 --recipe.precision fp32 \
    --recipe.augment.scales '[0.833333333, 1, 1.166666667]' "$@"
run lite0_m benchmarks/lite0_m.yaml "${test[@]}" --recipe photos_cpu --recipe.size 224 --recipe.first_size 0.571 \
    --recipe.steps 4800 --recipe.ema 0.999 --recipe.loss.side_weights '[1.0, 0.5, 0.3]' --recipe.optim.warmup 0.03 \
    --recipe.augment.crop 0.25 --recipe.augment.rotate 5 --recipe.augment.colour 0.2 --backbone_weights package "$@"

small=(--recipe.size 144)
usual=(--recipe photos_s --recipe.augment.crop 0.2 --recipe.augment.colour 0.2)
varied=(--recipe photos_s --recipe.augment.crop 0.4 --recipe.augment.colour 0.4 --recipe.augment.rotate 15 --recipe.ema 0.998
    --recipe.plain 0.3)
three=(--recipe.augment.scales '[0.888888889, 1.0, 1.111111111]')
run plain_s sod_s --recipe photos_s "${small[@]}" --recipe.steps 600 --recipe.optim.lr 0.0003 --recipe.ema 0.99 --recipe.plain 1 --init sod_s "$@"
run as_before_s sod_s "${usual[@]}" "${small[@]}" "${three[@]}" --recipe.steps 900 --recipe.optim.lr 0.0015 --init sod_s "$@"
run taught_s sod_s "${usual[@]}" "${small[@]}" "${three[@]}" --recipe.steps 4800 --recipe.optim.lr 0.001 --recipe.plain 0.25 \
    --recipe.loss.teacher 0.5 --teacher "$runs/maps" --init sod_s "$@"
run small_l sod_l --recipe photos_s --recipe.size 160 --recipe.steps 500 --recipe.optim.lr 0.0003 --recipe.ema 0.99 --recipe.plain 1 --seed 61 \
    --init sod_l "$@"
for seed in 73 74; do  # m9 and m10 of docs/results.md; ours from the mean of m6 and m7 of train_networks.sh
    run "again_m$seed" sod_m "${varied[@]}" --recipe.size 224 --recipe.steps 1500 --recipe.optim.lr 0.0015 --seed "$seed" \
        --recipe.augment.scales '[0.75, 0.875, 1.0, 1.125]' --init sod_m "$@"
done
run varied_m sod_m "${varied[@]}" --recipe.size 224 --recipe.steps 1600 --recipe.optim.lr 0.0012 --seed 5 \
    --recipe.augment.scales '[0.714285714, 0.857142857, 1.0]' --init sod_m "$@"

much=(--recipe.augment.crop 0.4 --recipe.augment.colour 0.4 --recipe.augment.rotate 15)
gpu=(--recipe photos_gpu --recipe.epochs 0 "${much[@]}")
run lite2_l benchmarks/lite2_l.yaml "${gpu[@]}" --recipe.steps 3560 --recipe.plain 0.2 --recipe.augment.scales '[0.75, 0.875, 1.0]' \
    --seed 21 --backbone_weights package "$@"
run lite2_l2 benchmarks/lite2_l.yaml "${gpu[@]}" --recipe.steps 1200 --recipe.augment.scales '[0.75, 0.875, 1.0]' --recipe.optim.lr 0.0012 \
    --teacher sod_l --recipe.loss.teacher 1 --recipe.blend 0.5 --seed 31 --init "$runs/lite2_l/weights.safetensors" "$@"
run lite0_g benchmarks/lite0_m.yaml "${gpu[@]}" --recipe.steps 4150 --recipe.plain 0.2 --recipe.size 224 \
    --recipe.augment.scales '[0.78571, 0.857142857, 1.0]' --seed 22 --backbone_weights package "$@"
live=(sod_s --recipe photos_s "${much[@]}" --recipe.size 256 --recipe.augment.scales '[0.5, 0.5625, 0.625]' --recipe.optim.lr 0.0015
    --recipe.ema 0.998 --recipe.steps 1800 --teacher sod_l --init sod_s --seed 11)
run live_s "${live[@]}" --recipe.loss.teacher 0.5 "$@"
run blend_s "${live[@]}" --recipe.loss.teacher 1 --recipe.blend 0.6 "$@"
for name in live blend; do
    run "${name}_s2" sod_s --recipe photos_s "${small[@]}" --recipe.steps 500 --recipe.optim.lr 0.0003 --recipe.ema 0.99 --recipe.plain 1 --seed 12 \
        --init "$runs/${name}_s/weights.safetensors" "$@"
done

narrow() { # NAME NETWORK SIZE BUDGET OPTIONS...: cut to the budget, then 600 steps with maps
    local name=$1 network=$2 size=$3 budget=$4 left=$runs/$1 unseen=${UNSEEN:?folder of maps, see above}
    shift 4
    [ -e "$left/pruning.json" ] || "$python" -m retrain.prune --weights "$network" --size "$size" --budget "$budget" \
        --step_batches 4 --data "DUTS-TR=$DUTS" --cache "$runs/cache" -o "$left"
    run "${name}1" "$left/genotype.yaml" "${usual[@]}" "${near[@]}" --recipe.size "$size" --recipe.steps 600 --recipe.ema 0.99 \
        --recipe.plain 0.25 --recipe.loss.teacher 0.5 --teacher "$unseen" --init "$left/weights.safetensors" "$@"
}

near=(--recipe.augment.scales '[0.9230769, 1.0, 1.0769230]')
narrow narrow_l sod_l 208 345e6 "$@"
narrow narrow_m sod_m 256 343e6 "$@"
run narrow_m2 "$runs/narrow_m/genotype.yaml" "${usual[@]}" "${near[@]}" --recipe.size 256 --recipe.steps 1300 --recipe.ema 0.998 \
    --recipe.plain 0.3 --recipe.optim.lr 0.0012 --seed 1 --init "$runs/narrow_m1/weights.safetensors" "$@"
run narrow_m3 "$runs/narrow_m/genotype.yaml" "${varied[@]}" --recipe.size 256 --recipe.steps 1800 --recipe.optim.lr 0.0015 --seed 3 \
    --recipe.augment.scales '[0.75, 0.875, 1.0, 1.125]' --init "$runs/narrow_m2/weights.safetensors" "$@"
