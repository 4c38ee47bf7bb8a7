#!/usr/bin/env bash
# What docs/results.md says of photographs: what three searches of each strategy found, random genotypes of the same space
# and the plain pyramid, all with the same photographs, order, steps and recipe, twice. One thread each, so that numbers do
# not depend on what else runs. About 6 minutes a search and 6 to 9 a training, 32 of them; what is there is not made again.
# OUT/compare/trainings.csv is benchmarks/results/photos.csv.
# usage: benchmarks/photos_compare.sh DUTS_TR_DIR ECSSD_DIR WEIGHTS_FILE OUT
set -euo pipefail
[ $# -eq 4 ] || { sed -n 6p "$0"; exit 2; }
export OMP_NUM_THREADS=1
here=$(dirname "$0") python=$(dirname "$0")/../.venv/bin/python
duts=$1 ecssd=$2 weights=$3 out=$4
search() {
    [ -e "$out/$1$2/genotype.yaml" ] || "$python" -m nas.search --config "$here/photos_search.yaml" --data "DUTS-TR=$duts" \
        --backbone_weights "$weights" --cache "$out/cache" --strategy "$1" --seed "$2" --guard.iterations 0 --out "$out/$1$2" "${@:3}"
    found+=("$1:$2=$out/$1$2/genotype.yaml")
}
found=()
for seed in 0 1 2; do
    search darts "$seed" --strategy.lr 0.01 --rivals 0
    search gdas "$seed" --strategy.lr 0.01 --steps 480 --evaluate_every 60 --rivals 6
    search one_shot "$seed" --steps 480 --evaluate_every 60 --trials.count 40 --rivals 0
done
"$python" -m retrain.compare --space "$out/darts0/space.yaml" --genotypes "${found[@]}" random:{0..5} fpn --seeds 0 1 \
    --out "$out/compare" --recipe "$here/photos_recipe.yaml" --recipe.size 128 --recipe.epochs 0 --recipe.steps 500 --data "DUTS-TR=$duts" \
    --test "ECSSD=$ecssd" --backbone_weights "$weights" --cache "$out/cache" --quick_scores true --held_out_limit 100 \
    --evaluate_every 250
