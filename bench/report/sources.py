"""Reads measurements: what `lycheedecode bench … --json`, `lycheedecode eval --out`,
bench/peers.py, bench/dense_stack.py and bench/llama_cpp.py write, or what `pack` made of it."""

import json
import math
import pathlib
import random
from dataclasses import dataclass, field

# Fields that a row must have, and the least value of a number.
BENCH_FIELDS = {"op": str, "context": 0, "batch": 1, "policy": str, "us_median": 1e-9}
OUR_BENCH_FIELDS = {"bytes": 0, "floor_us": 0, "time_over_floor": 0, "tokens_per_s": 0,
                    "read_gb_per_s": 0}
EVAL_FIELDS = {"task": str, "length": 1, "policy": str, "samples": 1, "kv_read": 0,
               "tokens_per_s": 0}
LLAMA_CPP_FIELDS = {"op": str, "variant": str, "context": 0, "tokens_per_s": 1e-9}
RATIO_FIELDS = {"ratio": str, "context": 0, "value": 0}
TOTALS_FIELDS = {"prompts": 0, "answers": 0, "prefilled_tokens": 0, "shared_tokens": 0,
                 "prefill_seconds": 0, "decode_seconds": 0}
# Numbers of an eval row that are null where there is no value.
EVAL_OPTIONAL = ("score", "ci_low", "ci_high", "difference", "difference_low", "difference_high",
                 "budget")
SETTING = ("policy", "heads", "budget", "cache_correction")
BOOTSTRAP_DRAWS = 2000


class ReportError(Exception):
    """A file or a document that cannot be used. The message begins with its name."""


@dataclass
class Source:
    """Rows of one kind. Every row says by itself which model it is of and, where the policy has
    them, which heads and budget; bench rows also which `run` (one call of the program) they come
    from. Bench rows of other programs have `peer`."""

    name: str
    is_eval: bool
    rows: list = field(default_factory=list)
    ratios: list = field(default_factory=list)  # of bench/llama_cpp.py
    totals: dict = field(default_factory=dict)  # of eval


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_field(where, row, name, wanted):
    value = row.get(name)
    if wanted is str:
        if not isinstance(value, str):
            raise ReportError(f"{where}: {name} must be a text, got {value!r}")
    elif not is_number(value) or value < wanted:
        raise ReportError(f"{where}: {name} must be a number of at least {wanted}, got {value!r}")


def check_fields(where, row, fields):
    if not isinstance(row, dict):
        raise ReportError(f"{where} must be an object")
    for key, wanted in fields.items():
        check_field(where, row, key, wanted)


def checked_list(name, content, key, fields):
    """Copies of the objects of a list, each with the fields that `fields` asks for."""
    rows = content.get(key) or []
    if not isinstance(rows, list):
        raise ReportError(f"{name}: {key} must be a list")
    for i, row in enumerate(rows):
        where = f"{name}: {key}[{i}]"
        check_fields(where, row, {})
        check_fields(where, row, fields(row))
    return [dict(row) for row in rows]


def eval_fields(row):
    return EVAL_FIELDS | {name: -math.inf for name in EVAL_OPTIONAL if row.get(name) is not None}


def bench_fields(row):
    if row.get("peer") and "error" in row:
        return {}
    return BENCH_FIELDS | ({} if row.get("peer") else OUR_BENCH_FIELDS)


def refuse_constant(text):
    raise ValueError(f"{text} is no number of JSON")


def read_object(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path}: no valid JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
        raise ReportError(f"{path}: no object with rows, as bench --json, peers and eval write")
    return content


def last_part(name):
    """A model or a plan as it is called, without the folders of the machine at hand."""
    return str(name or "").removeprefix("shape:").rstrip("/").split("/")[-1].removesuffix(".gguf")


def name_plan(row):
    if row.get("heads"):
        row["heads"] = last_part(row["heads"])


def ratio_fields(row):
    return RATIO_FIELDS | ({} if row.get("target") is None else {"target": 0})


def options_of(name, content):
    """What the rows were measured with; the peers' programs say it beside the rows."""
    options = content.get("options") or content
    if not isinstance(options, dict):
        raise ReportError(f"{name}: options must be an object")
    return options


def read_bench(name, content):
    options = options_of(name, content)
    rows = [row for row in checked_list(name, content, "rows", bench_fields)
            if "error" not in row]
    peers = checked_list(name, content, "peer_rows", lambda row: LLAMA_CPP_FIELDS)
    rows += [from_llama_cpp(row) for row in peers]
    for row in rows:
        row["model"] = last_part(row.get("model") or options.get("model") or options.get("shape"))
        row.setdefault("run", pathlib.Path(name).stem)
        for key in ("heads", "budget"):
            if row["policy"] != "dense" and options.get(key) is not None:
                row.setdefault(key, options[key])
        name_plan(row)
    return Source(name, False, rows,
                  ratios=checked_list(name, content, "ratios", ratio_fields))


def from_llama_cpp(row):
    """bench/llama_cpp.py says how many tokens a second its peer had."""
    tokens = row["context"] if row["op"] == "prefill" else 1
    return {"op": row["op"], "context": row["context"], "batch": 1, "policy": "dense",
            "peer": "llama.cpp " + row["variant"], "tokens_per_s": row["tokens_per_s"],
            "us_median": tokens * 1e6 / row["tokens_per_s"],
            **({"model": row["model"]} if "model" in row else {})}


def setting_of(row):
    return tuple(row.get(key) or None for key in SETTING)


def bootstrap(values):
    """95 % interval of the mean; None twice for fewer than two values."""
    if len(values) < 2:
        return None, None
    draw = random.Random(len(values))
    means = sorted(sum(draw.choices(values, k=len(values))) / len(values)
                   for _ in range(BOOTSTRAP_DRAWS))
    return means[BOOTSTRAP_DRAWS // 40], means[-1 - BOOTSTRAP_DRAWS // 40]


def add_kl_intervals(path, rows):
    """rows.json has means of the KL alone; the samples lie beside it."""
    samples = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            result = json.loads(line)
            key = (result["task"], result["length"], *setting_of(result))
            if "kl" in result["metrics"]:
                samples.setdefault(key, []).append(result["metrics"]["kl"])
        except (ValueError, TypeError, KeyError) as error:
            raise ReportError(f"{path}:{number}: no result of eval: {error}") from error
    for row in rows:
        key = (row["task"], row["length"], *setting_of(row))
        if key in samples:
            row["kl_low"], row["kl_high"] = bootstrap(samples[key])


def read_eval(path, name, content):
    rows = checked_list(name, content, "rows", eval_fields)
    totals = content.get("totals") or {}
    if totals:
        check_fields(f"{name}: totals", totals, TOTALS_FIELDS)
    for row in rows:
        row["model"] = last_part(row.get("model") or options_of(name, content).get("model"))
    add_kl_intervals(path.parent / "results.jsonl", rows)
    for row in rows:
        name_plan(row)
    return Source(name, True, rows, totals=totals)


def read(name):
    """The Source of a JSON file or of a folder that `eval --out` wrote."""
    path = pathlib.Path(name)
    if path.is_dir():
        path = path / "rows.json"
        if not path.exists():
            raise ReportError(f"{name}: no rows.json in this folder; eval writes it at its end")
    content = read_object(path)
    first = content["rows"][0] if content["rows"] else {}
    if isinstance(first, dict) and "task" in first:
        return read_eval(path, str(path), content)
    return read_bench(str(path), content)


def join(sources):
    """All rows of sources of one kind. A measurement may be there once only."""
    rows, found = [], {}
    for source in sources:
        for row in source.rows if source.is_eval else []:
            key = (row["model"], row["task"], row["length"], *setting_of(row))
            if key in found:
                what = " ".join(str(part) for part in key if part is not None)
                raise ReportError(f"{source.name}: {what} is in {found[key]} as well")
            found[key] = source.name
        rows += source.rows
    return rows
