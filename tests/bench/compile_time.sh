#!/usr/bin/env bash
# Prints how long `dsc check` of each example and `dsc explain` of GPT-2 XL on 8 ranks take (median of 5).
# Usage: bash tests/bench/compile_time.sh [DSC]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dsc=${1:-build/release/compiler/driver/dsc}

# median_ms COMMAND...: the median wall time of five runs, in milliseconds.
median_ms() {
  for _ in 1 2 3 4 5; do
    local begin end
    begin=$(date +%s%N)
    "$@" >/dev/null
    end=$(date +%s%N)
    echo $(((end - begin) / 10000))
  done | sort -n | sed -n 3p | awk '{printf "%.1f", $1 / 100}'
}

for file in examples/*/model.dsm; do
  printf '%-34s check   %7s ms  (aim: at most 50)\n' "$file" "$(median_ms "$dsc" check "$file")"
done
printf '%-34s explain %7s ms  (aim: at most 1000)\n' "gpt2_xl on 8 ranks, zero3" \
  "$(median_ms "$dsc" explain examples/gpt2_xl/model.dsm --gpus 8 --layout zero3)"
