#!/usr/bin/env python3
"""Decode and prefill beside llama.cpp: the same GGUF file, the same threads, one run.

The peer is the PyPI package llama-cpp-python, built for the CPU at hand:

    python3 -m venv peer
    CMAKE_ARGS="-DGGML_NATIVE=ON" peer/bin/pip install llama-cpp-python==0.3.36
    peer/bin/python bench/llama_cpp.py --model FILE.gguf

Prints one table of rates and one of ratios against their targets, or one JSON object with --json.
The figures mean something on an otherwise idle machine alone; the load average is printed with
them. The peer decodes with flash attention off and on, and the better of both counts; its time
leaves the draw of the next token out, ours has it in.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

HEADS = "uniform:11"  # of SmolLM2's 90 KV heads
BUDGET = 1024
# Ratio, context, least value.
TARGETS = [
    ("dense decode / llama.cpp", 0, 1.8),
    ("dense decode / llama.cpp", 8192, 2.5),
    ("hybrid decode / llama.cpp", 8192, 5.0),
    ("hybrid decode / our dense", 8192, 1.8),
    ("prefill / llama.cpp", 2048, 2.0),
    ("prefill / llama.cpp", 8192, 2.0),
]
SECOND_TARGET = 1.5  # hybrid over our own dense, second model


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="GGUF file for both programs")
    parser.add_argument("--program", default="build/cpu-release/bin/lycheedecode")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--context", default="0,2048,8192", help="tokens in the cache: a,b,…")
    parser.add_argument("--heads", default=HEADS)
    parser.add_argument("--budget", type=int, default=BUDGET)
    parser.add_argument("--steps", type=int, default=32, help="measured decode steps a row")
    parser.add_argument("--second-model", help="hybrid against our own dense alone, random cache")
    parser.add_argument("--second-context", type=int, default=32768)
    parser.add_argument("--second-heads", default="uniform:7")
    parser.add_argument("--plain-buffers", action="store_true",
                        help="the peer's weights as the file has them: its repacked buffers (AMX) "
                             "crash on some machines")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.context = sorted(int(c) for c in options.context.split(","))
    return options


@contextlib.contextmanager
def native_output_dropped():
    """llama.cpp logs from C, past sys.stderr."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


class Peer:
    """One llama.cpp context over one model."""

    BATCH = 2048
    KV_F16 = 1  # GGML_TYPE_F16

    def __init__(self, path, threads, n_ctx, flash_attention, plain_buffers):
        # This file is called like the package, and its folder comes first in the search path.
        folder = os.path.dirname(os.path.realpath(__file__))
        sys.path[:] = [path for path in sys.path if os.path.realpath(path) != folder]
        import llama_cpp.llama_cpp as api

        self.api = api
        model_params = api.llama_model_default_params()
        model_params.n_gpu_layers = 0
        model_params.use_extra_bufts = not plain_buffers
        with native_output_dropped():
            api.llama_backend_init()
            self.model = api.llama_model_load_from_file(path.encode(), model_params)
            if not self.model:
                sys.exit(f"llama.cpp cannot load {path}")
            params = api.llama_context_default_params()
            params.n_ctx = n_ctx
            params.n_batch = self.BATCH
            params.n_ubatch = 512
            params.n_threads = threads
            params.n_threads_batch = threads
            params.flash_attn_type = int(flash_attention)
            params.type_k = self.KV_F16
            params.type_v = self.KV_F16
            self.context = api.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit(f"llama.cpp cannot make a context of {n_ctx} tokens")
        self.vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        self.length = 0

    def feed(self, ids):
        """Seconds to feed the ids."""
        start = time.perf_counter()
        for first in range(0, len(ids), self.BATCH):
            part = ids[first : first + self.BATCH]
            array = (self.api.llama_token * len(part))(*part)
            batch = self.api.llama_batch_get_one(array, len(part))
            if self.api.llama_decode(self.context, batch) != 0:
                sys.exit("llama_decode failed")
        self.api.llama_synchronize(self.context)
        self.length += len(ids)
        return time.perf_counter() - start

    def drop_after(self, length):
        memory = self.api.llama_get_memory(self.context)
        self.api.llama_memory_seq_rm(memory, 0, length, -1)
        self.length = length

    def close(self):
        self.api.llama_free(self.context)
        self.api.llama_model_free(self.model)


def token_ids(count, vocab):
    """Fixed, spread over the vocabulary."""
    return [(i * 7919 + 13) % vocab for i in range(count)]


def measure_peer(options, flash_attention):
    peer = Peer(options.model, options.threads, max(options.context) + options.steps + 64,
                flash_attention, options.plain_buffers)
    ids = token_ids(max(options.context) + 1, peer.vocab)
    peer.feed(ids[:512])  # warms up
    peer.drop_after(0)
    decode, prefill, seconds = {}, {}, 0.0
    for context in options.context:
        if context > peer.length:
            seconds += peer.feed(ids[peer.length : context])
            prefill[context] = context / seconds
        times = [peer.feed([ids[i]]) for i in range(options.steps + 3)]
        decode[context] = 1 / statistics.median(times[3:])
        peer.drop_after(context)
    peer.close()
    return decode, prefill


def run_ours(options, *arguments):
    command = [options.program, "bench", *arguments, "--threads", str(options.threads), "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {result.returncode}")
    return json.loads(result.stdout)


def measure_ours(options):
    contexts = ",".join(map(str, options.context))
    decode = run_ours(options, "decode", "--model", options.model, "--context", contexts,
                      "--heads", options.heads, "--budget", str(options.budget),
                      "--repeats", str(options.steps))
    prompts = ",".join(str(c) for c in options.context if c > 0)
    prefill = run_ours(options, "prefill", "--model", options.model, "--context", prompts)
    return decode["rows"] + prefill["rows"]


def find_rate(rows, op, policy, context):
    for row in rows:
        if (row["op"], row["policy"], row["context"]) == (op, policy, context):
            return row["tokens_per_s"]
    return None


def compare(rows, peer_decode, peer_prefill, contexts):
    ratios = []
    for context in contexts:
        dense = find_rate(rows, "decode", "dense", context)
        hybrid = find_rate(rows, "decode", "hybrid", context)
        prefill = find_rate(rows, "prefill", "dense", context)
        ratios.append(("dense decode / llama.cpp", context, dense / peer_decode[context]))
        ratios.append(("hybrid decode / llama.cpp", context, hybrid / peer_decode[context]))
        ratios.append(("hybrid decode / our dense", context, hybrid / dense))
        if context in peer_prefill:
            ratios.append(("prefill / llama.cpp", context, prefill / peer_prefill[context]))
    wanted = {(name, context): least for name, context, least in TARGETS}
    return [{"ratio": name, "context": context, "value": value,
             "target": wanted.get((name, context))} for name, context, value in ratios]


def measure_second(options):
    result = run_ours(options, "decode", "--model", options.second_model, "--context",
                      str(options.second_context), "--heads", options.second_heads,
                      "--budget", str(options.budget), "--repeats", str(options.steps))
    rows = result["rows"]
    for row in rows:
        row["model"] = options.second_model
    rows[1]["heads"] = options.second_heads
    value = rows[1]["tokens_per_s"] / rows[0]["tokens_per_s"]
    return rows, {"ratio": "hybrid decode / our dense, second model",
                  "context": options.second_context, "value": value, "target": SECOND_TARGET}


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"


def print_tables(result):
    print(f"{result['cpu']}, {result['threads']} threads, load average "
          f"{result['load_before']:.2f} before, {result['load_after']:.2f} after")
    print(f"\n{'program':<22}{'op':<9}{'policy':<8}{'context':>8}{'tokens/s':>10}{'MB':>9}"
          f"{'floor us':>10}{'x floor':>9}{'read GB/s':>11}")
    for row in result["rows"]:
        print(f"{'lycheedecode':<22}{row['op']:<9}{row['policy']:<8}{row['context']:>8}"
              f"{row['tokens_per_s']:>10.1f}{row['bytes'] / 1e6:>9.1f}{row['floor_us']:>10.0f}"
              f"{row['time_over_floor']:>9.2f}{row['read_gb_per_s']:>11.1f}")
    for row in result["peer_rows"]:
        print(f"{'llama.cpp ' + row['variant']:<22}{row['op']:<9}{'dense':<8}{row['context']:>8}"
              f"{row['tokens_per_s']:>10.1f}")
    print(f"\n{'ratio':<42}{'context':>8}{'value':>8}{'target':>8}")
    for ratio in result["ratios"]:
        target = ratio["target"]
        verdict = "" if target is None else ("  met" if ratio["value"] >= target else "  MISSED")
        print(f"{ratio['ratio']:<42}{ratio['context']:>8}{ratio['value']:>8.2f}"
              f"{'' if target is None else f'{target:.1f}':>8}{verdict}")


def main():
    options = parse_arguments()
    load_before = os.getloadavg()[0]
    rows = measure_ours(options)
    peer_rows, decode, prefill = [], {}, {}
    for flash_attention in (False, True):
        decoded, prefilled = measure_peer(options, flash_attention)
        variant = "flash" if flash_attention else "plain"
        for op, rates, best in (("decode", decoded, decode), ("prefill", prefilled, prefill)):
            for context, rate in rates.items():
                peer_rows.append({"op": op, "context": context, "variant": variant,
                                  "tokens_per_s": rate})
                best[context] = max(rate, best.get(context, 0))
    ratios = compare(rows, decode, prefill, options.context)
    if options.second_model:
        second_rows, ratio = measure_second(options)
        rows += second_rows
        ratios.append(ratio)
    result = {"cpu": cpu_name(), "threads": options.threads, "model": os.path.basename(options.model),
              "heads": options.heads, "budget": options.budget, "load_before": load_before,
              "load_after": os.getloadavg()[0], "rows": rows, "peer_rows": peer_rows,
              "ratios": ratios}
    if options.json:
        print(json.dumps(result))
    else:
        print_tables(result)


if __name__ == "__main__":
    main()
