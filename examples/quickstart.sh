#!/usr/bin/env bash
# Installs what is needed, builds dsc, and trains a small GPT-2 on real English text on 8 ranks with ZeRO-3.
# Usage: bash examples/quickstart.sh [FILE...]     (text to train on; by default the licences that Debian ships)
set -euo pipefail
files=()
for file in "$@"; do files+=("$(realpath -- "$file")"); done
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash examples/install.sh
bash examples/build.sh

dsc=build/release/compiler/driver/dsc
out=run/quickstart
[ ${#files[@]} -gt 0 ] || files=(/usr/share/common-licenses/*)
corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT
for file in "${files[@]}"; do cp -L --backup=numbered -- "$file" "$corpus/"; done
rm -rf "$out"

"$dsc" train examples/gpt2_small/model.dsm --gpus 8 --layout zero3 --out "$out" --set data.train.path="$corpus/*"

echo
# value NAME: its value in each line of metrics.jsonl that has one, to four places.
value() { sed -nE "s/.*\"$1\": ?([0-9.eE+-]+).*/\1/p" "$out/metrics.jsonl" | awk '{printf "%.4f\n", $1}'; }
echo "loss: from $(value loss | head -n 1) to $(value loss | tail -n 1)"
echo "validation loss: $(value val_loss | tail -n 1)"
echo
echo "a sample:"
"$dsc" sample "$out" --prompt "The " --tokens 300 --temperature 0.8
cat <<TXT

next:
  $dsc explain examples/gpt2_small/model.dsm --gpus 8 --layout zero3      memory to the byte, and every collective
  $dsc explain examples/gpt2_xl/model.dsm --gpus 8 --layout zero3         the same for 1.5 billion parameters
  $dsc train examples/gpt2_small/model.dsm --gpus 4 --layout zero1 --set data.train.path="/usr/share/common-licenses/*"
  $dsc export $out -o run/quickstart-hf                                   a folder that Hugging Face loads
  $dsc help                                                               all verbs
TXT
