#!/usr/bin/env bash
# What docs/performance.md says of training on a GPU, as one table: at most four minutes on an H100, single rows by name.
# usage: benchmarks/gpu.sh [ROW ...] [--brought DIR] [--out FILE] [--seconds 240] [--device cpu --tiny]; --list names the rows.
#
# The rows `photos` and `gate` need photographs (`photos` also the extra `weights`): ../shared/gpu/bring.py packs them, with the
# packages that a bare machine lacks, but for that extra. Where it has made .gpu, that is unpacked here; or name the unpacked folder.
#   there: benchmarks/gpu.sh --out "$OUT/gpu.md"
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
python=$root/.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
brought=()
if [ -f "$root/.gpu/unpack.sh" ] && [[ " $* " != *" --brought "* ]]; then
    folder=${TMPDIR:-/tmp}/sod-nas-brought
    [ -d "$folder" ] || { mkdir -p "$folder.part"; bash "$root/.gpu/unpack.sh" "$folder.part"; mv "$folder.part" "$folder"; }
    brought=(--brought "$folder")
    export PYTHONPATH=$folder/site${PYTHONPATH:+:$PYTHONPATH}
fi
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
exec "$python" "$here/gpu.py" "$@" "${brought[@]}"
