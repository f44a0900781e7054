"""FlashInfer's decode attention over a paged cache: what `bench/peers.py attention` puts beside ours
where the package is there. Needs flashinfer-python, which compiles its kernels with nvcc and ninja
when they are first called.

Dense rows are one call over all sequences. Hybrid rows give every (sequence, KV head) a request of
its own, over all of its pages or over as many as the budget holds: the only way to let heads of one
layer read different tokens in one call.
"""

PAGE = 64


def num_pages(tokens):
    return -(-tokens // PAGE)


def dense_requests(batch, context):
    """Page lists of requests that are whole sequences."""
    pages = num_pages(context)
    return [list(range(row * pages, (row + 1) * pages)) for row in range(batch)]


def hybrid_requests(batch, kv_heads, context, num_dense, budget, shuffle):
    """Page lists of requests that are (sequence, KV head), the first `num_dense` heads dense. Pages
    are numbered head by head: page p of the sequence, head h, is p · kv_heads + h. `shuffle` puts a
    list in random order in place."""
    pages = num_pages(context)
    requests = []
    for row in range(batch):
        for head in range(kv_heads):
            chosen = list(range(pages))
            if head >= num_dense:
                last = chosen.pop()
                shuffle(chosen)
                chosen = sorted(chosen[:num_pages(budget) - 1]) + [last]
            requests.append([(row * pages + page) * kv_heads + head for page in chosen])
    return requests


def index_arrays(requests, context):
    """indptr, indices and the tokens of each last page, as FlashInfer wants them."""
    indptr, indices = [0], []
    for pages in requests:
        indices += pages
        indptr.append(len(indices))
    return indptr, indices, [(context - 1) % PAGE + 1] * len(requests)


def available():
    try:
        import flashinfer  # noqa: F401
    except ImportError:
        return False
    return True


class Decode:
    """One call of BatchDecodeWithPagedKVCacheWrapper on tensor cores."""

    def __init__(self, requests, context, q_heads, kv_heads, head_dim, backend="fa2"):
        import flashinfer
        import torch
        workspace = torch.zeros(256 << 20, dtype=torch.uint8, device="cuda")
        self.wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(
            workspace, "HND", use_tensor_cores=True, backend=backend)
        tensors = [torch.tensor(values, dtype=torch.int32, device="cuda")
                   for values in index_arrays(requests, context)]
        self.wrapper.plan(*tensors, q_heads, kv_heads, head_dim, PAGE,
                          q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16)
        self.q = torch.randn(len(requests), q_heads, head_dim, device="cuda", dtype=torch.bfloat16)

    def __call__(self, cache):
        return self.wrapper.run(self.q, cache)


def random_cache(batch, kv_heads, head_dim, context, heads_apart):
    """K and V in pages: [pages, 2, KV heads, tokens, head_dim], or a page to each head."""
    import torch
    pages, heads = batch * num_pages(context), kv_heads
    if heads_apart:
        pages, heads = pages * kv_heads, 1
    return torch.randn(pages, 2, heads, PAGE, head_dim, device="cuda", dtype=torch.bfloat16)
