#!/usr/bin/env bash
# Every benchmark in turn, then the tests that are too long for `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
for script in benchmarks/*.py; do
  echo "== $script"
  python "$script"
done
pytest -m slow
