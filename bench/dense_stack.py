"""A strong dense decode step to compare with: cuBLAS linear layers and PyTorch's fastest attention
(cuDNN, then Flash), the whole step in one CUDA graph, random bf16 weights and caches.

    python3 bench/dense_stack.py [--shape llama3-8b] [--context 32768,131072] [--batch 1]

Prints one JSON object for bench/report: rows like those of `lycheedecode bench decode` (there too
the shapes' own weights, "file", are bf16), and the rate of a plain read. Needs PyTorch with CUDA.
"""

import argparse
import statistics
import sys

import torch
import torch.nn.functional as F
from kept_rows import kept_rows
from torch.nn.attention import SDPBackend, sdpa_kernel

# layers, hidden, intermediate, query heads, KV heads, head_dim, vocabulary
SHAPES = {
    "llama3-8b": (32, 4096, 14336, 32, 8, 128, 128256),
    "qwen3-8b": (36, 4096, 12288, 32, 8, 128, 151936),
    "qwen2.5-7b": (28, 3584, 18944, 28, 4, 128, 152064),
}


def random_tensor(*shape):
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16).mul_(0.02)


class Model:
    """Weights of every layer, and a step over caches that are as long as the context."""

    def __init__(self, shape):
        (self.layers, self.hidden, self.mlp, self.heads, self.kv_heads, self.dim,
         vocab) = SHAPES[shape]
        kv = self.kv_heads * self.dim
        self.weights = [(random_tensor(self.heads * self.dim + 2 * kv, self.hidden),
                         random_tensor(self.hidden, self.heads * self.dim),
                         random_tensor(2 * self.mlp, self.hidden),
                         random_tensor(self.hidden, self.mlp)) for _ in range(self.layers)]
        self.lm_head = random_tensor(vocab, self.hidden)
        self.norm = torch.ones(self.hidden, device="cuda", dtype=torch.bfloat16)

    def weight_bytes(self):
        return 2 * (self.lm_head.numel() + sum(w.numel() for ws in self.weights for w in ws))

    def caches(self, context, batch):
        shape = (batch, self.kv_heads, context, self.dim)
        return [(random_tensor(*shape), random_tensor(*shape)) for _ in range(self.layers)]

    def step(self, x, caches, cos, sin):
        batch, half = x.shape[0], self.dim // 2
        for (qkv, out, gate_up, down), (k_cache, v_cache) in zip(self.weights, caches):
            h = F.linear(F.rms_norm(x, (self.hidden,), self.norm), qkv)
            h = h.view(batch, self.heads + 2 * self.kv_heads, self.dim)
            qk = h[:, :self.heads + self.kv_heads]
            qk = qk * cos + torch.cat((-qk[..., half:], qk[..., :half]), -1) * sin
            k_cache[:, :, -1] = qk[:, self.heads:]
            v_cache[:, :, -1] = h[:, self.heads + self.kv_heads:]
            q = qk[:, :self.heads].unsqueeze(2)
            o = F.scaled_dot_product_attention(q, k_cache, v_cache, enable_gqa=True)
            x = x + F.linear(o.reshape(batch, -1), out)
            gate, up = F.linear(F.rms_norm(x, (self.hidden,), self.norm), gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.linear(F.rms_norm(x, (self.hidden,), self.norm), self.lm_head).argmax(-1)


def spread_us(launch, repeats):
    times = []
    for i in range(repeats + 3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        launch()
        end.record()
        end.synchronize()
        times += [start.elapsed_time(end) * 1e3] if i >= 3 else []
    times.sort()
    return statistics.median(times), times[len(times) // 10], times[len(times) * 9 // 10]


def peer_name(backend):
    return "strong stack, " + backend.name.removesuffix("_ATTENTION")


def measure(model, context, batch, backend, repeats):
    caches = model.caches(context, batch)
    x = random_tensor(batch, model.hidden)
    cos, sin = random_tensor(model.dim), random_tensor(model.dim)
    with torch.inference_mode(), sdpa_kernel(backend):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(2):
                model.step(x, caches, cos, sin)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            model.step(x, caches, cos, sin)
    cache_bytes = sum(2 * k.numel() * 2 for k, _ in caches)
    median, p10, p90 = spread_us(graph.replay, repeats)
    return {"op": "decode", "context": context, "batch": batch, "policy": "dense",
            "weights": "file", "kv_dtype": "bf16", "peer": peer_name(backend),
            "bytes": model.weight_bytes() + cache_bytes, "us_median": median, "us_p10": p10,
            "us_p90": p90, "tokens_per_s": batch / median * 1e6}


def read_gb_per_s():
    data = torch.ones(1 << 30, device="cuda", dtype=torch.float32)
    return data.numel() * 4 / spread_us(lambda: torch.sum(data), 20)[0] / 1e3


def measure_all(options):
    """Rows of all contexts, batches and backends; one that fails has its error."""
    model = Model(options.shape)
    for context in map(int, options.context.split(",")):
        for batch in map(int, options.batch.split(",")):
            for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):
                try:
                    yield measure(model, context, batch, backend, options.repeats)
                except RuntimeError as error:
                    yield {"context": context, "batch": batch, "peer": peer_name(backend),
                           "error": str(error).splitlines()[0]}
                torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama3-8b")
    parser.add_argument("--context", default="32768,131072")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    about = {"shape": options.shape, "gpu": torch.cuda.get_device_name(),
             "read_gb_per_s": read_gb_per_s()}
    with kept_rows(about) as rows:
        for row in measure_all(options):
            rows.append(row)
            print(row["peer"], row["context"], row["batch"], row.get("us_median", row.get("error")),
                  file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
