#!/usr/bin/env bash
# What docs/results.md says of photographs: the searched genotype, random ones of the same space and the plain pyramid, all
# with the same photographs, order, steps and recipe. One thread each, so that numbers do not depend on what else runs.
# usage: benchmarks/photos_compare.sh SEARCH_RUN DUTS_TR_DIR ECSSD_DIR WEIGHTS_FILE OUT
set -euo pipefail
[ $# -eq 5 ] || { sed -n 4p "$0"; exit 2; }
export OMP_NUM_THREADS=1
python=$(dirname "$0")/../.venv/bin/python
settings=(--recipe photos_cpu --recipe.size 128 --recipe.epochs 0 --recipe.steps 500 --data "DUTS-TR=$2" --test "ECSSD=$3"
          --weights "$4" --cache "$5/cache" --quick_scores true --held_out_limit 100 --evaluate_every 250)
"$python" -m retrain.compare --genotypes "searched=$1/genotype.yaml" fpn --seeds 0 1 --out "$5/fixed" "${settings[@]}"
"$python" -m retrain.compare --space "$1/space.yaml" --genotypes random:0 random:1 random:2 --seeds 0 \
    --out "$5/random" "${settings[@]}"
