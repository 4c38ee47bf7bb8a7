#!/usr/bin/env bash
# What docs/results.md says of photographs: the searched genotype, random ones of the same space and the plain pyramid, all
# with the same photographs, order, steps and recipe. One thread each, so that numbers do not depend on what else runs.
# The darts search is given (SEARCH_RUN); those of gdas and one_shot are made here. About 9 minutes a training, 11 of them.
# usage: benchmarks/photos_compare.sh SEARCH_RUN DUTS_TR_DIR ECSSD_DIR WEIGHTS_FILE OUT
set -euo pipefail
[ $# -eq 5 ] || { sed -n 5p "$0"; exit 2; }
export OMP_NUM_THREADS=1
python=$(dirname "$0")/../.venv/bin/python
settings=(--recipe photos_cpu --recipe.size 128 --recipe.epochs 0 --recipe.steps 500 --data "DUTS-TR=$2" --test "ECSSD=$3"
          --weights "$4" --cache "$5/cache" --quick_scores true --held_out_limit 100 --evaluate_every 250)
"$python" -m retrain.compare --genotypes "searched=$1/genotype.yaml" fpn --seeds 0 1 --out "$5/fixed" "${settings[@]}"
"$python" -m retrain.compare --space "$1/space.yaml" --genotypes random:{0..5} --seeds 0 \
    --out "$5/random" "${settings[@]}"
search() {
    "$python" -m nas.search --config "$(dirname "$0")/photos_search.yaml" --data "DUTS-TR=$duts" --weights "$weights" \
        --cache "$out/cache" --steps 480 --evaluate_every 60 --guard.iterations 0 --strategy "$1" --out "$out/$1" "${@:2}"
}
duts=$2 weights=$4 out=$5
search gdas --rivals 6
search one_shot --trials.count 40 --rivals 40
"$python" -m retrain.compare --genotypes "gdas=$5/gdas/genotype.yaml" "one_shot=$5/one_shot/genotype.yaml" --seeds 0 \
    --out "$5/found" "${settings[@]}"
