#!/usr/bin/env python3
"""Makes the golden gradients of head training, by PyTorch's autograd in double.

    apt-get install python3-torch     # 1.13 of Debian 12; any newer one will do
    python3 tools/gradient_golden.py  # tests/data/gradients/

Writes a random model of some layers for each architecture and golden.json beside it: tokens, gates
(alpha, beta and the uniform draw of each), and for every loss and chain the loss and its gradients by
alpha and beta. The student is written here once more, after algorithm.md, section 3, with nothing of
ours: attention over all tokens and over the set, blended by z; PyTorch finds the gradients.
"""
import argparse
import json
import math
import pathlib
import struct

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONTEXT, TARGET, VOCAB, FFN = 41, 12, 56, 28
BUDGET, SINK, RECENT = 12, 2, 3  # of the inference chain
RATIO = 0.3  # of the published chain
EPS = 1e-5
NOT_ANSWERS = (0, 4)  # rows whose next token no answer holds

# layers, query heads, KV heads, head size, hidden size
MODELS = {
    "llama": ("llama", 5, 4, 2, 8, 32),
    "mistral": ("mistral", 4, 6, 2, 8, 24),
    "qwen2": ("qwen2", 4, 6, 3, 8, 32),
    "qwen3": ("qwen3", 4, 4, 2, 16, 24),
}
CLASSES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM",
           "qwen3": "Qwen3ForCausalLM"}


def make_weights(shape, generator):
    """Scaled so that attention is peaked and logits are far from flat; rounded to bf16."""
    arch, layers, q_heads, kv_heads, dim, hidden = shape
    weights = {}

    def put(name, tensor):
        weights[name] = tensor.to(torch.bfloat16)

    def matrix(name, rows, cols, gain):
        put(name, torch.randn(rows, cols, generator=generator) * gain / math.sqrt(cols))

    def vector(name, size, mean, std):
        put(name, mean + std * torch.randn(size, generator=generator))

    matrix("model.embed_tokens.weight", VOCAB, hidden, math.sqrt(hidden))
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        vector(prefix + "input_layernorm.weight", hidden, 1, 0.2)
        vector(prefix + "post_attention_layernorm.weight", hidden, 1, 0.2)
        for name, heads in (("q", q_heads), ("k", kv_heads), ("v", kv_heads)):
            matrix(f"{prefix}self_attn.{name}_proj.weight", heads * dim, hidden, 1.4)
            if arch == "qwen2":
                vector(f"{prefix}self_attn.{name}_proj.bias", heads * dim, 0, 0.5)
        matrix(prefix + "self_attn.o_proj.weight", hidden, q_heads * dim, 1.2)
        if arch == "qwen3":
            vector(prefix + "self_attn.q_norm.weight", dim, 1.4, 0.3)
            vector(prefix + "self_attn.k_norm.weight", dim, 1.4, 0.3)
        matrix(prefix + "mlp.gate_proj.weight", FFN, hidden, 1.3)
        matrix(prefix + "mlp.up_proj.weight", FFN, hidden, 1.3)
        matrix(prefix + "mlp.down_proj.weight", hidden, FFN, 1.3)
    vector("model.norm.weight", hidden, 1, 0.2)
    matrix("lm_head.weight", VOCAB, hidden, 2.0)
    return weights


def save_model(folder, shape, weights):
    arch, layers, q_heads, kv_heads, dim, hidden = shape
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": [CLASSES[arch]], "model_type": arch, "hidden_act": "silu", "rms_norm_eps": EPS,
        "hidden_size": hidden, "intermediate_size": FFN, "num_hidden_layers": layers,
        "num_attention_heads": q_heads, "num_key_value_heads": kv_heads, "head_dim": dim,
        "vocab_size": VOCAB, "max_position_embeddings": 128, "rope_theta": 10000.0,
        "torch_dtype": "bfloat16", "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    entries, data = {}, b""
    for name, tensor in weights.items():
        raw = tensor.contiguous().view(torch.int16).numpy().tobytes()
        entries[name] = {"dtype": "BF16", "shape": list(tensor.shape),
                         "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)


def normalize(x, weight):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + EPS) * weight


def rotate(x, first):
    """RoPE of [rows, heads, dim] at positions first, first + 1, …"""
    dim = x.shape[-1]
    # Frequencies in single precision, as everywhere else.
    inv = (1.0 / 10000.0 ** (torch.arange(0, dim, 2).float() / dim)).double()
    angles = torch.arange(first, first + x.shape[0]).double()[:, None] * inv
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    a, b = x[..., : dim // 2], x[..., dim // 2:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def choose(scores, chain):
    """The token set of one row, as a mask over its n tokens."""
    n = scores.shape[0]
    chosen = torch.zeros(n, dtype=torch.bool)
    low, high, count = 0, n, math.ceil(RATIO * n)
    if chain == "inference":
        if n <= BUDGET:
            return ~chosen
        low, high, count = SINK, n - RECENT, BUDGET - SINK - RECENT
        chosen[:low] = True
        chosen[high:] = True
    order = torch.sort(scores[low:high], descending=True, stable=True)
    # Single and double precision must agree on who is in.
    assert count == high - low or order.values[count - 1] - order.values[count] > 1e-5
    chosen[low + order.indices[:count]] = True
    return chosen


class Model:
    def __init__(self, shape, weights):
        self.arch, self.layers, self.q_heads, self.kv_heads, self.dim, self.hidden = shape
        self.weights = {name: tensor.double() for name, tensor in weights.items()}
        self.group = self.q_heads // self.kv_heads

    def linear(self, name, x):
        y = x @ self.weights[name + ".weight"].T
        return y + self.weights[name + ".bias"] if name + ".bias" in self.weights else y

    def project(self, layer, x, first):
        prefix = f"model.layers.{layer}."
        x = normalize(x, self.weights[prefix + "input_layernorm.weight"])
        q, k, v = (self.linear(f"{prefix}self_attn.{name}_proj", x).view(x.shape[0], -1, self.dim)
                   for name in "qkv")
        if self.arch == "qwen3":
            q = normalize(q, self.weights[prefix + "self_attn.q_norm.weight"])
            k = normalize(k, self.weights[prefix + "self_attn.k_norm.weight"])
        return rotate(q, first), rotate(k, first), v

    def finish(self, layer, x, attended):
        prefix = f"model.layers.{layer}."
        x = x + self.linear(prefix + "self_attn.o_proj", attended.flatten(1))
        y = normalize(x, self.weights[prefix + "post_attention_layernorm.weight"])
        gate, up = self.linear(prefix + "mlp.gate_proj", y), self.linear(prefix + "mlp.up_proj", y)
        return x + self.linear(prefix + "mlp.down_proj", torch.nn.functional.silu(gate) * up)

    def run(self, tokens, cache, z=None, chain=None):
        """Final hidden states of tokens that follow the cache, a list of each layer's K and V; and the
        cache with them. With z, [layers, KV heads], the student's."""
        first = 0 if cache is None else cache[0][0].shape[0]
        x = self.weights["model.embed_tokens.weight"][torch.tensor(tokens)]
        causal = torch.arange(first + len(tokens)) <= torch.arange(first, first + len(tokens))[:, None]
        grown, sets = [], None
        for layer in range(self.layers):
            q, k, v = self.project(layer, x, first)
            if cache is not None:
                k, v = torch.cat([cache[layer][0], k]), torch.cat([cache[layer][1], v])
            grown.append((k, v))
            keys, values = (t.repeat_interleave(self.group, 1) for t in (k, v))
            raw = torch.einsum("rhd,nhd->hrn", q, keys)

            def attend(mask):
                weights = (raw / math.sqrt(self.dim)).masked_fill(~mask, -math.inf).softmax(-1)
                return torch.einsum("hrn,nhd->rhd", weights, values)

            out = attend(causal)
            if z is not None:
                if sets is not None:
                    blend = z[layer].repeat_interleave(self.group)[None, :, None]
                    out = blend * out + (1 - blend) * attend(sets)
                sets = self.next_sets(sets, raw.detach(), causal, z[layer].detach(), chain)
            x = self.finish(layer, x, out)
        return normalize(x, self.weights["model.norm.weight"]), grown

    def next_sets(self, sets, raw, causal, z, chain):
        """Masks of the layer above, [query heads, rows, tokens]."""
        grouped = raw.view(self.kv_heads, self.group, *raw.shape[1:]).mean(1)
        new = torch.zeros_like(raw, dtype=torch.bool) if sets is None else sets.clone()
        for head in range(self.q_heads):
            kv_head = head // self.group
            if chain == "inference" and z[kv_head] <= 0.5:
                continue
            scores = grouped[kv_head] if chain == "inference" else raw[head]
            for row in range(raw.shape[1]):
                n = int(causal[row].sum())
                new[head, row] = False
                new[head, row, :n] = choose(scores[row, :n], chain)
        return new


def draw_gates(count, first, generator):
    """alpha, beta, u. Of the gates from `first` on, some are clipped on either side and some are not; none
    is near a clip point or z = 0.5."""
    while True:
        alpha, beta = (0.6 + 1.2 * torch.rand(2, count, generator=generator).double())
        u = 0.02 + 0.96 * torch.rand(count, generator=generator).double()
        s = -0.1 + 1.2 * (1 - u ** (1 / beta)) ** (1 / alpha)
        near = torch.stack([(s - point).abs() for point in (0, 0.5, 1)]).min()
        s = s[first:]
        kinds = [s < 0, (s > 0) & (s < 0.5), (s > 0.5) & (s < 1), s > 1]
        if near > 0.02 and all(kind.any() for kind in kinds):
            return alpha, beta, u


def gates_of(alpha, beta, u):
    return (-0.1 + 1.2 * (1 - u ** (1 / beta)) ** (1 / alpha)).clamp(0, 1)


def distance(model, loss, teacher, student, answers):
    if loss == "hidden":
        return ((student - teacher) ** 2).mean()
    p, q = (model.linear("lm_head", states) for states in (teacher, student))
    if loss == "logits":
        return ((q - p) ** 2).mean()
    p, q = p.log_softmax(-1)[answers], q.log_softmax(-1)[answers]
    return (p.exp() * (p - q)).sum(-1).mean()


def make_golden(model, generator):
    tokens = torch.randint(0, VOCAB, (CONTEXT + TARGET,), generator=generator).tolist()
    context, target = tokens[:CONTEXT], tokens[CONTEXT:]
    answers = [row for row in range(TARGET) if row not in NOT_ANSWERS]
    gates = model.layers * model.kv_heads
    alpha, beta, u = draw_gates(gates, model.kv_heads, generator)
    _, cache = model.run(context, None)
    teacher, _ = model.run(target, cache)
    cases = []
    for chain in ("inference", "published"):
        for loss in ("hidden", "logits", "kl"):
            params = [t.clone().requires_grad_(True) for t in (alpha, beta)]
            z = gates_of(*params, u).view(model.layers, model.kv_heads)
            z = torch.cat([torch.ones_like(z[:1]), z[1:]])  # layer 0 has no gates
            student, _ = model.run(target, cache, z, chain)
            value = distance(model, loss, teacher, student, answers)
            value.backward()
            cases.append({"loss": loss, "chain": chain, "value": value.item(),
                          "d_alpha": params[0].grad.tolist(), "d_beta": params[1].grad.tolist()})
    return {"budget": BUDGET, "sink": SINK, "recent": RECENT, "context": context, "target": target,
            "answers": [int(row in answers) for row in range(TARGET)], "alpha": alpha.tolist(),
            "beta": beta.tolist(), "u": u.tolist(), "cases": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "tests/data/gradients")
    args = parser.parse_args()
    for number, (name, shape) in enumerate(MODELS.items()):
        generator = torch.Generator().manual_seed(2000 + number)
        weights = make_weights(shape, generator)
        save_model(args.out / name, shape, weights)
        golden = make_golden(Model(shape, weights), generator)
        text = json.dumps(golden, separators=(",", ":"))
        (args.out / name / "golden.json").write_text(text.replace(',"', ',\n"').replace(",{", ",\n{") + "\n")
        print(name, [f"{case['value']:.4g}" for case in golden["cases"]])


if __name__ == "__main__":
    main()
