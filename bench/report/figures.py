"""All figures by name, and how one is made of files and options."""

import bench_figures
import eval_figures
from sources import ReportError, join, read
from tables import table

# Options that keep only the rows with one of the values: a,b,…
FILTERS = ("model", "op", "policy", "batch", "weights", "kv_dtype", "heads", "budget", "length",
           "task", "context", "peer")
TABLES = bench_figures.TABLES | eval_figures.TABLES
CHARTS = bench_figures.CHARTS | eval_figures.CHARTS
OF_FILES = ("ratios", "cost")  # made of what stands beside the rows
NAMES = (*TABLES, *OF_FILES, *CHARTS)
OF_EVAL = (*eval_figures.TABLES, *eval_figures.CHARTS, "cost")


def keep(rows, options):
    for key in FILTERS:
        if key in options:
            wanted = options[key].split(",")
            rows = [row for row in rows if str(row.get(key) or "none") in wanted]
    if "min-dense" in options:
        try:
            least = float(options["min-dense"])
        except ValueError as error:
            raise ReportError(f"min-dense must be a number, got {options['min-dense']}") from error
        rows = eval_figures.tasks_dense_can_do(rows, least)
    return rows


def ratios_table(sources):
    ratios = [ratio for source in sources for ratio in source.ratios]
    return table([
        ("ratio", [ratio["ratio"] for ratio in ratios]),
        ("context", [str(ratio["context"]) for ratio in ratios]),
        ("measured", [f"{ratio['value']:.2f}" for ratio in ratios]),
        ("target", ["" if ratio.get("target") is None else f"{ratio['target']:.1f}"
                    for ratio in ratios]),
        ("", ["" if ratio.get("target") is None else
              "met" if ratio["value"] >= ratio["target"] else "missed" for ratio in ratios]),
    ]) if ratios else []


def make(name, sources, options):
    """Lines of Markdown, or a Chart. Nothing where the sources have no rows for it."""
    fitting = [source for source in sources if source.is_eval == (name in OF_EVAL)]
    if name == "ratios":
        return ratios_table(fitting)
    if name == "cost":
        return eval_figures.cost_lines(source.totals for source in fitting)
    rows = keep(join(fitting), options)
    if name == "summary":
        others = join(source for source in sources if not source.is_eval)
        return eval_figures.summary_table(rows, bench_figures.decode_speeds(others))
    if name in TABLES:
        return TABLES[name](rows)
    chart = CHARTS[name](rows)
    if not any(series.points for series in chart.series):
        return None
    chart.title = options.get("title", chart.title)
    return chart


def make_of_files(name, files, options):
    if name not in NAMES:
        raise ReportError(f"no figure {name}; there are {', '.join(NAMES)}")
    for option in options:
        if option not in (*FILTERS, "min-dense", "title", "svg"):
            raise ReportError(f"{name}: no option {option}; there are {', '.join(FILTERS)}, "
                              "min-dense, title and svg")
    if not files:
        raise ReportError(f"{name}: no file to make it of")
    figure = make(name, [read(file) for file in files], options)
    if not figure:
        raise ReportError(f"{name}: {', '.join(map(str, files))}: no rows for it")
    return figure
