#!/usr/bin/env bash
# Answers a question from a long text with hybrid decoding: with SmolLM2 if it can be had, else with
# the built-in model, which retrieves a passkey.
set -euo pipefail
cd "$(dirname "$0")/.."
program=build/cpu-release/bin/lycheedecode

if "$program" fetch smollm2; then
  exec "$program" run --model smollm2 --max-tokens 12 --compare-dense \
    --prompt-file examples/persuasion.txt --prompt "$(cat examples/persuasion_question.txt)"
fi
echo "The model could not be downloaded: the built-in model looks for its passkey instead." >&2
exec "$program" eval passkey --model builtin:needle --lengths 8192
