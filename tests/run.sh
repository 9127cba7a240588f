#!/usr/bin/env bash
# Installs what is needed, builds everything, and runs all tests. Usage: bash tests/run.sh [CTEST OPTIONS...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash examples/install.sh
bash examples/build.sh all
exec ctest --test-dir build/release --output-on-failure -j "$(nproc)" "$@"
