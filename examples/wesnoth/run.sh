#!/usr/bin/env bash
# A real set of pictures with a price, out of a public Debian package: 5,251 pictures of 274 units of
# the game Wesnoth, each with a name, a race and what it costs in gold. Test units were never seen.
#
#   bash examples/wesnoth/run.sh FOLDER       # needs apt-get and dpkg-deb (Debian, Ubuntu)
set -euo pipefail
out=${1:-wesnoth}
here=$(cd "$(dirname "$0")" && pwd)
core=$out/package/usr/share/games/wesnoth/1.16/data/core
mkdir -p "$out"

if [ ! -d "$core" ]; then
  (cd "$out" && apt-get download wesnoth-1.16-data && dpkg-deb -x wesnoth-1.16-data_*.deb package)
fi
[ -e "$out/table/wesnoth.csv" ] || python "$here/prepare.py" "$core" "$out/table"
[ -e "$out/data/dataset.json" ] || loupe build --source "$out/table/wesnoth.csv" \
  --task "$here/task.yaml" --id-column id --group-by unit --validation-share 0.1 \
  --test-share 0.2 --output "$out/data"
[ -e "$out/model/training.json" ] || loupe train --dataset "$out/data" --output "$out/model" \
  --optimizer muon --learning-rate 0.0015 --learning-rates.embeddings 0.003 \
  --learning-rates.head 0.003 --parts.tower frozen --augment --epochs 1000 \
  --max-minutes "${MINUTES:-5}"
[ -e "$out/model/calibration.json" ] || loupe calibrate --model "$out/model" --dataset "$out/data"
loupe evaluate --model "$out/model" --dataset "$out/data" --output "$out/evaluation" \
  --price median --overwrite
