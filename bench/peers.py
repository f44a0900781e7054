"""Times what other programs take for the same work on the same GPU, beside ours.

    python3 bench/peers.py linear --program build/cuda-release/bin/lycheedecode --shape llama3-8b --batch 1,8

linear: cuBLAS through PyTorch, in a CUDA graph over rotating weights that L2 does not hold, for every
row of `lycheedecode bench linear`. Needs PyTorch with CUDA. Prints one line a row.
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("linear")
    command.add_argument("--program", default="build/cuda-release/bin/lycheedecode")
    command.add_argument("--shape", default="llama3-8b")
    command.add_argument("--batch", default="1,8")
    command.add_argument("--weights", default="bf16")
    command.set_defaults(run=linear)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
