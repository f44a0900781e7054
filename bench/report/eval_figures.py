"""Tables and charts of quality: rows of `eval`, with the speed of the same settings beside them."""

import math

from chart import DOTTED, Axis, Chart, Point, Series
from sources import ReportError, setting_of
from tables import groups, number, table

FOLLOWED = ("perplexity", "recall")  # of a text; their scores are no shares of right answers
COLORS = {"dense": 0, "hybrid": 1, "layer-shared": 2, "streaming": 3, "duo": 4, "page-bound": 5}


def setting_name(row):
    parts = [row["policy"], row.get("heads"), row.get("budget"),
             row.get("cache_correction") and f"correction {row['cache_correction']}"]
    return " ".join(str(part) for part in parts if part)


def method_name(row):
    """A setting without its budget: what one line of a chart connects."""
    return setting_name({**row, "budget": None})


def in_order(rows):
    """Settings by method, and by budget within one."""
    methods = list(groups(rows, method_name))
    return sorted(groups(rows, setting_of).values(), key=lambda members: (
        methods.index(method_name(members[0])), members[0].get("budget") or 0))


def answered(rows):
    return [row for row in rows if row["task"] not in FOLLOWED and row.get("score") is not None]


def dense_scores(rows):
    return {(row["task"], row["length"]): row["score"] for row in rows if row["policy"] == "dense"}


def tasks_dense_can_do(rows, least):
    """Rows of those tasks and lengths of which the dense model gets at least `least` percent."""
    if not rows:
        return rows
    dense = dense_scores(rows)
    if not dense:
        raise ReportError("min-dense needs dense rows beside the others")
    return [row for row in rows if 100 * dense.get((row["task"], row["length"]), 0) >= least]


def mean_with_interval(rows, value, low, high):
    """Mean over rows that are independent of each other, in percent. The interval's halves are
    those of the rows, added in squares; without them where a row has none."""
    values = [row.get(value) for row in rows]
    if not values or None in values:
        return None, None, None
    mean = sum(values) / len(values)
    halves = []
    for bound in (low, high):
        bounds = [row.get(bound) for row in rows]
        if None in bounds:
            return 100 * mean, None, None
        halves.append(math.sqrt(sum((b - v) ** 2 for b, v in zip(bounds, values))) / len(values))
    return 100 * mean, 100 * (mean - halves[0]), 100 * (mean + halves[1])


def mean_of(rows, key):
    values = [row[key] for row in rows if row.get(key) is not None]
    return sum(values) / len(values) if values else None


def mean_score(rows):
    return mean_with_interval(rows, "score", "ci_low", "ci_high")


def mean_difference(rows):
    return mean_with_interval(rows, "difference", "difference_low", "difference_high")


def with_interval(value, low, high, form="{:.1f}"):
    if value is None:
        return ""
    text, low, high = (None if v is None else signless_zero(form.format(v))
                       for v in (value, low, high))
    return text if low is None else f"{text} ({low} … {high})"


def signless_zero(text):
    return text.lstrip("+-") if float(text) == 0 else text


def same_tasks(members, rows):
    """A mean over fewer tasks than the others' would not compare."""
    wanted = {(row["task"], row["length"]) for row in rows}
    found = {(row["task"], row["length"]) for row in members}
    if found != wanted:
        missing = sorted(f"{task} at {length}" for task, length in wanted - found)
        raise ReportError(f"{setting_name(members[0])} lacks {', '.join(missing)}; "
                          "name tasks or lengths that all settings have")


def score_series(rows, x):
    """A line per method: mean score over tasks against x(rows of a setting)."""
    series = {}
    for members in in_order(rows):
        same_tasks(members, rows)
        score, low, high = mean_score(members)
        point = Point(x(members), score, low, high, note=setting_name(members[0]))
        series.setdefault(method_name(members[0]), (members[0]["policy"], []))[1].append(point)
    return to_lines(series)


def to_lines(series):
    """Policies have colours and several methods of one have dashes; where there is one policy
    alone, beside dense, its methods have colours."""
    by_method = len({policy for policy, _ in series.values()} - {"dense"}) == 1
    lines, used = [], {}
    for name, (policy, points) in series.items():
        before = used.get(policy, 0)
        look = {"color": COLORS.get(policy, 6), "dash": before % DOTTED}
        if by_method and policy != "dense":
            look = {"color": before + 1}
        lines.append(Series(name, sorted(points, key=lambda point: point.x), **look))
        used[policy] = before + 1
    return lines


def score_budget_chart(rows):
    """Mean score against budget; dense, which has none, goes across."""
    rows = answered(rows)
    with_budget = [row for row in rows if row.get("budget")]
    lines = score_series(with_budget, lambda members: members[0]["budget"])
    dense = [row for row in rows if row["policy"] == "dense"]
    if dense and lines:
        budgets = sorted({row["budget"] for row in with_budget})
        score = mean_score(dense)[0]
        lines.insert(0, Series("dense", [Point(b, score) for b in (budgets[0], budgets[-1])],
                               color=0, dash=1, marker=False))
    return Chart("Score against budget", Axis("budget, tokens of a set", log=True, as_bytes=True),
                 Axis("mean score, %", low=0, high=100), lines, dodge=True)


def score_read_chart(rows):
    """Mean score against the share of dense's K and V that decoding read."""
    rows = answered(rows)
    lines = score_series(rows, lambda members: mean_of(members, "kv_read"))
    return Chart("Score against K and V read", Axis("K and V read, share of dense", low=0, high=1),
                 Axis("mean score, %", low=0, high=100), lines)


def score_length_chart(rows):
    """Mean score against length, a line per setting."""
    rows = answered(rows)
    series = {}
    for members in in_order(rows):
        for length, same in sorted(groups(members, lambda row: row["length"]).items()):
            same_tasks(same, [row for row in rows if row["length"] == length])
            point = Point(length, *mean_score(same))
            series.setdefault(setting_name(same[0]), (same[0]["policy"], []))[1].append(point)
    return Chart("Score against length", Axis("length, tokens", log=True, as_bytes=True),
                 Axis("mean score, %", low=0, high=100), to_lines(series), dodge=True)


def kl_read_chart(rows):
    """KL(dense‖setting) against the share of dense's K and V that decoding read."""
    series = {}
    for members in in_order([row for row in rows if row.get("kl")]):
        for row in members:
            point = Point(row["kv_read"], row["kl"], row.get("kl_low"), row.get("kl_high"),
                          note=f"{setting_name(row)}, {row['length']} tokens")
            name = method_name(row)
            if len({other["length"] for other in rows if other.get("kl")}) > 1:
                name += f", {row['length']} tokens"
            series.setdefault(name, (row["policy"], []))[1].append(point)
    return Chart("Distance from dense decoding against K and V read",
                 Axis("K and V read, share of dense", low=0, high=1),
                 Axis("KL(dense ‖ setting), nats", log=True), to_lines(series))


def summary_table(rows, speeds):
    """A line per length and setting: the mean over tasks, what it read, how fast it decoded there,
    and what `bench decode` measured alone (bench_figures.decode_speeds)."""
    rows = answered(rows)
    lines = []
    for length, of_length in groups(rows, lambda row: row["length"]).items():
        for members in in_order(of_length):
            same_tasks(members, of_length)
            lines.append((length, members))
    if not lines:
        return []

    def speed(length, row):
        key = row["model"], row["policy"], row.get("heads"), row.get("budget"), length
        return number(speeds.get(key), 3)

    return table([
        ("tokens", [str(length) for length, _ in lines]),
        ("policy", [members[0]["policy"] for _, members in lines]),
        ("heads", [str(members[0].get("heads") or "") for _, members in lines]),
        ("budget", [str(members[0].get("budget") or "") for _, members in lines]),
        ("tasks", [str(len(members)) for _, members in lines]),
        ("score, % (95 %)", [with_interval(*mean_score(members)) for _, members in lines]),
        ("less dense (95 %)", ["" if members[0]["policy"] == "dense" else
                               with_interval(*mean_difference(members), form="{:+.1f}")
                               for _, members in lines]),
        ("K and V read", [f"{mean_of(members, 'kv_read'):.2f}" for _, members in lines]),
        ("tokens/s", [number(mean_of(members, "tokens_per_s"), 3) for _, members in lines]),
        ("alone, tokens/s", [speed(length, members[0]) for length, members in lines]),
    ], ("tokens", "tasks"))


def scores_table(rows):
    """A line per length and setting, a column per task, in percent."""
    rows = answered(rows)
    lines = [(length, members)
             for length, of_length in groups(rows, lambda row: row["length"]).items()
             for members in in_order(of_length)]
    if not lines:
        return []
    columns = [("tokens", [str(length) for length, _ in lines]),
               ("setting", [setting_name(members[0]) for _, members in lines])]
    for task in dict.fromkeys(row["task"] for row in rows):
        cells = [{row["task"]: f"{100 * row['score']:.0f}" for row in members}.get(task, "")
                 for _, members in lines]
        columns.append((task, cells))
    columns.append(("K and V read", [f"{mean_of(members, 'kv_read'):.2f}" for _, members in lines]))
    return table(columns, ("tokens",))


def followed_table(rows):
    """Perplexity, KL, agreement and recall of texts that were followed."""
    lines = []
    for length, of_length in groups([row for row in rows if row["task"] in FOLLOWED],
                                    lambda row: row["length"]).items():
        for members in in_order(of_length):
            lines.append((length, {row["task"]: row for row in members}))
    if not lines:
        return []

    def column(title, task, text):
        return title, [text(tasks[task]) if task in tasks else "" for _, tasks in lines]

    def any_row(tasks):
        return next(iter(tasks.values()))

    return table([
        ("tokens", [str(length) for length, _ in lines]),
        ("setting", [setting_name(any_row(tasks)) for _, tasks in lines]),
        column("perplexity (95 %)", "perplexity", lambda row: with_interval(
            row.get("score"), row.get("ci_low"), row.get("ci_high"))),
        column("KL (95 %)", "perplexity", lambda row: with_interval(
            row.get("kl"), row.get("kl_low"), row.get("kl_high"), "{:.4f}")),
        column("same best token, %", "perplexity", lambda row: "" if row.get("agreement") is None
               else f"{100 * row['agreement']:.1f}"),
        column("recall, %", "recall", lambda row: "" if row["policy"] == "dense"
               or row.get("score") is None else f"{100 * row['score']:.1f}"),
        ("K and V read", [f"{any_row(tasks)['kv_read']:.2f}" for _, tasks in lines]),
        ("tokens/s", [number(any_row(tasks)["tokens_per_s"], 3) for _, tasks in lines]),
    ], ("tokens",))


def cost_lines(totals):
    """What runs cost, and what sharing the prompts' caches saved."""
    return [f"{cost['prompts']} prompts, {cost['prefilled_tokens']} tokens prefilled in "
            f"{cost['prefill_seconds']:.0f} s, {cost['answers']} answers decoded in "
            f"{cost['decode_seconds']:.0f} s, {cost['shared_tokens']} tokens not prefilled again."
            for cost in totals if cost]


TABLES = {"summary": summary_table, "scores": scores_table, "followed": followed_table}
CHARTS = {"score-budget": score_budget_chart, "score-read": score_read_chart,
          "score-length": score_length_chart, "kl-read": kl_read_chart}
