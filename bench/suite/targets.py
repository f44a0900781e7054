"""The targets, and what a run's rows say of each. A figure is a function of the results: its value,
or None where a row is missing."""

import itertools
import json
import math
import pathlib
from dataclasses import dataclass
from typing import Callable

from runner import NO_PROGRAM, records
from speed import FIRST, K, PLANS, RACECHECKED, TESTS

MILLISECONDS, SECONDS = 1e-3, 1e-6  # in a microsecond


@dataclass(frozen=True)
class Target:
    section: str
    text: str
    figure: Callable
    limit: float
    unit: str = ""
    at_least: bool = False


class Results:
    """What the steps of a run have printed."""

    def __init__(self, out):
        self.out = pathlib.Path(out)
        self.records = records(out)
        self.contents = {}

    def content(self, step):
        if step not in self.contents:
            path = self.out / f"{step}.json"
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                content = {}
            self.contents[step] = content if isinstance(content, dict) else {}
        return self.contents[step]

    def rows(self, step, **where):
        return [row for row in self.content(step).get("rows", []) if "error" not in row
                and all(matches(row.get(key), value) for key, value in where.items())]

    def passed(self, step):
        """None where it was not run, or what it calls is not there."""
        last = self.records.get(step, [{"good": None, "code": None}])[-1]
        return None if last["code"] == NO_PROGRAM else last["good"]

    def seconds(self, step):
        """Of all calls together, where the last one was good."""
        lines = self.records.get(step, [])
        return sum(line["seconds"] for line in lines) if lines and lines[-1]["good"] else None


def matches(value, wanted):
    return wanted(value) if callable(wanted) else value == wanted


def field(step, name="us_median", scale=1.0, **where):
    """A number of the first row that is like `where`; ours unless a peer is named."""
    where = {"peer": None} | where

    def figure(results):
        rows = results.rows(step, **where)
        return rows[0][name] * scale if rows and rows[0].get(name) is not None else None

    return figure


def quotient(upper, lower):
    def figure(results):
        a, b = upper(results), lower(results)
        return None if a is None or not b else a / b

    return figure


def difference(left, right, scale=1.0):
    def figure(results):
        a, b = left(results), right(results)
        return None if a is None or b is None else (a - b) * scale

    return figure


def least(figures):
    """The smallest, if none is missing."""
    def figure(results):
        values = [one(results) for one in figures]
        return None if not values or None in values else min(values)

    return figure


def largest(step, name, **where):
    where = {"peer": None} | where
    return lambda results: max((row[name] for row in results.rows(step, **where)), default=None)


def peer_ratio(step, peer, **where):
    """Our time over a peer's, both of one run."""
    return quotient(field(step, **where), field(step, peer=peer, **where))


def automatic_over_dense(step):
    """The worst of all lengths."""
    def figure(results):
        dense = {row["context"]: row["us_median"] for row in results.rows(step, policy="dense")}
        return max((row["us_median"] / dense[row["context"]]
                    for row in results.rows(step, policy="hybrid") if row["context"] in dense),
                   default=None)

    return figure


def length_name(tokens):
    return f"{tokens // K}K" if tokens % K == 0 else str(tokens)


def passed(steps):
    """1 where all have passed, 0 where one has failed."""
    def figure(results):
        found = [results.passed(step) for step in steps]
        return 0.0 if False in found else None if None in found else 1.0

    return figure


def of_both(name, one, other):
    """A list of two steps' answers, item by item, None where one of them has ended; nothing where
    an answer is missing."""
    def pairs(results):
        lists = [results.content(step).get(name) for step in (one, other)]
        return list(itertools.zip_longest(*lists)) if all(lists) else []

    return pairs


def equal_tokens(one, other):
    pairs = of_both("token_ids", one, other)

    def figure(results):
        found = pairs(results)
        return sum(a == b for a, b in found) / len(found) if found else None

    return figure


def largest_difference(one, other):
    pairs = of_both("logprobs", one, other)
    return lambda results: max((abs(a - b) for a, b in pairs(results) if None not in (a, b)),
                               default=None)


def tests():
    sanitizers = {"memcheck": 0, "synccheck": 0, "racecheck": len(RACECHECKED)}
    for name, shards in (TESTS | sanitizers).items():
        steps = [f"tests-{name}-{shard}" for shard in range(shards)] or [f"tests-{name}"]
        yield Target("tests", f"{name} passes", passed(steps), 1, at_least=True)
    yield Target("tests", "SmolLM2, CPU and GPU: share of equal greedy tokens",
                 equal_tokens("tests-greedy-cpu", "tests-greedy-cuda"), 1, at_least=True)
    yield Target("tests", "SmolLM2, CPU and GPU: largest difference of log-probability",
                 largest_difference("tests-score-cpu", "tests-score-cuda"), 1e-3)


def attention():
    one, none = f"attention-{FIRST}-bf16-1", f"attention-{FIRST}-bf16-0"
    yield Target("attention", "dense, 32K, batch 1",
                 field(one, policy="dense", context=32 * K, batch=1), 34, "µs")
    for batch, limit in ((1, 22), (4, 80), (8, 155)):
        yield Target("attention", f"hybrid 1 + 7 heads, 128K, batch {batch}", field(
            one, policy="hybrid", context=128 * K, batch=batch), limit, "µs")
    yield Target("attention", "8 sparse heads, 128K, batch 1",
                 field(none, policy="hybrid", context=128 * K, batch=1), 8, "µs")
    for batch in (1, 8):
        same = {"policy": "dense", "context": 128 * K, "batch": batch}
        yield Target("attention", f"fp8 KV over bf16, dense, 128K, batch {batch}",
                     quotient(field(one, **same), field(f"attention-{FIRST}-fp8-1", **same)), 1.7,
                     "×", at_least=True)


def select():
    yield Target("select", "8 rows of 128K, topk",
                 field("select-topk", context=128 * K, batch=8), 17, "µs")


def linear():
    for shape in PLANS:
        for weights in ("bf16", "fp8", "int8", "int4"):
            step = f"linear-{shape}-{weights}"
            yield Target("linear", f"{shape} {weights}: worst over plain read, batch 1 to 8",
                         largest(step, "time_over_floor", batch=lambda batch: batch <= 8), 1.111,
                         "×")


def decode():
    def step_ms(name, **where):
        return field(f"decode-{FIRST}-{name}", scale=MILLISECONDS, **where)

    for policy, batch, limit in (("dense", 1, 7.6), ("hybrid", 1, 4.5), ("hybrid", 2, 5.2),
                                 ("hybrid", 4, 6.5)):
        yield Target("decode", f"{policy} bf16, 128K, batch {batch}",
                     step_ms("128k", policy=policy, batch=batch), limit, "ms")
    for policy, batch, limit in (("dense", 1, 4.9), ("hybrid", 1, 4.1), ("hybrid", 8, 6.0)):
        yield Target("decode", f"{policy} bf16, 32K, batch {batch}",
                     step_ms("32k", policy=policy, batch=batch), limit, "ms")
    for weights, limit in (("fp8", 2.7), ("int8", 2.7), ("int4", 1.9)):
        yield Target("decode", f"hybrid {weights}, 128K, batch 1",
                     step_ms(weights, policy="hybrid", context=128 * K), limit, "ms")
    yield Target("decode", "selection: hybrid less duo, 128K, a layer",
                 difference(field(f"decode-{FIRST}-128k", policy="hybrid", batch=1),
                            field(f"decode-{FIRST}-duo", policy="duo"), 1 / 32), 2, "µs")
    yield Target("decode", "automatic over dense, 512 to 128K, worst",
                 automatic_over_dense(f"decode-{FIRST}-lengths"), 1.02, "×")


def prefill():
    for context, limit in ((32 * K, 1.2), (128 * K, 10.4)):
        yield Target("prefill", f"{FIRST}, {length_name(context)}",
                     field(f"prefill-{FIRST}", scale=SECONDS, context=context), limit, "s")


def memory():
    for name in ("1m", "1m-int8"):
        for policy in ("dense", "hybrid"):
            yield Target("memory", f"{policy}, 1M tokens, fp8 KV{name[2:].replace('-', ', ')}",
                         field(f"memory-{FIRST}-{name}", scale=MILLISECONDS, policy=policy),
                         math.inf, "ms")
    yield Target("memory", "a model that does not fit is refused",
                 passed(["memory-refused"]), 1, at_least=True)


def peers():
    step = f"peers-attention-{FIRST}"
    for context in (32 * K, 128 * K):
        for batch in (1, 4, 8):
            same = {"policy": "dense", "context": context, "batch": batch, "kv_dtype": "bf16"}
            yield Target("peers", f"dense attention over cuDNN, {length_name(context)}, "
                         f"batch {batch}", peer_ratio(step, "cuDNN", **same), 1, "×")
    yield Target("peers", "dense attention over cuDNN, 512K, batch 1",
                 peer_ratio(f"{step}-512k", "cuDNN", policy="dense", kv_dtype="bf16"), 1, "×")
    for batch in (1, 4, 8):
        yield Target("peers", f"hybrid attention over FlashInfer, 128K, batch {batch}",
                     peer_ratio(step, "FlashInfer", policy="hybrid", context=128 * K, batch=batch,
                                kv_dtype="bf16"), 1, "×")
    for shape in PLANS:
        for name, batch in (("128k", 1), ("128k", 2), ("32k", 1), ("32k", 8)):
            ours = field(f"decode-{shape}-{name}", policy="dense", batch=batch)
            stack = field(f"peers-stack-{shape}-{name}", batch=batch, peer="strong stack, CUDNN")
            yield Target("peers", f"{shape} dense step over strong stack, {name.upper()}, "
                         f"batch {batch}", quotient(ours, stack), 1, "×")
        yield Target("peers", f"{shape} transformers over hybrid step, 128K, batch 1", quotient(
            field(f"peers-transformers-{shape}", context=128 * K, peer="transformers dynamic"),
            field(f"decode-{shape}-128k", policy="hybrid", batch=1)), 1, "×", at_least=True)


def train():
    yield Target("train", "8B, 10K context, 1,000 rows: a step",
                 field(f"train-{FIRST}", "seconds_per_step"), 1.2, "s")
    for name in ("qwen2.5-coder-0.5b", "smollm2"):
        yield Target("train", f"{name}: a step", field(f"train-{name}", "seconds_per_step"),
                     math.inf, "s")


SECTIONS = {"tests": tests, "attention": attention, "select": select, "linear": linear,
            "decode": decode, "prefill": prefill, "memory": memory, "peers": peers,
            "train": train}


def line_of(target, value):
    sign = "≥" if target.at_least else "≤"
    if value is None:
        verdict, shown = "no figure", "–"
    else:
        shown = f"{value:.4g}"
        met = value >= target.limit if target.at_least else value <= target.limit
        verdict = "" if math.isinf(target.limit) else "met" if met else "MISSED"
    limit = "" if math.isinf(target.limit) else f"{sign} {target.limit:g}"
    return f"{target.section:<10}{target.text:<58}{shown:>9} {target.unit:<3}{limit:>10}  {verdict}"


def summary(targets, out):
    results = Results(out)
    return [line_of(target, target.figure(results)).rstrip() for target in targets]
