#!/usr/bin/env bash
# The table of docs/results.md that compares designs: Auto-MSFNet's released wiring, MINet's modules, CSNet's cross-stage head,
# the plain pyramid and a searched network, all on MobileNetV2, with the same photographs, order, recipe and backbone weights,
# three seeds, scored on held-out DUTS-TR and on ECSSD. OUT/table.tex, trade_off.pdf and photographs.png can go into a paper.
# At the defaults (two epochs at 160 px) 8 to 18 minutes a training on one core with bf16, fifteen of them; on a GPU give
# --device cuda --recipe photos_gpu. What is there is not made again: the same command goes on, and SEEDS="0 1 2 3" adds a seed.
# Words after OUT are options of retrain.compare, such as --recipe.size 112.
# usage: benchmarks/researchers_table.sh DUTS_TR_DIR ECSSD_DIR WEIGHTS_FILE OUT [OPTIONS]
set -euo pipefail
[ $# -ge 4 ] || { grep "^# usage" "$0"; exit 2; }
export OMP_NUM_THREADS=1
here=$(dirname "$0")
"${PYTHON:-$here/../.venv/bin/python}" -m retrain.compare \
    --genotypes "$here"/researchers_table/{auto_msfnet,minet,csnet_head,fpn}.yaml "searched=$here/searched_mobilenet_v2.yaml" \
    --seeds ${SEEDS:-0 1 2} --recipe photos_cpu --recipe.size 160 --recipe.epochs 2 \
    --data "DUTS-TR=$1" --test "ECSSD=$2" --backbone_weights "$3" --out "$4" "${@:5}"
