"""Tables and charts of speed: rows of `bench`, and of the peers measured beside them."""

from chart import DOTTED, Axis, Chart, Point, Series
from tables import groups, number, table, varying

KERNELS = ("attention", "select", "linear")
# What tells series apart, besides policy and peer.
NAMED = {"model": "{}", "op": "{}", "weights": "{} weights", "kv_dtype": "{} KV",
         "batch": "batch {}", "heads": "{}", "budget": "budget {}"}
COLORS = {"dense": 0, "hybrid": 1, "layer-shared": 2, "streaming": 3, "duo": 4, "page-bound": 5}
PEER_COLORS = (2, 4, 5, 3)


def namer(rows):
    """A function that names a row's series by what differs among `rows`."""
    keys = varying([row for row in rows if not row.get("peer")], NAMED)

    def name(row):
        parts = [row.get("peer") or row["policy"]]
        parts += [NAMED[key].format(row[key]) for key in keys if row.get(key) is not None]
        return ", ".join(parts)

    return name


def painter(rows):
    """A function from a row to colour and dash: policies and peers have colours; what else differs
    has dashes."""
    peers = list(dict.fromkeys(row["peer"] for row in rows if row.get("peer")))
    kinds = list(dict.fromkeys(tuple(row.get(key) for key in NAMED) for row in rows))

    def paint(row):
        if row.get("peer"):
            return {"color": PEER_COLORS[peers.index(row["peer"]) % len(PEER_COLORS)], "dash": 1}
        same = [kind for kind in kinds if any(
            tuple(other.get(key) for key in NAMED) == kind and not other.get("peer")
            and other["policy"] == row["policy"] for other in rows)]
        return {"color": COLORS.get(row["policy"], 6),
                "dash": same.index(tuple(row.get(key) for key in NAMED)) % DOTTED}

    return paint


def series_key(row):
    return (row.get("peer"), row["policy"], *(row.get(key) for key in NAMED))


def place(row):
    """What a row and its peers, or its dense row, have in common."""
    return (row["run"], row["model"], row["op"], row.get("weights"), row.get("kv_dtype"),
            row["batch"], row["context"])


def dense_times(rows):
    return {place(row): row["us_median"] for row in rows
            if row["policy"] == "dense" and not row.get("peer")}


def peer_columns(rows, unit, scale):
    """A column per peer beside our `rows`; a peer may have been measured in another call, and need
    not say what it stores weights and cache in."""
    same = ("model", "op", "policy", "batch", "context")
    stored = ("kv_dtype",) if unit == "µs" else ("kv_dtype", "weights")  # linear peers have bf16

    def cell(peer, row):
        for other in rows:
            if other.get("peer") == peer and all(other[key] == row[key] for key in same) and all(
                    other.get(key, row.get(key)) == row.get(key) for key in stored):
                return number(other["us_median"] * scale)
        return ""

    ours = [row for row in rows if not row.get("peer")]
    return [(f"{peer} {unit}", [cell(peer, row) for row in ours])
            for peer in dict.fromkeys(row["peer"] for row in rows if row.get("peer"))]


def is_step(row):
    return row["op"] not in KERNELS


def steps_table(rows):
    """Decode steps and prefills: time, floor, and what the peers took."""
    rows = [row for row in rows if is_step(row)]
    ours = [row for row in rows if not row.get("peer")]
    if not ours:
        return []
    dense = dense_times(rows)

    def against_dense(row):
        base = dense.get(place(row))
        return "" if row["policy"] == "dense" or not base else f"{base / row['us_median']:.2f}"

    def column(title, text):
        return title, [text(row) for row in ours]

    columns = [column(title, lambda row, key=key: str(row.get(key) or ""))
               for title, key in (("model", "model"), ("op", "op"), ("weights", "weights"),
                                  ("KV", "kv_dtype"))]
    columns += [
        column("context", lambda row: str(row["context"])),
        column("batch", lambda row: str(row["batch"])),
        column("policy", lambda row: row["policy"]),
        column("heads", lambda row: str(row.get("heads") or "")),
        column("budget", lambda row: str(row.get("budget") or "")),
        column("ms", lambda row: number(row["us_median"] * 1e-3)),
        column("tokens/s", lambda row: number(row["tokens_per_s"])),
        column("× dense", against_dense),
        column("MB read", lambda row: number(row["bytes"] * 1e-6)),
        column("read GB/s", lambda row: number(row["read_gb_per_s"])),
        column("× floor", lambda row: "" if row["op"] == "prefill"
               else f"{row['time_over_floor']:.2f}"),
        column("KV read", lambda row: f"{row['kv_read']:.2f}" if "kv_read" in row else "")]
    columns += peer_columns(rows, "ms", 1e-3)
    return table(columns, ("model", "op", "weights", "KV", "batch", "heads", "budget"))


def kernels_table(rows):
    """Kernels alone: their time, and a plain read of as many bytes in the same run."""
    rows = [row for row in rows if not is_step(row)]
    ours = [row for row in rows if not row.get("peer")]
    if not ours:
        return []

    def column(title, text):
        return title, [text(row) for row in ours]

    columns = [column(title, lambda row, key=key: str(row.get(key) or ""))
               for title, key in (("model", "model"), ("op", "op"), ("weights", "weights"),
                                  ("KV", "kv_dtype"), ("policy", "policy"),
                                  ("context", "context"), ("batch", "batch"))]
    columns += [column("retrieval heads", lambda row: str(row.get("retrieval_heads", ""))),
                column("layers", lambda row: str(row.get("layers", ""))),
                column("ids", lambda row: number(row.get("selected"))),
                column("MB", lambda row: number(row["bytes"] * 1e-6)),
                column("µs", lambda row: number(row["us_median"])),
                column("plain read µs", lambda row: number(row["floor_us"])),
                column("of read, %", lambda row: f"{share_of_read(row):.0f}")]
    columns += peer_columns(rows, "µs", 1)
    return table(columns, ("model", "op", "weights", "KV", "layers"))


def share_of_read(row):
    return 100 * row["floor_us"] / row["us_median"]


def decode_speeds(rows):
    """{(model, policy, heads, budget, context): tokens/s} of single sequences."""
    return {(row["model"], row["policy"], row.get("heads"), row.get("budget"), row["context"]):
            row["tokens_per_s"] for row in rows
            if row["op"] == "decode" and row["batch"] == 1 and not row.get("peer")}


def sort_by_x(points):
    return sorted(points, key=lambda point: point.x)


def time_chart(rows):
    """Time of a step against context, each policy above the floor of its bytes."""
    rows = [row for row in rows if is_step(row) and row["op"] != "prefill"]
    name, paint = namer(rows), painter(rows)
    lines, floors = [], []
    for members in groups(rows, series_key).values():
        points = [Point(row["context"], row["us_median"] * 1e-3) for row in members]
        lines.append(Series(name(members[0]), sort_by_x(points), **paint(members[0])))
        if not members[0].get("peer"):
            points = [Point(row["context"], row["floor_us"] * 1e-3) for row in members]
            floors.append(Series("read floor: " + name(members[0]), sort_by_x(points), dash=DOTTED,
                                 marker=False, color=paint(members[0])["color"]))
    return Chart("Time of a decode step", Axis("tokens in the cache", log=True, as_bytes=True),
                 Axis("ms a step", log=True), lines + floors)


def crossover_chart(rows):
    """A policy's time over dense's, of the same run, against context."""
    dense = dense_times(rows)
    rows = [row for row in rows if is_step(row) and not row.get("peer")
            and row["policy"] != "dense" and place(row) in dense]
    name = namer(rows)
    lines = []
    for i, members in enumerate(groups(rows, series_key).values(), 1):
        points = [Point(row["context"], row["us_median"] / dense[place(row)]) for row in members]
        lines.append(Series(name(members[0]), sort_by_x(points), color=i))
    return Chart("Time over dense decoding of the same run (below 1: faster)",
                 Axis("tokens in the cache", log=True, as_bytes=True),
                 Axis("time / time of dense", low=0), lines, level=1)


def read_share_chart(rows):
    """How much of a plain read's rate each measurement reaches, against what it reads."""
    rows = [row for row in rows if not row.get("peer") and row["op"] != "prefill"
            and row["bytes"] > 0 and row["floor_us"] > 0]

    def key(row):
        # The policy of a linear row is its layer.
        kind = row.get("weights") if row["op"] == "linear" else row["policy"]
        return row["op"], kind, row.get("kv_dtype") if row["op"] == "attention" else None

    series = []
    for i, ((op, kind, kv_dtype), members) in enumerate(groups(rows, key).items()):
        points = [Point(row["bytes"] * 1e-6, share_of_read(row), note=describe(row))
                  for row in members]
        name = " ".join(part for part in (op, kind, kv_dtype) if part)
        series.append(Series(name, sort_by_x(points), color=i, line=False))
    return Chart("Share of the rate of a plain read of the same bytes",
                 Axis("MB read", log=True), Axis("% of the plain read", low=0, high=100), series,
                 level=100)


def describe(row):
    what = row["policy"] if row["op"] == "linear" else f"context {row['context']}"
    if "retrieval_heads" in row:
        what += f", {row['retrieval_heads']} retrieval heads"
    return f"{what}, batch {row['batch']}"


TABLES = {"steps": steps_table, "kernels": kernels_table}
CHARTS = {"time": time_chart, "crossover": crossover_chart, "read-share": read_share_chart}
