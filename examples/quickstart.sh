#!/usr/bin/env bash
# The whole job, readable from top to bottom: invent a catalogue, build a dataset, fine-tune the
# tiny base, learn how far it can be trusted, evaluate it beside its blind twin, read one picture.
# `make demo` runs it.
#
#   bash examples/quickstart.sh FOLDER       # run it again: finished stages are kept
set -euo pipefail
out=${1:-demo}
here=$(cd "$(dirname "$0")" && pwd)
started=$(date +%s)
mkdir -p "$out"

stage() { # stage FILE COMMAND...: run a stage unless its finishing file stands
  local finished=$1
  shift
  if [ -e "$finished" ]; then
    echo "== kept: $finished"
  else
    echo "== loupe $*"
    loupe "$@"
  fi
}

stage "$out/sample/sample.json" sample --house corvane --rows 9000 --seed 1 --output "$out/sample"

# Rows that agree in kind, colour and pattern stay on one side: test products are unseen
# combinations, not other pictures of a product that was trained on.
stage "$out/data/dataset.json" build --source "$out/sample" --output "$out/data" \
  --group-by kind colour pattern --validation-share 0.04 --test-share 0.07

stage "$out/model/training.json" train --dataset "$out/data" --output "$out/model" \
  --config "$here/tiny.yaml"

stage "$out/model/calibration.json" calibrate --model "$out/model" --dataset "$out/data"

stage "$out/evaluation/report.html" evaluate --model "$out/model" --dataset "$out/data" \
  --output "$out/evaluation" --words colour_word pattern_word \
  --price median

echo "== loupe predict: one picture as JSON"
loupe predict "$(find "$out/sample/images" -name '*.jpg' | sort | head -n 1)" --model "$out/model" \
  --price median --coverage 0.9

python "$here/demo_summary.py" "$out" "$started"
