#!/usr/bin/env bash
# CSNet learns its widths at 80 px (ECCV 2020, section 3.3). First in 3,000 steps, whose rate falls to nothing before the
# scales have vanished: pruned at 1e-3 and trained on, beside the whole network trained on as long. Then in 6,000 more steps at
# the full rate, as the authors train, which falls only for the last quarter: pruned at their threshold, 1e-20. About an hour of
# one quiet core; what is there is not made again.
#
#     DUTS=../shared/data/DUTS-TR bash benchmarks/csnet_widths.sh
set -euo pipefail
. "$(dirname "$0")/trainings.sh"
runs=${RUNS:-runs/csnet_widths} recipe=(--recipe benchmarks/csnet_widths.yaml --held_out_limit 300)

run x1 csnet_x1 "${recipe[@]}" --evaluate_every 300
[ -e "$runs/pruned/pruning.json" ] ||
    "$python" -m retrain.prune --weights "$runs/x1/weights.safetensors" --data "DUTS-TR=$DUTS" --threshold 1e-3 -o "$runs/pruned"
further=(--recipe.steps 800 --recipe.optim.lr 0.001 --recipe.dynamic_decay 0 --evaluate_every 400)
run pruned_further "$runs/pruned/genotype.yaml" "${recipe[@]}" --init "$runs/pruned/weights.safetensors" "${further[@]}"
run whole_further csnet_x1 "${recipe[@]}" --init "$runs/x1/weights.safetensors" "${further[@]}"

full=(--recipe.steps 6000 --recipe.optim.schedule steps --recipe.optim.milestones '[0.75]' --recipe.optim.warmup 0)
run x1_long csnet_x1 "${recipe[@]}" --init "$runs/x1/weights.safetensors" "${full[@]}" --evaluate_every 500
[ -e "$runs/pruned_long/pruning.json" ] ||
    "$python" -m retrain.prune --weights "$runs/x1_long/weights.safetensors" --data "DUTS-TR=$DUTS" --threshold 1e-20 -o "$runs/pruned_long"
run pruned_long_further "$runs/pruned_long/genotype.yaml" "${recipe[@]}" --init "$runs/pruned_long/weights.safetensors" "${further[@]}"

"$python" - "$runs/x1" "$runs/x1_long" <<'P'
import re, sys
import torch
from nas.network.weights import load_weights

for run in sys.argv[1:]:
    _, weights = load_weights(f"{run}/weights.safetensors")
    scales = torch.cat([w.abs() for name, w in weights.items() if re.search(r"nodes\..*norm\.weight", name)])
    shares = ", ".join(f"{(scales < least).double().mean():.0%} below {least:g}" for least in (1e-3, 1e-8, 1e-10, 1e-20))
    print(f"{run}: {len(scales)} norm scales, {shares}")
P
