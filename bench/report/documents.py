"""Fills the marked blocks of Markdown documents.

A block names a figure, files with the rows it is made of (relative to the document), and options:

    <!-- report: time results/h100.json weights=bf16 svg=plots/time.svg title="Llama-3-8B" -->
    what stands here is replaced
    <!-- end of report -->
"""

import pathlib
import re
import shlex

from chart import Chart, render
from figures import make_of_files
from sources import ReportError

BEGIN = re.compile(r"^<!-- report: (.*) -->$")
END = "<!-- end of report -->"


def parse(where, text):
    """The figure's name, its files and its options."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ReportError(f"{where}: {error}") from error
    if not words:
        raise ReportError(f"{where}: no figure is named")
    options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    return words[0], [word for word in words[1:] if "=" not in word], options


def block_lines(where, text, folder):
    """What belongs into a block, and the files beside the document: {path: text}."""
    name, files, options = parse(where, text)
    try:
        figure = make_of_files(name, [folder / file for file in files], options)
    except ReportError as error:
        raise ReportError(f"{where}: {error}") from error
    if not isinstance(figure, Chart):
        return [""] + figure + [""], {}
    if "svg" not in options:
        raise ReportError(f"{where}: {name} is a chart: say where to, svg=plots/NAME.svg")
    picture = f"![{figure.title}]({options['svg']})"
    return ["", picture, ""], {folder / options["svg"]: render(figure)}


def fill(path):
    """The files that the document asks for, itself included: {path: text}."""
    path = pathlib.Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: cannot be read: {error}") from error
    filled, made, i = [], {}, 0
    while i < len(lines):
        filled.append(lines[i])
        begin = BEGIN.match(lines[i])
        i += 1
        if not begin:
            continue
        where = f"{path}:{i}"
        if END not in lines[i:] or any(map(BEGIN.match, lines[i : lines.index(END, i)])):
            raise ReportError(f"{where}: this block has no line {END}")
        content, pictures = block_lines(where, begin[1], path.parent)
        filled += content
        made |= pictures
        i = lines.index(END, i)
    made[path] = "\n".join(filled) + "\n"
    return made
