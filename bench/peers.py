"""Times what other programs take for the same work on the same GPU, beside ours.

    python3 bench/peers.py linear --program build/cuda-release/bin/lycheedecode --shape llama3-8b --batch 1,8
    python3 bench/peers.py attention --program build/cuda-release/bin/lycheedecode --context 32768,131072
    python3 bench/peers.py decode --program build/cuda-release/bin/lycheedecode --context 32768,131072

linear: cuBLAS through PyTorch, in a CUDA graph over rotating weights that L2 does not hold, for every
row of `lycheedecode bench linear`.
attention: PyTorch's cuDNN and Flash attention of one query token a sequence, the same way, for every
dense row of `lycheedecode bench attention` (bf16; the peers read no 8 bits), the better of two layouts; FlashInfer, where it is installed,
for dense rows and those with a retrieval head in eight; and torch.topk beside `bench select`.
decode: whole steps of Hugging Face transformers over random weights and a random cache (transformers_peer.py).
Needs PyTorch with CUDA. Prints a line a row as it is measured; with --json, these on stderr, and at the end (also one by
SIGTERM) one object for bench/report.
"""

import argparse
import contextlib
import json
import random
import re
import subprocess
import sys

import flashinfer_peer
import torch
import transformers_peer
from kept_rows import kept_rows


BUDGET = 4096  # that of `bench attention` and `bench select` when none is given


def median_us(calls, repeats=15, warm_ups=3):
    """Median over launches of a graph of all `calls`, in microseconds a call."""
    calls[0]()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for i in range(warm_ups + repeats):
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        if i >= warm_ups:
            times.append(start.elapsed_time(end) * 1000 / len(calls))
    return sorted(times)[len(times) // 2]


def rotation(num_bytes):
    """As many buffers as our own bench rotates through."""
    l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    return max(3, min(64, -(-4 * l2_bytes // num_bytes)))


def cublas_us(outputs, inputs, batch):
    def random(*shape):
        return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)

    x = random(batch, inputs)
    weights = [random(outputs, inputs) for _ in range(rotation(2 * outputs * inputs))]
    return median_us([lambda w=w: torch.nn.functional.linear(x, w) for w in weights])


def ours(options, op, *more):
    command = [options.program, "bench", op, "--json", "--shape", options.shape, "--batch",
               options.batch, *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["rows"]


def peer_rows(row, peer, measure):
    """The same work by another program: a row of its time, one with its error, or none where it is
    not measured. The others go on: a peer may lack a kernel, memory, or what it compiles with."""
    same = ("op", "context", "batch", "policy", "weights", "kv_dtype")
    found = {key: row[key] for key in same} | {"peer": peer}
    try:
        us = measure()
    except Exception as error:  # of whatever kind another program's are
        lines = str(error).splitlines() or [""]
        return [found | {"error": f"{type(error).__name__}: {lines[0]}"}]
    finally:
        torch.cuda.empty_cache()
    return [] if us is None else [found | {"us_median": us}]


def linear(options):
    for row in ours(options, "linear", "--weights", options.weights):
        yield row
        outputs, inputs = map(int, re.search(r"(\d+)x(\d+)", row["policy"]).groups())
        yield from peer_rows(row, "cuBLAS bf16",
                             lambda: cublas_us(outputs, inputs, row["batch"]))


def sdpa_us(backend, batch, q_heads, kv_heads, head_dim, context):
    """The better of K and V by head and by token."""
    def random(*shape):
        return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)

    q = random(batch, q_heads, 1, head_dim)
    copies = rotation(4 * batch * kv_heads * context * head_dim)
    times = []
    for by_head in (True, False):
        def plane():
            if by_head:
                return random(batch, kv_heads, context, head_dim)
            return random(batch, context, kv_heads, head_dim).transpose(1, 2)

        caches = [(plane(), plane()) for _ in range(copies)]
        with torch.nn.attention.sdpa_kernel(backend):
            times.append(median_us([
                lambda kv=kv: torch.nn.functional.scaled_dot_product_attention(
                    q, *kv, enable_gqa=True) for kv in caches]))
        del caches
        torch.cuda.empty_cache()
    return min(times)


def flashinfer_us(row, q_heads, kv_heads, head_dim):
    """None for a kind of row that FlashInfer is not measured for."""
    batch, context = row["batch"], row["context"]
    if row["policy"] == "dense":
        requests = flashinfer_peer.dense_requests(batch, context)
        call = flashinfer_peer.Decode(requests, context, q_heads, kv_heads, head_dim)
    elif row["policy"].startswith("hybrid"):
        requests = flashinfer_peer.hybrid_requests(batch, kv_heads, context, row["retrieval_heads"],
                                                   BUDGET, random.Random(1).shuffle)
        call = flashinfer_peer.Decode(requests, context, q_heads // kv_heads, 1, head_dim)
    else:
        return None
    copies = rotation(4 * batch * kv_heads * context * head_dim)
    caches = [flashinfer_peer.random_cache(batch, kv_heads, head_dim, context,
                                           row["policy"] != "dense") for _ in range(copies)]
    return median_us([lambda cache=cache: call(cache) for cache in caches])


def attention(options):
    backends = torch.nn.attention.SDPBackend
    peers = {"cuDNN": backends.CUDNN_ATTENTION, "Flash": backends.FLASH_ATTENTION}
    contexts = ("--context", options.context)
    for kv_dtype in ("bf16", "fp8"):
        for row in ours(options, "attention", *contexts, "--kv-dtype", kv_dtype):
            yield row
            if kv_dtype != "bf16":
                continue
            if row["policy"] == "dense":
                shape = (row["batch"], *options.heads, row["context"])
                for name, backend in peers.items():
                    yield from peer_rows(row, name, lambda: sdpa_us(backend, *shape))
            if flashinfer_peer.available():
                yield from peer_rows(row, "FlashInfer", lambda: flashinfer_us(row, *options.heads))
    for row in ours(options, "select", *contexts, "--retrieval-heads", "1"):
        yield row
        yield from peer_rows(row, "torch.topk", lambda: topk_us(row["batch"], row["context"]))


def topk_us(batch, context):
    scores = [torch.randn(batch, context, device="cuda")
              for _ in range(rotation(4 * batch * context))]
    return median_us([lambda s=s: torch.topk(s, BUDGET, dim=1) for s in scores])


def decode(options):
    contexts = [int(context) for context in options.context.split(",")]
    batches = [int(batch) for batch in options.batch.split(",")]
    if not options.peer_alone:
        yield from ours(options, "decode", "--context", options.context)
    yield from transformers_peer.rows(options.shape, contexts, batches, options.repeats)


def print_line(row, file):
    floor = "" if "peer" in row else f"{row['floor_us']:.2f}"
    print(f"{row['op']:<11}{row['context']:>8}{row['batch']:>6} {row['policy']:<22}"
          f"{row['weights']:<7}{row['kv_dtype']:<6}{row.get('peer', 'ours'):<13}"
          f"{row['us_median']:>10.2f}{floor:>12}", file=file, flush=True)


def run(options):
    gpu, version = torch.cuda.get_device_name(), torch.__version__
    about = {"gpu": gpu, "pytorch": version, "shape": options.shape}
    lines = sys.stderr if options.json else sys.stdout
    print(f"{gpu}, PyTorch {version}; us, medians, and a plain read of the same bytes", file=lines,
          flush=True)
    with kept_rows(about) if options.json else contextlib.nullcontext([]) as rows:
        for row in options.measure(options):
            if "error" in row:
                print(f"{row['peer']}, context {row['context']}: {row['error']}", file=sys.stderr)
                continue
            rows.append(row)
            print_line(row, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("linear")
    command.add_argument("--program", default="build/cuda-release/bin/lycheedecode")
    command.add_argument("--shape", default="llama3-8b")
    command.add_argument("--batch", default="1,8")
    command.add_argument("--weights", default="bf16")
    command.set_defaults(measure=linear)
    command = commands.add_parser("attention")
    command.add_argument("--program", default="build/cuda-release/bin/lycheedecode")
    command.add_argument("--shape", default="llama3-8b")
    command.add_argument("--heads", type=int, nargs=3, default=[32, 8, 128],
                         help="the shape's query heads, KV heads and head_dim")
    command.add_argument("--batch", default="1,4,8")
    command.add_argument("--context", default="32768,131072")
    command.set_defaults(measure=attention)
    command = commands.add_parser("decode")
    command.add_argument("--program", default="build/cuda-release/bin/lycheedecode")
    command.add_argument("--shape", choices=transformers_peer.SHAPES, default="llama3-8b")
    command.add_argument("--batch", default="1")
    command.add_argument("--context", default="32768,131072")
    command.add_argument("--repeats", type=int, default=10)
    command.add_argument("--peer-alone", action="store_true",
                         help="leave our own rows out; bench/report joins those of another call")
    command.set_defaults(measure=decode)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="one object, for bench/report")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
