#!/usr/bin/env bash
# Installs what building and testing need, on Debian 12 or newer: as root through apt, otherwise it
# prints the line to type. Quick when all is there.
set -euo pipefail

# Each is justified in CONTRIBUTING.md.
packages=(
  g++ cmake ninja-build ccache pkg-config python3 clang-format
  libhwy-dev libdnnl-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev libcpp-httplib-dev
  libcurl4-openssl-dev libssl-dev libcli11-dev libfmt-dev libspdlog-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  ca-certificates python3-pip unzip python3-jieba
)
# What only .ci/run needs: fuzzing and clang-tidy.
ci_packages=(clang-16 clang-tidy-16 libclang-rt-16-dev libomp-16-dev git)
if [[ "${1:-}" == --ci ]]; then
  packages+=("${ci_packages[@]}")
elif [[ $# -gt 0 ]]; then
  echo "usage: scripts/setup.sh [--ci]" >&2
  exit 2
fi

if ! command -v dpkg-query >/dev/null; then
  echo "setup: not a Debian system; install the equivalents of: ${packages[*]}" >&2
  exit 1
fi
missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ "$status" == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $EUID -ne 0 ]]; then
  echo "setup: packages are missing. Install them with" >&2
  echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends "${missing[@]}"
