"""Times what other programs take for the same work on the same GPU, beside ours.

    python3 bench/peers.py linear --program build/cuda-release/bin/lycheedecode --shape llama3-8b --batch 1,8
    python3 bench/peers.py attention --program build/cuda-release/bin/lycheedecode --context 32768,131072

linear: cuBLAS through PyTorch, in a CUDA graph over rotating weights that L2 does not hold, for every
row of `lycheedecode bench linear`.
attention: PyTorch's cuDNN and Flash attention of one query token a sequence, the same way, for every
dense row of `lycheedecode bench attention` (bf16; the peers read no 8 bits), the better of two layouts; and torch.topk beside `bench select`.
Needs PyTorch with CUDA. Prints one line a row.
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


def linear(options):
    command = [options.program, "bench", "linear", "--json", "--shape", options.shape,
               "--batch", options.batch, "--weights", options.weights]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; us, medians")
    print(f"{'weights':<8}{'batch':>6} {'layer':<22}{'ours':>9}{'plain read':>12}{'cuBLAS bf16':>13}")
    for row in json.loads(done.stdout)["rows"]:
        outputs, inputs = map(int, re.search(r"(\d+)x(\d+)", row["policy"]).groups())
        peer = cublas_us(outputs, inputs, row["batch"])
        print(f"{row['weights']:<8}{row['batch']:>6} {row['policy']:<22}{row['us_median']:>9.2f}"
              f"{row['floor_us']:>12.2f}{peer:>13.2f}")


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
    common = ["--json", "--shape", options.shape, "--context", options.context, "--batch",
              options.batch]

    def ours(op, *more):
        command = [options.program, "bench", op, *common, *more]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)["rows"]

    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; us, medians")
    print(f"{'context':>9}{'batch':>6} {'policy':<8}{'kv':<6}{'ours':>9}{'plain read':>12}"
          f"{'cuDNN':>9}{'Flash':>9}")
    for kv_dtype in ("bf16", "fp8"):
        for row in ours("attention", "--kv-dtype", kv_dtype):
            peers = ""
            if row["policy"] == "dense" and kv_dtype == "bf16":
                shape = (row["batch"], *options.heads, row["context"])
                peers = "".join(f"{sdpa_us(backend, *shape):9.1f}" for backend in
                                (backends.CUDNN_ATTENTION, backends.FLASH_ATTENTION))
            print(f"{row['context']:>9}{row['batch']:>6} {row['policy']:<8}{kv_dtype:<6}"
                  f"{row['us_median']:>9.1f}{row['floor_us']:>12.1f}{peers}", flush=True)
    for row in ours("select", "--retrieval-heads", "1"):
        scores = [torch.randn(row["batch"], row["context"], device="cuda")
                  for _ in range(rotation(4 * row["batch"] * row["context"]))]
        peer = median_us([lambda s=s: torch.topk(s, 4096, dim=1) for s in scores])
        print(f"{row['context']:>9}{row['batch']:>6} select 4096   {row['us_median']:>8.1f}"
              f"   torch.topk {peer:.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("linear")
    command.add_argument("--program", default="build/cuda-release/bin/lycheedecode")
    command.add_argument("--shape", default="llama3-8b")
    command.add_argument("--batch", default="1,8")
    command.add_argument("--weights", default="bf16")
    command.set_defaults(run=linear)
    command = commands.add_parser("attention")
    command.add_argument("--program", default="build/cuda-release/bin/lycheedecode")
    command.add_argument("--shape", default="llama3-8b")
    command.add_argument("--heads", type=int, nargs=3, default=[32, 8, 128],
                         help="the shape's query heads, KV heads and head_dim")
    command.add_argument("--batch", default="1,4,8")
    command.add_argument("--context", default="32768,131072")
    command.set_defaults(run=attention)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
