#!/usr/bin/env python3
"""Compares the program on SmolLM2-135M-Instruct with the goldens of transformers (tools/golden.py),
and its default arithmetic with its exact one; with --against, one device with another.

    tools/parity_smollm2.py --program build/cpu-release/bin/lycheedecode --model smollm2
    tools/parity_smollm2.py --program build/cuda-release/bin/lycheedecode --against cuda

Prints one line per prompt and check; exits 1 when a greedy continuation in exact arithmetic departs
from the golden one where the golden gap of the two best logits is clear, or a log-probability is off
by more than --tolerance. Of two devices, every policy's best token and best log-probabilities are compared
in exact arithmetic, at the same tolerance; best tokens may differ where the two best are closer than it.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOP_EXACT, TOP_DEFAULT = 256, 1024
TOP_DEVICES = 8
# Budgets that the texts, of a hundred tokens, exceed.
BUDGET = ("--budget", 48, "--sink", 4, "--recent", 12)
PLAN = ("--heads", ROOT / "plans/smollm2")
POLICIES = {"dense": (), "hybrid": (*BUDGET, *PLAN), "layer-shared": BUDGET, "streaming": BUDGET,
            "duo": (*BUDGET, *PLAN), "page-bound": BUDGET}
CLEAR_GAP = 1e-3  # between the two best logits; arithmetic in float may order closer ones either way


def call(program, command, ids, *flags):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(ids, file)
        file.flush()
        line = [program, command, "--token-ids", file.name, "--json", *map(str, flags)]
        done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(line)}: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def check_greedy(args, sample, number):
    golden, prompt = sample["token_ids"], sample["prompt_ids"]
    out = call(args.program, "run", prompt, "--model", args.model, "--threads", args.threads, "--exact", "--kv-dtype", "f32", "--policy", "dense",
               "--device", args.device, "--temperature", 0, "--max-tokens", len(golden))
    ids = out["token_ids"]
    same = next((i for i, (a, b) in enumerate(zip(ids, golden)) if a != b), min(len(ids), len(golden)))
    print(f"prompt {number}: greedy, exact: {same} of {len(golden)} tokens agree "
          f"(smallest golden gap {min(sample['gaps']):.5f})")
    return same >= 64 or sample["gaps"][same] < CLEAR_GAP


def score(args, sample, top, *flags):
    prompt, golden = sample["prompt_ids"], sample["token_ids"]
    return call(args.program, "score", prompt + golden, "--model", args.model, "--threads", args.threads, "--policy",
                "dense", "--device", args.device, "--decode-from", len(prompt), "--top-logprobs", top, *flags)


def check_log_probs(args, sample, number, exact):
    first = len(sample["prompt_ids"])
    errors = [abs(a - b) for a, b in zip(exact["logprobs"][first:], sample["logprobs"])]
    print(f"prompt {number}: log-probabilities, exact against transformers: worst {max(errors):.2e} of {len(errors)}")
    return max(errors) <= args.tolerance


def divergence(exact, other):
    """KL(exact || other) over exact's best ids that `other` lists too, the rest as one outcome: a lower
    bound of the true one, and close to it where those ids hold nearly all the mass."""
    q = dict((i, lp) for i, lp in other)
    kl, mass_p, mass_q = 0.0, 0.0, 0.0
    for token, log_p in exact:
        if token in q:
            kl += math.exp(log_p) * (log_p - q[token])
            mass_p += math.exp(log_p)
            mass_q += math.exp(q[token])
    rest_p, rest_q = max(1 - mass_p, 1e-12), max(1 - mass_q, 1e-12)
    return kl + rest_p * math.log(rest_p / rest_q)


def compare_devices(args, sample, number):
    """Every policy on --device and on --against; true when they agree."""
    prompt, golden = sample["prompt_ids"], sample["token_ids"]
    good = True
    for policy, flags in POLICIES.items():
        scores = [call(args.program, "score", prompt + golden, "--model", args.model, "--threads", args.threads, "--exact",
                       "--kv-dtype", "f32", "--device", device, "--policy", policy, *flags, "--decode-from", len(prompt),
                       "--top-logprobs", TOP_DEVICES) for device in (args.device, args.against)]
        pairs = list(zip(*(score["top_logprobs"][len(prompt) + 1:] for score in scores)))
        worst = max(abs(x[1] - y[1]) for a, b in pairs for x, y in zip(a, b))
        parted = sum(a[0][0] != b[0][0] and a[0][1] - a[1][1] > 2 * args.tolerance for a, b in pairs)
        print(f"prompt {number}: {policy}, {args.device} against {args.against}: log-probabilities worst {worst:.2e}, "
              f"other best tokens at {parted} of {len(pairs)}")
        good &= worst <= args.tolerance and parted == 0
    return good


def compare_default(args, sample, number, exact):
    first = len(sample["prompt_ids"])
    default = score(args, sample, TOP_DEFAULT)
    kls, agree = [], 0
    for a, b in zip(exact["top_logprobs"][first:], default["top_logprobs"][first:]):
        kls.append(divergence(a, b))
        agree += a[0][0] == b[0][0]
    print(f"prompt {number}: default arithmetic against exact: mean KL {sum(kls) / len(kls):.2e}, worst {max(kls):.2e}, "
          f"same best token at {agree} of {len(kls)}")
    return kls


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/cpu-release/bin/lycheedecode"))
    parser.add_argument("--model", default="smollm2", help="name, or the GGUF file")
    parser.add_argument("--golden", type=pathlib.Path, default=ROOT / "tests/data/smollm2_greedy.json")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of log-probabilities in exact arithmetic")
    parser.add_argument("--device", default="cpu", help="of the runs against the goldens, and the first of two devices")
    parser.add_argument("--against", help="a second device: compare every policy on the two, and nothing else")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    args = parser.parse_args()
    samples = json.loads(args.golden.read_text())["samples"]
    good, kls = True, []
    if args.against:
        for number, sample in enumerate(samples, 1):
            good &= compare_devices(args, sample, number)
        print("parity: " + ("yes" if good else "NO"))
        sys.exit(0 if good else 1)
    for number, sample in enumerate(samples, 1):
        good &= check_greedy(args, sample, number)
        exact = score(args, sample, TOP_EXACT, "--exact", "--kv-dtype", "f32")
        good &= check_log_probs(args, sample, number, exact)
        kls += compare_default(args, sample, number, exact)
    print(f"default arithmetic against exact: mean KL {sum(kls) / len(kls):.2e} over {len(kls)} tokens")
    print("parity: " + ("yes" if good else "NO"))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
