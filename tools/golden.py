#!/usr/bin/env python3
"""Makes the golden outputs that parity tests compare with, from Hugging Face transformers.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install torch transformers safetensors gguf
    /tmp/golden/bin/python tools/golden.py tiny                       # tests/data/models/
    /tmp/golden/bin/python tools/golden.py smollm2 --gguf smollm2.gguf  # tests/data/smollm2_greedy.json

`tiny` writes a random model of every architecture and RoPE scaling as a folder, some also as a GGUF
file, each with golden.txt: log-probabilities of transformers in float32 with eager attention.
`smollm2` dequantises SmolLM2-135M-Instruct and decodes greedily.
"""
import argparse
import json
import math
import pathlib
import shutil

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

ROOT = pathlib.Path(__file__).resolve().parent.parent
NUM_TOKENS = 96  # beyond the original context (32) of every scaled model
DECODE_FROM = 61  # tokens 0 … 60 are the prompt of the decode goldens
ROW_POSITIONS = [0, 1, 2, 15, 31, 32, 33, 47, 63, 64, 80, 95]  # full distributions of these


def shape(arch, q_heads, kv_heads, head_dim, hidden, **extra):
    return dict(arch=arch, num_attention_heads=q_heads, num_key_value_heads=kv_heads, head_dim=head_dim,
                hidden_size=hidden, **extra)


# Group sizes 1 to 8 occur. `rope` is written as files in the wild have it: `rope_scaling` beside
# `rope_theta` (with the older key `type` for linear and dynamic), or the newer `rope_parameters`.
MODELS = {
    "llama2_mha": shape("llama", 4, 4, 8, 32, dtype="bf16", head_dim_key=False),
    "llama3_gqa": shape("llama", 6, 2, 8, 36, dtype="f32", rope_theta=500000.0, shards=2),
    "llama_tied": shape("llama", 8, 1, 8, 32, dtype="f16", tied=True),
    "llama31": shape("llama", 4, 2, 16, 32, dtype="bf16", rope_theta=500000.0, gguf=True, context=256, rope={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}),
    "llama_linear": shape("llama", 4, 2, 8, 32, dtype="bf16", gguf=True, context=128,
                          rope={"type": "linear", "factor": 4.0}),
    "llama_dynamic": shape("llama", 4, 2, 8, 32, dtype="bf16", context=32,
                           rope={"type": "dynamic", "factor": 4.0}),
    "llama_yarn": shape("llama", 4, 2, 24, 32, dtype="bf16", gguf=True, context=128, rope={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
    "mistral": shape("mistral", 4, 1, 24, 40, dtype="bf16", new_style=True),
    "qwen2": shape("qwen2", 7, 1, 8, 56, dtype="bf16", rope_theta=1000000.0, head_dim_key=False),
    "qwen2_tied": shape("qwen2", 4, 2, 8, 32, dtype="f16", rope_theta=1000000.0, head_dim_key=False, tied=True,
                        gguf=True),
    "qwen3": shape("qwen3", 5, 1, 16, 32, dtype="bf16", rope_theta=1000000.0, gguf=True),
    "qwen3_yarn": shape("qwen3", 6, 1, 16, 32, dtype="bf16", rope_theta=10000.0, new_style=True, context=128, rope={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 8.0,
        "beta_slow": 0.5, "attention_factor": 1.25}),
}
CLASSES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM",
           "qwen3": "Qwen3ForCausalLM"}
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
CONFIG_DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
LAYERS, FFN, VOCAB = 2, 28, 56


def config_json(m):
    """config.json as published models spell it, not as the installed transformers would save it."""
    theta = m.get("rope_theta", 10000.0)
    config = {
        "architectures": [CLASSES[m["arch"]]], "model_type": m["arch"], "hidden_act": "silu",
        "hidden_size": m["hidden_size"], "intermediate_size": FFN, "num_hidden_layers": LAYERS,
        "num_attention_heads": m["num_attention_heads"], "num_key_value_heads": m["num_key_value_heads"],
        "max_position_embeddings": m.get("context", 128), "rms_norm_eps": 1e-6 if "qwen" in m["arch"] else 1e-5,
        "vocab_size": VOCAB, "tie_word_embeddings": m.get("tied", False), "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": CONFIG_DTYPES[m["dtype"]],
    }
    if m.get("head_dim_key", True):
        config["head_dim"] = m["head_dim"]
    if m["arch"] in ("mistral", "qwen2", "qwen3"):
        config["sliding_window"] = None
    if m["arch"].startswith("qwen"):
        config["use_sliding_window"] = False
    if m["arch"] == "qwen3":
        config["attention_bias"] = False
    if m.get("new_style"):
        config["rope_parameters"] = {"rope_type": "default", "rope_theta": theta, **m.get("rope", {})}
    else:
        config["rope_theta"] = theta
        if "rope" in m:
            config["rope_scaling"] = m["rope"]
    return config


def random_weights(m, generator):
    """Scaled so that attention is peaked and logits are far from flat: errors must show."""
    hidden, dim = m["hidden_size"], m["head_dim"]
    q, kv = m["num_attention_heads"] * dim, m["num_key_value_heads"] * dim
    w = {}

    def matrix(name, rows, cols, gain):
        w[name] = torch.randn(rows, cols, generator=generator) * (gain / math.sqrt(cols))

    def vector(name, size, mean, std):
        w[name] = mean + std * torch.randn(size, generator=generator)

    tied = m.get("tied", False)
    matrix("model.embed_tokens.weight", VOCAB, hidden, 2.0 if tied else math.sqrt(hidden))
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        vector(p + "input_layernorm.weight", hidden, 1, 0.2)
        vector(p + "post_attention_layernorm.weight", hidden, 1, 0.2)
        for name, rows in (("q", q), ("k", kv), ("v", kv)):
            matrix(f"{p}self_attn.{name}_proj.weight", rows, hidden, 1.0 if name == "v" else 1.4)
            if m["arch"] == "qwen2":
                vector(f"{p}self_attn.{name}_proj.bias", rows, 0, 0.5)
        matrix(p + "self_attn.o_proj.weight", hidden, q, 1.0)
        if m["arch"] == "qwen3":
            vector(p + "self_attn.q_norm.weight", dim, 1.4, 0.3)
            vector(p + "self_attn.k_norm.weight", dim, 1.4, 0.3)
        matrix(p + "mlp.gate_proj.weight", FFN, hidden, 1.4)
        matrix(p + "mlp.up_proj.weight", FFN, hidden, 1.4)
        matrix(p + "mlp.down_proj.weight", hidden, FFN, 1.4)
    vector("model.norm.weight", hidden, 1, 0.2)
    if not tied:
        matrix("lm_head.weight", VOCAB, hidden, 2.0)
    return {name: tensor.to(DTYPES[m["dtype"]]).contiguous() for name, tensor in w.items()}


def save_folder(folder, m, weights):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config_json(m), indent=2) + "\n")
    shards = m.get("shards", 1)
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(weights)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: weights[name] for name in names[shard::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    total = sum(t.numel() * t.element_size() for t in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, layer, rest = stem.split(".", 3)
        return f"blk.{layer}.{GGUF_NAMES[rest]}.{kind}"
    return f"{GGUF_NAMES[stem]}.{kind}"


def permute_rows(tensor, heads):
    """Rows of q and k as Llama's GGUF files hold them, for RoPE over adjacent pairs."""
    return tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(tensor.shape)


def unpermute_rows(tensor, heads):
    return tensor.reshape(heads, tensor.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(tensor.shape)


def save_gguf(path, m, weights):
    config = config_json(m)
    arch = "llama" if m["arch"] == "mistral" else m["arch"]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(path.stem)
    writer.add_block_count(LAYERS)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(m["hidden_size"])
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(m["num_attention_heads"])
    writer.add_head_count_kv(m["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(m.get("rope_theta", 10000.0))
    writer.add_vocab_size(VOCAB)
    writer.add_key_length(m["head_dim"])
    writer.add_value_length(m["head_dim"])
    rope = m.get("rope", {})
    kind = rope.get("rope_type", rope.get("type"))
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
        if "original_max_position_embeddings" in rope:
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if kind == "llama3":
        dim = m["head_dim"]
        freqs = m["rope_theta"] ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
        writer.add_tensor("rope_freqs.weight", (freqs / llama3_frequencies(freqs, rope)).astype(np.float32))
    for name, tensor in weights.items():
        if arch == "llama" and ("q_proj" in name or "k_proj" in name):
            heads = m["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            tensor = permute_rows(tensor, heads)
        # Norms and biases are F32 in every published file.
        if tensor.dim() == 1 or m["dtype"] == "f32":
            writer.add_tensor(gguf_name(name), tensor.float().numpy())
        elif m["dtype"] == "f16":
            writer.add_tensor(gguf_name(name), tensor.contiguous().numpy())
        else:
            writer.add_tensor(gguf_name(name), tensor.contiguous().view(torch.uint8).numpy(),
                              raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama3_frequencies(freqs, rope):
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    wavelength = 2 * math.pi / freqs
    smooth = (low * rope["low_freq_factor"] / wavelength - rope["low_freq_factor"]) / (
        rope["high_freq_factor"] - rope["low_freq_factor"])
    mixed = (1 - smooth) * freqs / rope["factor"] + smooth * freqs
    return np.where(wavelength < high, freqs, np.where(wavelength > low, freqs / rope["factor"], mixed))


@torch.no_grad()
def log_probs(folder, tokens, decode_from, dtype=torch.float32):
    """[T, vocab]: tokens before `decode_from` in one pass, the rest one by one. A fresh model each
    time: transformers' dynamic RoPE remembers the longest sequence it has seen."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    out = model(torch.tensor([tokens[:decode_from]]), use_cache=True)
    rows = [out.logits[0]]
    for token in tokens[decode_from:]:
        out = model(torch.tensor([[token]]), past_key_values=out.past_key_values, use_cache=True)
        rows.append(out.logits[0])
    return torch.log_softmax(torch.cat(rows).double(), dim=-1)


def numbers(values):
    return " ".join(f"{v:.8g}" for v in values)


def save_golden(path, tokens, prefill, decode):
    """Lines of `name count values…`. next_*: log-probability of token i + 1 after tokens 0 … i."""
    following = torch.tensor(tokens[1:])
    positions = [p for p in ROW_POSITIONS if p < len(tokens)]
    steps = list(range(DECODE_FROM, len(tokens) - 1))
    lines = [
        f"tokens {len(tokens)} " + " ".join(map(str, tokens)),
        f"next_prefill {len(tokens) - 1} " + numbers(prefill[torch.arange(len(tokens) - 1), following].tolist()),
        f"row_positions {len(positions)} " + " ".join(map(str, positions)),
        f"rows {len(positions) * VOCAB} " + numbers(prefill[positions].flatten().tolist()),
        f"decode_from 1 {DECODE_FROM}",
        f"next_decode {len(steps)} " + numbers(decode[torch.tensor(steps), following[steps]].tolist()),
        f"last_decode_row {VOCAB} " + numbers(decode[-1].tolist()),
    ]
    path.write_text("\n".join(lines) + "\n")


def make_tiny(out):
    for number, (name, m) in enumerate(MODELS.items()):
        generator = torch.Generator().manual_seed(1000 + number)
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        weights = random_weights(m, generator)
        save_folder(folder, m, weights)
        tokens = torch.randint(0, VOCAB, (NUM_TOKENS,), generator=generator).tolist()
        prefill = log_probs(folder, tokens, NUM_TOKENS)
        decode = log_probs(folder, tokens, DECODE_FROM)
        double = log_probs(folder, tokens, NUM_TOKENS, torch.float64)
        save_golden(folder / "golden.txt", tokens, prefill, decode)
        if m.get("gguf"):
            save_gguf(folder / "model.gguf", m, weights)
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(f"{name}: {size} bytes, log-probs from {prefill.min():.2f} to {prefill.max():.3f}, float32 against "
              f"float64 {(prefill - double).abs().max():.1e}, decode against prefill "
              f"{(prefill - decode).abs().max():.1e}", flush=True)


def load_smollm2(path):
    reader = gguf.GGUFReader(path)
    names = {ours: theirs for theirs, ours in GGUF_NAMES.items()}
    q_heads, kv_heads = 9, 3
    weights = {}
    for tensor in reader.tensors:
        value = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            if parts[2] in ("attn_q", "attn_k"):
                value = unpermute_rows(value, q_heads if parts[2] == "attn_q" else kv_heads)
            name = f"model.layers.{parts[1]}.{names[parts[2]]}.weight"
        else:
            name = f"{names[parts[0]]}.weight"
        weights[name] = value
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=q_heads,
        num_key_value_heads=kv_heads, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0})
    config._attn_implementation = "eager"
    model = LlamaForCausalLM(config).float().eval()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model, smollm2_tokenizer(reader)


def smollm2_tokenizer(reader):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    text = lambda key: [bytes(reader.fields[key].parts[i]).decode() for i in reader.fields[key].data]
    tokens, kinds = text("tokenizer.ggml.tokens"), reader.fields["tokenizer.ggml.token_type"]
    merges = [tuple(m.split(" ", 1)) for m in text("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = [tokens[n] for n, i in enumerate(kinds.data) if kinds.parts[i][0] == 3]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tokenizer


PROMPTS = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune,",
    "<|im_start|>user\nWhat is the capital of France, and what is it known for?<|im_end|>\n<|im_start|>assistant\n",
    "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
    "The three laws of thermodynamics are:\n1.",
    "In 1815, the volcano Tambora erupted. The following year was called",
]


@torch.no_grad()
def make_smollm2(path, out, num_tokens):
    model, tokenizer = load_smollm2(path)
    samples = []
    for prompt in PROMPTS:
        prompt_ids = tokenizer.encode(prompt).ids
        ids, gaps, chosen, result = [], [], [], model(torch.tensor([prompt_ids]), use_cache=True)
        for _ in range(num_tokens):
            best = result.logits[0, -1].double().topk(2)
            ids.append(int(best.indices[0]))
            gaps.append(round(float(best.values[0] - best.values[1]), 5))
            chosen.append(round(float(result.logits[0, -1].double().log_softmax(-1)[ids[-1]]), 6))
            result = model(torch.tensor([[ids[-1]]]), past_key_values=result.past_key_values, use_cache=True)
        samples.append({"prompt": prompt, "prompt_ids": prompt_ids, "token_ids": ids, "logprobs": chosen, "gaps": gaps})
        print(repr(tokenizer.decode(ids)), "smallest gap", min(gaps), flush=True)
    lines = ",\n".join(json.dumps(s, separators=(",", ":")) for s in samples)
    out.write_text('{"model": "SmolLM2-135M-Instruct.Q4_1.gguf, dequantised, transformers float32 eager",\n'
                   '"samples": [\n' + lines + "\n]}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    tiny = commands.add_parser("tiny")
    tiny.add_argument("--out", type=pathlib.Path, default=ROOT / "tests/data/models")
    smollm2 = commands.add_parser("smollm2")
    smollm2.add_argument("--gguf", type=pathlib.Path, required=True)
    smollm2.add_argument("--out", type=pathlib.Path, default=ROOT / "tests/data/smollm2_greedy.json")
    smollm2.add_argument("--tokens", type=int, default=80)
    args = parser.parse_args()
    if args.command == "tiny":
        make_tiny(args.out)
    else:
        make_smollm2(args.gguf, args.out, args.tokens)


if __name__ == "__main__":
    main()
