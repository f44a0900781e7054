"""Makes one small file of the rows of several: what docs/results holds."""

import json

from sources import TOTALS_FIELDS, ReportError, join, read


def rounded(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value


def pack(files, source):
    """JSON text: a row a line, so that changes can be read."""
    sources = [read(file) for file in files]
    if len({one.is_eval for one in sources}) > 1:
        raise ReportError(f"{', '.join(files)}: rows of bench and of eval do not go into one file")
    rows = [{key: rounded(value) for key, value in row.items() if key != "head_recall"}
            for row in join(sources)]
    extra = {"source": source}
    if any(one.ratios for one in sources):
        extra["ratios"] = [ratio for one in sources for ratio in one.ratios]
    totals = [one.totals for one in sources if one.totals]
    if totals:
        extra["totals"] = {key: rounded(sum(total[key] for total in totals))
                           for key in TOTALS_FIELDS}
    parts = [f' "{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in extra.items()]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    return "{\n" + ",\n".join([*parts, ' "rows": [\n  ' + ",\n  ".join(lines) + "\n ]"]) + "\n}"
