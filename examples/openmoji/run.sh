#!/usr/bin/env bash
# A real set of pictures, out of a public npm package: 4,495 drawings with a name and a group.
#
#   bash examples/openmoji/run.sh FOLDER       # needs npm, and pip install resvg-py
set -euo pipefail
out=${1:-real}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"

if [ ! -d "$out/package" ]; then
  (cd "$out" && npm pack --silent openmoji@17.0.0 && tar xzf openmoji-17.0.0.tgz)
fi
[ -e "$out/table/openmoji.csv" ] || python "$here/prepare.py" "$out/package" "$out/table"
[ -e "$out/data/dataset.json" ] || loupe build --source "$out/table/openmoji.csv" \
  --task "$here/task.yaml" --group-by family --output "$out/data"
[ -e "$out/model/training.json" ] || loupe train --dataset "$out/data" --output "$out/model" \
  --optimizer muon --learning-rate 0.002 --epochs 1000 --max-minutes "${MINUTES:-4}" --augment
loupe evaluate --model "$out/model" --dataset "$out/data" --output "$out/evaluation" --overwrite
