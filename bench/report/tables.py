"""Markdown tables, and the pieces of names that tell rows apart."""


def number(value, digits=4):
    """Significant digits without an exponent; nothing for None."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def table(columns, may_be_left_out=()):
    """Lines of a table of [(title, cells)]. A column without any text is left out, and so is one of
    `may_be_left_out` that says the same in every line."""
    kept = [(title, cells) for title, cells in columns
            if any(cells) and not (title in may_be_left_out and len(set(cells)) == 1)]
    lines = ["| " + " | ".join(title for title, _ in kept) + " |", "| --- " * len(kept) + "|"]
    for cells in zip(*(cells for _, cells in kept)):
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def varying(rows, keys):
    """Those of `keys` that are not the same in all rows that have them."""
    return [key for key in keys if len({row.get(key) for row in rows} - {None}) > 1]


def groups(rows, key):
    """{key(row): rows}, in the order of first appearance."""
    found = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found
