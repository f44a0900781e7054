"""Times what other programs take for the same work on the same GPU, beside ours.

    python3 bench/peers.py linear --program build/cuda-release/bin/lycheedecode --shape llama3-8b --batch 1,8
    python3 bench/peers.py attention --program build/cuda-release/bin/lycheedecode --context 32768,131072

linear: cuBLAS through PyTorch, in a CUDA graph over rotating weights that L2 does not hold, for every
row of `lycheedecode bench linear`.
attention: PyTorch's cuDNN and Flash attention of one query token a sequence, the same way, for every
dense row of `lycheedecode bench attention` (bf16; the peers read no 8 bits), the better of two layouts; and torch.topk beside `bench select`.
Needs PyTorch with CUDA. Prints one line a row, or with --json one object for bench/report.
"""

import argparse
import json
import re
import subprocess

import torch


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


def peer_row(row, peer, us):
    """The same work by another program."""
    same = ("op", "context", "batch", "policy", "weights", "kv_dtype")
    return {key: row[key] for key in same} | {"peer": peer, "us_median": us}


def linear(options):
    for row in ours(options, "linear", "--weights", options.weights):
        yield row
        outputs, inputs = map(int, re.search(r"(\d+)x(\d+)", row["policy"]).groups())
        yield peer_row(row, "cuBLAS bf16", cublas_us(outputs, inputs, row["batch"]))


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


def attention(options):
    backends = torch.nn.attention.SDPBackend
    peers = {"cuDNN": backends.CUDNN_ATTENTION, "Flash": backends.FLASH_ATTENTION}
    contexts = ("--context", options.context)
    for kv_dtype in ("bf16", "fp8"):
        for row in ours(options, "attention", *contexts, "--kv-dtype", kv_dtype):
            yield row
            if row["policy"] == "dense" and kv_dtype == "bf16":
                shape = (row["batch"], *options.heads, row["context"])
                for name, backend in peers.items():
                    yield peer_row(row, name, sdpa_us(backend, *shape))
    for row in ours(options, "select", *contexts, "--retrieval-heads", "1"):
        yield row
        scores = [torch.randn(row["batch"], row["context"], device="cuda")
                  for _ in range(rotation(4 * row["batch"] * row["context"]))]
        yield peer_row(row, "torch.topk",
                       median_us([lambda s=s: torch.topk(s, 4096, dim=1) for s in scores]))


def print_line(row):
    floor = "" if "peer" in row else f"{row['floor_us']:.2f}"
    print(f"{row['op']:<11}{row['context']:>8}{row['batch']:>6} {row['policy']:<22}"
          f"{row['weights']:<7}{row['kv_dtype']:<6}{row.get('peer', 'ours'):<13}"
          f"{row['us_median']:>10.2f}{floor:>12}", flush=True)


def run(options):
    gpu, version = torch.cuda.get_device_name(), torch.__version__
    rows = []
    if not options.json:
        print(f"{gpu}, PyTorch {version}; us, medians, and a plain read of the same bytes")
    for row in options.measure(options):
        rows.append(row)
        if not options.json:
            print_line(row)
    if options.json:
        print(json.dumps({"gpu": gpu, "pytorch": version, "shape": options.shape, "rows": rows}))


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
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="one object, for bench/report")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
