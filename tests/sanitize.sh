#!/usr/bin/env bash
# Builds with sanitizers and runs all tests under them. Usage: bash tests/sanitize.sh [address|thread]...   (both)
# address finds bad accesses, leaks and undefined behaviour; thread finds races.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(address thread)

bash examples/install.sh
export UBSAN_OPTIONS=print_stacktrace=1
for kind in "${kinds[@]}"; do
  case $kind in
    address) preset=asan run=() ;;
    thread) preset=tsan run=(setarch "$(uname -m)" -R) ;;  # GCC 12's runtime wants addresses that do not wander
    *) echo "sanitize: \`$kind\` is neither address nor thread" >&2; exit 2 ;;
  esac
  mkdir -p build
  echo "building with the $kind sanitizer (log: build/$preset.log)"
  if ! { cmake --preset "$preset" && cmake --build --preset "$preset"; } >"build/$preset.log" 2>&1; then
    tail -n 40 "build/$preset.log" >&2
    exit 1
  fi
  "${run[@]}" ctest --test-dir "build/$preset" --output-on-failure --timeout 900 -j "$(nproc)"
done
