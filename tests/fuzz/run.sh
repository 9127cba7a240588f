#!/usr/bin/env bash
# Fuzzes the three readers of foreign files, one after the other, and prints a line for each. Installs what is needed.
# New inputs are kept in build/fuzz/corpus/NAME. An input that fails is left in build/fuzz: give it to
# build/fuzz/tests/fuzz/NAME/fuzz_NAME to see it fail again, and put it into tests/fuzz/NAME/found when it is mended.
# Usage: bash tests/fuzz/run.sh [SECONDS [NAME...]]   (600 seconds each; grammar, plan, checkpoint)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-600}
names=("${@:2}")
[ ${#names[@]} -gt 0 ] || names=(grammar plan checkpoint)

bash examples/install.sh clang-14 libclang-rt-14-dev
mkdir -p build
targets=("${names[@]/#/fuzz_}")
if ! { cmake --preset fuzz && cmake --build --preset fuzz --target "${targets[@]}"; } >build/fuzz.log 2>&1; then
  tail -n 40 build/fuzz.log >&2
  exit 1
fi

# What is fuzzed beside the seeds of the folder, and with which options.
more_seeds() { if [ "$1" = grammar ]; then echo stdlib examples tests/golden/sema tests/golden/syntax; fi; }
options() {
  case $1 in
    grammar) echo -dict=tests/fuzz/grammar/words.dict -max_len=16384 ;;
    plan) echo -max_len=65536 ;;
    checkpoint) echo -max_len=16384 ;;
  esac
}

# The checkpoint reader reads files: better not on a disk.
if [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
failed=0
for name in "${names[@]}"; do
  corpus=build/fuzz/corpus/$name log=build/fuzz/$name.log
  mkdir -p "$corpus"
  folders=("$corpus")
  for folder in "tests/fuzz/$name/seeds" "tests/fuzz/$name/found" $(more_seeds "$name"); do
    [ ! -d "$folder" ] || folders+=("$folder")
  done
  status=0
  # shellcheck disable=SC2046
  "build/fuzz/tests/fuzz/$name/fuzz_$name" $(options "$name") -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix=build/fuzz/ "${folders[@]}" >"$log" 2>&1 || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
  cover=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
  if [ "$status" -eq 0 ]; then
    echo "$name: $runs inputs in $seconds s, ${cover:-cov: ?}, at most ${peak} MiB, nothing found"
  else
    failed=1
    echo "$name: failed, see $log: $(grep -m 1 -E 'ERROR|check failed|SUMMARY|runtime error' "$log" || tail -n 1 "$log")"
  fi
done
exit $failed
