# Sourced by the scripts of many trainings. DUTS: the folder of DUTS-TR; RUNS: where they lie.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}

run() { # NAME GENOTYPE OPTIONS...: trains $runs/NAME, or goes on with it; what has ended is left as it is
    local out=$runs/$1 genotype=$2
    shift 2
    if [ -e "$out/scores.json" ]; then return; fi
    if [ -e "$out/config.yaml" ]; then "$python" -m retrain.train --out "$out" --resume; return; fi
    "$python" -m retrain.train --genotype "$genotype" --data "DUTS-TR=$DUTS" --quick_scores true --cache "$runs/cache" --out "$out" "$@"
}
