#!/usr/bin/env bash
# clang-tidy over the sources that differ from a commit, or over all.
#   scripts/tidy.sh [--all | COMMIT]     default: the parent of HEAD
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/cpu-release

if [[ "${1:-}" == --all ]]; then
  mapfile -t files < <(git ls-files 'src/*.cc' 'tests/*_test.cc')
else
  since=${1:-$(git rev-parse --verify -q HEAD~1 || git hash-object -t tree /dev/null)}
  mapfile -t files < <(git diff --name-only --diff-filter=d "$since" -- 'src/*.cc' 'tests/*_test.cc')
fi
# Only what is compiled in this build: no CUDA sources, no other platforms.
known=()
for file in "${files[@]}"; do
  if grep -q "\"file\": \".*/$file\"" "$build/compile_commands.json"; then
    known+=("$file")
  fi
done
echo "clang-tidy: ${#known[@]} files"
[[ ${#known[@]} -eq 0 ]] && exit 0
printf '%s\0' "${known[@]}" |
  xargs -0 -n 1 -P "$(nproc)" clang-tidy-16 --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option
