#!/usr/bin/env bash
# Builds dsc in build/release, with as many jobs as there are cores. Usage: bash examples/build.sh [TARGET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(dsc)
log=build/build.log
mkdir -p build
echo "building ${targets[*]} (log: $log)"
if ! { cmake --preset release && cmake --build --preset release --target "${targets[@]}"; } >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  exit 1
fi
