"""Turns measurements into Markdown tables and SVG charts.

    python3 bench/report fill docs/*.md          refill the marked blocks of documents in place
    python3 bench/report fill --check docs/*.md  only say which are not up to date
    python3 bench/report show FILE… [--plots FOLDER]
    python3 bench/report pack FILE… --source 'GPU or CPU, commit, command' > docs/results/NAME.json

A FILE is what `lycheedecode bench … --json`, bench/peers.py, bench/dense_stack.py or
bench/llama_cpp.py printed with --json, a folder of `lycheedecode eval --out`, or what pack made of
them: all rows of one kind in one small file without the paths of the machine. Needs Python 3.11 and
nothing else.
"""

import argparse
import pathlib
import sys

from chart import render
from documents import fill
from figures import CHARTS, NAMES, make
from pack import pack
from sources import ReportError, read


def run_fill(options):
    stale = []
    for document in options.documents:
        for path, text in fill(document).items():
            if path.exists() and path.read_text(encoding="utf-8") == text:
                continue
            stale.append(path)
            if not options.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                print(f"wrote {path}")
    if options.check and stale:
        raise ReportError(f"{', '.join(map(str, stale))}: not up to date; "
                          "run python3 bench/report fill docs/*.md")


def run_show(options):
    sources = [read(file) for file in options.files]
    filters = dict(word.split("=", 1) for word in options.only)
    for name in NAMES:
        figure = make(name, sources, filters)
        if not figure:
            continue
        if name not in CHARTS:
            print(f"{name}:\n\n" + "\n".join(figure) + "\n")
        elif options.plots:
            options.plots.mkdir(parents=True, exist_ok=True)
            path = options.plots / f"{name}.svg"
            path.write_text(render(figure), encoding="utf-8")
            print(f"{name}: {path}\n")


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="report", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("fill", help="refill the marked blocks of documents")
    command.add_argument("documents", nargs="+", metavar="DOCUMENT")
    command.add_argument("--check", action="store_true", help="change nothing; fail if it would")
    command.set_defaults(run=run_fill)
    command = commands.add_parser("show", help="print all tables that the files have rows for")
    command.add_argument("files", nargs="+", metavar="FILE")
    command.add_argument("--plots", type=pathlib.Path, help="folder for the charts")
    command.add_argument("--only", action="append", default=[], metavar="KEY=A,B",
                         help="rows with these values alone, as in the blocks of documents")
    command.set_defaults(run=run_show)
    command = commands.add_parser("pack", help="print one small file with all rows")
    command.add_argument("files", nargs="+", metavar="FILE")
    command.add_argument("--source", required=True, help="device, commit and command")
    command.set_defaults(run=lambda options: print(pack(options.files, options.source)))
    return parser.parse_args(arguments)


def main(arguments):
    """The exit code: 2 where a file or document cannot be used or is not up to date."""
    options = parse_arguments(arguments)
    try:
        options.run(options)
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
