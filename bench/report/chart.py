"""Draws a chart as one self-contained SVG that follows the reader's light or dark mode."""

import html
import math
from dataclasses import dataclass, field

LEFT, TOP, WIDTH, HEIGHT = 70, 46, 500, 300
LEGEND_LINE = 18
# Colours that stay apart for colour-blind readers (after Okabe and Ito), on white and on black.
LIGHT = ("#24292f", "#0072b2", "#c4500a", "#00795a", "#a8508a", "#8a6a00", "#2f7fb0", "#777777",
         "#b0243a", "#5b3fd6")
DARK = ("#e6edf3", "#58aee8", "#f08a4b", "#3cc79a", "#e29ac4", "#e3b341", "#9ad0f5", "#a0a0a0",
        "#ff8080", "#b39dfa")
DASHES = ("", "7 4", "9 3 2 3", "4 2", "1 3")
DOTTED = 4  # for floors alone
DODGE = 5  # between the lines of a chart whose intervals would hide each other


@dataclass
class Axis:
    label: str
    log: bool = False
    as_bytes: bool = False  # ticks at powers of two, 1024 as 1K
    low: float | None = None  # where it begins, if not at the data
    high: float | None = None


@dataclass
class Point:
    x: float
    y: float
    low: float | None = None  # of its interval
    high: float | None = None
    note: str = ""  # shown with the values under a pointer


@dataclass
class Series:
    name: str
    points: list
    color: int = 0
    dash: int = 0  # 0 … 3, or DOTTED
    marker: bool = True
    line: bool = True


@dataclass
class Chart:
    title: str
    x: Axis
    y: Axis
    series: list = field(default_factory=list)
    level: float | None = None  # a thin line across at this y
    dodge: bool = False  # series side by side where they share their x


def short(value, as_bytes=False):
    if as_bytes and value >= 1024 and value % 1024 == 0:
        return f"{value // (1 << 20):.0f}M" if value % (1 << 20) == 0 else f"{value // 1024:.0f}K"
    if value >= 1e6:
        return f"{value / 1e6:.4g}M"
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


class Scale:
    """Where values lie along an axis, from 0 to 1, and which of them get a tick."""

    def __init__(self, axis, values):
        self.axis = axis
        self.smallest = min([v for v in values if v > 0], default=1)
        positions = [self.position(v) for v in values]
        if axis.low is not None:
            positions.append(self.position(axis.low))
        if axis.high is not None:
            positions.append(self.position(axis.high))
        self.start, self.end = min(positions), max(positions)
        margin = (self.end - self.start) * 0.04 or 1
        self.start -= margin if axis.low is None else 0
        self.end += margin if axis.high is None else 0
        self.values = sorted(set(values))

    def position(self, value):
        if not self.axis.log:
            return value
        # 0 has no logarithm: it stands one octave before the smallest value above it.
        return math.log2(value if value > 0 else self.smallest / 2)

    def share(self, value):
        return (self.position(value) - self.start) / (self.end - self.start)

    def ticks(self):
        if self.axis.as_bytes:
            # At the data themselves, as long as their texts have room.
            kept = []
            for value in self.values:
                if not kept or self.share(value) - self.share(kept[-1]) > 0.07:
                    kept.append(value)
            return kept
        if self.axis.log:
            return self.decades()
        step = 10 ** math.floor(math.log10((self.end - self.start) / 4))
        step *= next(m for m in (1, 2, 2.5, 5, 10) if (self.end - self.start) / (step * m) <= 5)
        first = math.ceil(self.start / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.end / step + 1e-9) + 1)]

    def decades(self):
        low, high = 2 ** self.start, 2 ** self.end
        steps = (1, 2, 5) if high / low < 300 else (1,)
        if high / low < 6:
            steps = (1, 1.5, 2, 3, 4, 5, 6, 8)
        powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        found = [m * 10.0 ** p for p in powers for m in steps]
        return [v for v in found if low * 0.999 <= v <= high * 1.001]


def style(colors, ink, paper, faint):
    rules = [f".paper{{fill:{paper}}}", f"text{{fill:{ink}}}", f".faint{{stroke:{faint}}}",
             f".level{{stroke:{ink}}}"]
    for i, color in enumerate(colors):
        rules.append(f".c{i}{{fill:{color};stroke:{color}}}")
    return "".join(rules)


STYLE = ("<style>" + style(LIGHT, "#24292f", "#ffffff", "#d8dee4")
         + "@media (prefers-color-scheme:dark){" + style(DARK, "#e6edf3", "#0d1117", "#30363d")
         + "}text{font-family:sans-serif;font-size:12px;stroke:none}"
         "polyline,.hollow{fill:none!important}</style>")


def paint(series):
    """The class of its colour. Beyond the last colour they begin again, with hollow markers."""
    hollow = " hollow" if series.color >= len(LIGHT) else ""
    return {"class": f"c{series.color % len(LIGHT)}{hollow}"}


def element(name, content=None, **attributes):
    body = "".join(f' {key.replace("_", "-")}="{value:.1f}"' if isinstance(value, float)
                   else f' {key.replace("_", "-")}="{html.escape(str(value))}"'
                   for key, value in attributes.items() if value != "")
    if content is None:
        return f"<{name}{body}/>"
    return f"<{name}{body}>{html.escape(content)}</{name}>"


class Drawing:
    def __init__(self, chart):
        self.chart = chart
        points = [point for series in chart.series for point in series.points]
        self.x = Scale(chart.x, [p.x for p in points])
        ys = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
        self.y = Scale(chart.y, ys + ([chart.level] if chart.level is not None else []))

    def x_of(self, value):
        return LEFT + WIDTH * self.x.share(value)

    def y_of(self, value):
        return TOP + HEIGHT * (1 - min(max(self.y.share(value), 0.0), 1.0))

    def axes(self):
        for value in self.y.ticks():
            y = self.y_of(value)
            yield element("line", x1=LEFT, x2=LEFT + WIDTH, y1=y, y2=y, **{"class": "faint"})
            yield element("text", short(value), x=LEFT - 8, y=y + 4, text_anchor="end")
        for value in self.x.ticks():
            x = self.x_of(value)
            yield element("line", x1=x, x2=x, y1=TOP + HEIGHT, y2=TOP + HEIGHT + 5,
                          **{"class": "level"})
            yield element("text", short(value, self.chart.x.as_bytes), x=x, y=TOP + HEIGHT + 20,
                          text_anchor="middle")
        yield element("line", x1=LEFT, x2=LEFT + WIDTH, y1=TOP + HEIGHT, y2=TOP + HEIGHT,
                      **{"class": "level"})
        if self.chart.level is not None:
            y = self.y_of(self.chart.level)
            yield element("line", x1=LEFT, x2=LEFT + WIDTH, y1=y, y2=y, stroke_dasharray="4 3",
                          **{"class": "level"})
        yield element("text", self.chart.x.label, x=LEFT + WIDTH / 2, y=TOP + HEIGHT + 42,
                      text_anchor="middle")
        yield element("text", self.chart.y.label, x=8, y=TOP - 8)
        yield element("text", self.chart.title, x=8, y=18, font_weight="bold")

    def series(self, index):
        series = self.chart.series[index]
        color = paint(series)
        dash = DASHES[series.dash % len(DASHES)]
        aside = (index - (len(self.chart.series) - 1) / 2) * DODGE if self.chart.dodge else 0
        places = [(self.x_of(p.x) + aside, self.y_of(p.y)) for p in series.points]
        if series.line and len(places) > 1:
            yield element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places),
                          stroke_width=2, stroke_dasharray=dash, **color)
        for point, (x, y) in zip(series.points, places):
            if point.low is not None and point.high is not None:
                yield element("line", x1=x, x2=x, y1=self.y_of(point.low),
                              y2=self.y_of(point.high), stroke_opacity="0.6", **color)
                for bound in (point.low, point.high):
                    yield element("line", x1=x - 3, x2=x + 3, y1=self.y_of(bound),
                                  y2=self.y_of(bound), **color)
            if series.marker:
                name = f"{series.name} {point.note}".strip()
                title = f"{name}: {short(point.x, self.chart.x.as_bytes)}, {point.y:.4g}"
                yield (element("circle", cx=x, cy=y, r=3.5, **color)[:-2]
                       + f"><title>{html.escape(title)}</title></circle>")

    def legend(self):
        for i, series in enumerate(self.chart.series):
            color = paint(series)
            x, y = LEFT + WIDTH + 18, TOP + 8 + LEGEND_LINE * i
            if series.line:
                yield element("polyline", points=f"{x},{y} {x + 26},{y}", stroke_width=2,
                              stroke_dasharray=DASHES[series.dash % len(DASHES)], **color)
            if series.marker:
                yield element("circle", cx=x + 13, cy=y, r=3.5, **color)
            yield element("text", series.name, x=x + 34, y=y + 4)


def render(chart):
    drawing = Drawing(chart)
    longest = max(len(series.name) for series in chart.series)
    width = LEFT + WIDTH + 60 + 7 * longest
    height = max(TOP + HEIGHT + 54, TOP + 20 + LEGEND_LINE * len(chart.series))
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             f'width="{width}" height="{height}" role="img" '
             f'aria-label="{html.escape(chart.title)}">', STYLE,
             element("rect", width=width, height=height, **{"class": "paper"})]
    parts += drawing.axes()
    for index in range(len(chart.series)):
        parts += drawing.series(index)
    parts += drawing.legend()
    return "\n".join(parts) + "\n</svg>\n"
