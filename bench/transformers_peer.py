"""Decode steps of Hugging Face transformers over random weights and a random cache: what
`bench/peers.py decode` puts beside ours. Needs PyTorch with CUDA and transformers 5.
"""

import statistics
import time

# As in src/io/shape/shape_model.cc: model type, layers, hidden, intermediate, query heads, KV heads,
# head_dim, vocabulary, tied embeddings, RoPE base.
SHAPES = {
    "tiny": ("llama", 4, 256, 512, 8, 2, 64, 512, False, 1e4),
    "smollm2-135m": ("llama", 30, 576, 1536, 9, 3, 64, 49152, True, 1e5),
    "qwen2.5-7b": ("qwen2", 28, 3584, 18944, 28, 4, 128, 152064, False, 1e6),
    "llama3-8b": ("llama", 32, 4096, 14336, 32, 8, 128, 128256, False, 5e5),
    "qwen3-8b": ("qwen3", 36, 4096, 12288, 32, 8, 128, 151936, False, 1e6),
}


def config_fields(shape, context):
    """The fields of a transformers configuration for one of SHAPES, with room for `context` tokens."""
    (model_type, layers, hidden, intermediate, q_heads, kv_heads, head_dim, vocab, tied,
     rope_theta) = SHAPES[shape]
    return {"model_type": model_type, "num_hidden_layers": layers, "hidden_size": hidden,
            "intermediate_size": intermediate, "num_attention_heads": q_heads,
            "num_key_value_heads": kv_heads, "head_dim": head_dim, "vocab_size": vocab,
            "tie_word_embeddings": tied, "max_position_embeddings": context,
            "rope_parameters": {"rope_type": "default", "rope_theta": rope_theta}}


def make_model(shape, context):
    """In bf16 on the GPU, with the SDPA attention that users get."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**config_fields(shape, context))
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16,
                                                 attn_implementation="sdpa")
    return model.eval()


class Dynamic:
    """The cache that transformers takes when none is named: each step copies it to append."""

    name = "transformers dynamic"

    def __init__(self, config, context):
        from transformers import DynamicCache
        self.cache = DynamicCache(config=config)

    def forget_token(self):
        self.cache.crop(-1)


class Static:
    """The cache of a fixed size that transformers offers."""

    name = "transformers static"

    def __init__(self, config, context):
        from transformers import StaticCache
        self.cache = StaticCache(config=config, max_cache_len=context)

    def forget_token(self):
        for layer in self.cache.layers:
            layer.cumulative_length.sub_(1)


def fill(cache, config, batch, tokens):
    """Random K and V in place of a prompt's."""
    import torch
    for layer in range(config.num_hidden_layers):
        shape = (batch, config.num_key_value_heads, tokens, config.head_dim)
        cache.update(torch.randn(shape, device="cuda", dtype=torch.bfloat16),
                     torch.randn(shape, device="cuda", dtype=torch.bfloat16), layer)


def step_us(model, kind, context, batch, repeats, warm_ups=3):
    """Microseconds of steps over `context` tokens, the fed one included, each with the draw of the
    next token as our own rows have it: [repeats]."""
    import torch
    holder = kind(model.config, context)
    fill(holder.cache, model.config, batch, context - 1)
    ids = torch.zeros((batch, 1), device="cuda", dtype=torch.long)
    times = []
    with torch.inference_mode():
        for i in range(warm_ups + repeats):
            torch.cuda.synchronize()
            start = time.perf_counter()
            logits = model(input_ids=ids, past_key_values=holder.cache, use_cache=True).logits
            ids = logits[:, -1].argmax(-1, keepdim=True)
            ids.tolist()
            elapsed = (time.perf_counter() - start) * 1e6
            holder.forget_token()
            if i >= warm_ups:
                times.append(elapsed)
    return times


def rows(shape, contexts, batches, repeats):
    """Rows for bench/report. One that memory does not hold says so instead of a time."""
    import torch
    model = make_model(shape, max(contexts))
    for context in contexts:
        for batch in batches:
            for kind in (Dynamic, Static):
                row = {"op": "decode", "context": context, "batch": batch, "policy": "dense",
                       "weights": "file", "kv_dtype": "bf16", "peer": kind.name}
                try:
                    times = sorted(step_us(model, kind, context, batch, repeats))
                    median = statistics.median(times)
                    yield row | {"us_median": median, "us_p10": times[len(times) // 10],
                                 "us_p90": times[len(times) * 9 // 10],
                                 "tokens_per_s": batch / median * 1e6}
                except torch.OutOfMemoryError as error:
                    yield row | {"error": str(error).splitlines()[0]}
                torch.cuda.empty_cache()
