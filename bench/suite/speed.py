"""The plan of all that is about speed and memory, and of the tests of device code."""

from dataclasses import replace

from steps import ROOT, Step, flags

K = 1024
BUDGET = 4096
# Retrieval heads of a plan: one KV head in eight of all layers.
PLANS = {"llama3-8b": "uniform:32", "qwen3-8b": "uniform:36", "qwen2.5-7b": "uniform:14"}
# Query heads, KV heads, head_dim.
HEADS = {"llama3-8b": (32, 8, 128), "qwen3-8b": (32, 8, 128), "qwen2.5-7b": (28, 4, 128)}
FIRST = "llama3-8b"  # the shape that most targets are about

# Programs with tests of device code, in parts of a few minutes.
TESTS = {"kernels_test": 4, "method_test": 2, "training_test": 2, "cli_test": 1}
# Few cases of every kernel that shares memory between threads: a sanitizer slows them a hundredfold.
SANITIZED = ("HybridDecode.*:*HybridDecodeCudaTest*:*SelectCudaTest*:*PrefillCudaTest*:"
             "*RowsCudaTest*:Greedy.*:Sample.*")
# Each half a minute of racecheck.
RACECHECKED = (
    "*HybridDecodeTest*/cuda_bf16_one_token:*HybridDecodeTest*/cuda_bf16_gqa_128",
    "*HybridDecodeTest*/cuda_bf16_several_chunks",
    "*HybridDecodeTest*/cuda_f16_ragged_parts:*HybridDecodeTest*/cuda_bf16_ragged_parts",
    "*HybridDecodeTest*/cuda_fp8_gqa_128:*HybridDecodeCudaTest.RoundedOutput*",
    "*LinearCudaTest.SwigluIsSiluOfGateTimesUp*",
    "*LinearCudaNormTest.NormsMatchReference*",
    "*SelectCudaTest*",
    "Sample.WhatIsNotFiniteIsTakenOrLeft",
)


def tests(setup):
    for name, shards in TESTS.items():
        for shard in range(shards):
            command = ["env", f"GTEST_TOTAL_SHARDS={shards}", f"GTEST_SHARD_INDEX={shard}",
                       setup.test_program(name), "--gtest_brief=1"]
            if name == "cli_test":
                command.append("--gtest_filter=*DeviceParity*")
            yield Step(f"tests-{name}-{shard}", "tests", command, 150, ext="txt", cuda=True)
    program = setup.test_program("kernels_test")
    for tool in ("memcheck", "synccheck"):
        yield sanitizer(tool, f"tests-{tool}", program, SANITIZED)
    for i, cases in enumerate(RACECHECKED):
        yield sanitizer("racecheck", f"tests-racecheck-{i}", setup.racecheck_tests or program, cases)
    yield from parity(setup)


def sanitizer(tool, name, program, cases):
    # Of the barriers in shared memory all but memcheck keep but few in mind, unless told.
    barriers = [] if tool == "memcheck" else ["--num-cuda-barriers", "512"]
    command = ["compute-sanitizer", "--tool", tool, *barriers, "--error-exitcode", "1", program,
               "--gtest_brief=1", f"--gtest_filter={cases}"]
    return Step(name, "tests", command, 300, ext="txt", cuda=True)


def parity(setup):
    """A real model on the CPU and on the GPU, in exact arithmetic."""
    text = str(ROOT / "examples" / "persuasion.txt")
    for device in ("cpu", "cuda"):
        own = replace(setup, device=device)
        values = {"json": True, "exact": True, "model": setup.smollm2}
        answer = own.lychee("run", **values, heads=str(ROOT / "plans" / "smollm2"), template=True,
                            prompt_file=text, prompt="What is this about?", max_tokens=64,
                            budget=512, sink=16, recent=64)
        # A cache of 16 bits would round what differs by the order of sums, some of it the other way.
        score = own.lychee("score", **values, kv_dtype="f32", text_file=text)
        for name, command in (("greedy", answer), ("score", score)):
            yield Step(f"tests-{name}-{device}", "tests", command, 120, cuda=device == "cuda")


def attention(setup):
    def step(name, seconds=20, **values):
        command = setup.lychee("bench", "attention", json=True, budget=BUDGET, **values)
        return Step(f"attention-{name}", "attention", command, seconds, result="attention")

    for shape, plan in PLANS.items():
        for kv in ("bf16", "fp8"):
            for retrieving in (1, 0):
                yield step(f"{shape}-{kv}-{retrieving}", shape=shape, kv_dtype=kv,
                           context=(32 * K, 128 * K), batch=(1, 4, 8), retrieval_heads=retrieving)
            yield step(f"{shape}-{kv}-512k", shape=shape, kv_dtype=kv, context=512 * K, batch=1,
                       retrieval_heads=1)
        for policy in ("hybrid", "layer-shared", "streaming", "duo", "page-bound"):
            yield step(f"{shape}-{policy}", shape=shape, context=128 * K, batch=1, policy=policy,
                       heads=plan if policy in ("hybrid", "duo") else None)


def select(setup):
    for rule in ("topk", "block", "ratio", "mass", "threshold"):
        command = setup.lychee("bench", "select", json=True, select=rule, budget=BUDGET,
                               context=(32 * K, 128 * K, 1024 * K), batch=(1, 4, 8),
                               select_threshold=1e-5 if rule == "threshold" else None)
        yield Step(f"select-{rule}", "select", command, 20, result="select")


def linear(setup):
    for shape in PLANS:
        for weights in ("bf16", "fp8", "int8", "int4"):
            command = setup.lychee("bench", "linear", json=True, shape=shape, weights=weights,
                                   batch=(1, 2, 4, 8, 16))
            yield Step(f"linear-{shape}-{weights}", "linear", command, 40, cuda=True,
                       result="linear")


def decode_step(setup, section, name, seconds, shape=FIRST, policy=None, **values):
    values = {"context": 128 * K, "batch": 1, "repeats": 10} | values
    heads = PLANS[shape] if policy in (None, "duo") else None
    command = setup.lychee("bench", "decode", json=True, shape=shape, heads=heads, budget=BUDGET,
                           policy=policy, **values)
    return Step(f"{section}-{name}", section, command, seconds, result=section)


def decode(setup):
    for shape in PLANS:
        yield decode_step(setup, "decode", f"{shape}-128k", 60, shape, batch=(1, 2, 4))
        yield decode_step(setup, "decode", f"{shape}-32k", 60, shape, context=32 * K,
                          batch=(1, 4, 8))
        for weights in ("fp8", "int8", "int4"):
            yield decode_step(setup, "decode", f"{shape}-{weights}", 60, shape, weights=weights,
                              context=(32 * K, 128 * K))
        yield decode_step(setup, "decode", f"{shape}-fp8-kv", 60, shape, weights="fp8",
                          kv_dtype="fp8", batch=(1, 4, 8))
    # Equal bytes without any selection: what selection costs a step is the difference.
    for policy in ("duo", "layer-shared", "streaming", "page-bound"):
        yield decode_step(setup, "decode", f"{FIRST}-{policy}", 60, policy=policy)
    # The first call keeps the length below which the second decodes densely.
    command = setup.lychee("bench", "crossover", json=True, shape=FIRST, heads=PLANS[FIRST],
                           budget=BUDGET, max_cache_tokens=256 * K)
    yield Step(f"decode-{FIRST}-crossover", "decode", command, 120, result="crossover")
    lengths = tuple(1 << power for power in range(9, 18))
    automatic = decode_step(setup, "decode", f"{FIRST}-lengths", 120, context=lengths)
    yield Step(**vars(automatic) | {"after": (f"decode-{FIRST}-crossover",),
                                    "result": "crossover"})


def prefill(setup):
    for shape in PLANS:
        command = setup.lychee("bench", "prefill", json=True, shape=shape, repeats=3,
                               context=(32 * K, 128 * K))
        yield Step(f"prefill-{shape}", "prefill", command, 120, result="prefill")


def memory(setup):
    """A million tokens on one card; the memory plan is in the step's log."""
    million = 1000000
    yield decode_step(setup, "memory", f"{FIRST}-1m", 120, context=million, kv_dtype="fp8")
    yield decode_step(setup, "memory", f"{FIRST}-1m-int8", 120, context=million, kv_dtype="fp8",
                      weights="int8")
    command = setup.lychee("bench", "decode", shape="llama3-70b", context=million)
    yield Step("memory-refused", "memory", command, 10, ext="txt", cuda=True, refused=True)


def peers(setup):
    def script(name, *words, **values):
        return [setup.python, str(ROOT / "bench" / name), *words, *flags(**values)]

    def step(name, seconds, command):
        return Step(f"peers-{name}", "peers", command, seconds, cuda=True, result="peers")

    program = str(setup.program)
    for shape, heads in HEADS.items():
        ours = {"program": program, "shape": shape, "json": True}
        attention = [*script("peers.py", "attention", **ours), "--heads", *map(str, heads)]
        # The first one compiles FlashInfer's kernels, where it is installed.
        yield step(f"attention-{shape}", 300 if shape == FIRST else 150, attention)
        yield step(f"attention-{shape}-512k", 60,
                   [*attention, "--context", str(512 * K), "--batch", "1"])
        yield step(f"linear-{shape}", 90, script("peers.py", "linear", **ours,
                                                 batch=(1, 2, 4, 8, 16)))
        yield step(f"stack-{shape}-128k", 90, script(
            "dense_stack.py", shape=shape, context=128 * K, batch=(1, 2)))
        yield step(f"stack-{shape}-32k", 90, script(
            "dense_stack.py", shape=shape, context=32 * K, batch=(1, 4, 8)))
        yield step(f"transformers-{shape}", 120, script(
            "peers.py", "decode", **ours, context=(32 * K, 128 * K), peer_alone=True))


def train(setup):
    for name, shape, model, context, rows, repeats in (
            (FIRST, FIRST, None, 10 * K, 1000, 3),
            ("qwen2.5-coder-0.5b", None, setup.qwen, 8 * K, 350, 5),
            ("smollm2", None, setup.smollm2, 3 * K, 350, 5)):
        command = setup.lychee("bench", "train", json=True, shape=shape, model=model,
                               context=context, rows=rows, repeats=repeats)
        yield Step(f"train-{name}", "train", command, 60)


SECTIONS = {"tests": tests, "attention": attention, "select": select, "linear": linear,
            "decode": decode, "prefill": prefill, "memory": memory, "peers": peers,
            "train": train}
