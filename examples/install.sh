#!/usr/bin/env bash
# Installs what building and running dsc needs, on Debian 12, and the packages that are named. Uses sudo where the user is
# not root. Usage: bash examples/install.sh [PACKAGE...]
set -euo pipefail

packages=(g++ cmake ninja-build ccache antlr4 libantlr4-runtime-dev llvm-14-dev libxsmm-dev
          nlohmann-json3-dev libgtest-dev zlib1g-dev "$@")

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install: run as root, or install sudo: these are missing: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
