"""Measures again what the documents publish: all of it, or sections, on a machine with a GPU.

    python3 bench/suite --program build/cuda-release/bin/lycheedecode --out measured \\
        [--section decode linear] [--minutes 25] [--list]
    python3 bench/suite --section quality --program … --out measured \\
        --smollm2 SmolLM2.gguf --qwen Qwen.gguf --texts FOLDER --jobs 3

Nobody has to watch: a step that fails or takes too long is stepped over, after --minutes none is
begun any more, and a call on the same --out does what has no output yet. A step's output is
OUT/NAME.json (or .md, .txt), what it said beside is OUT/NAME.log, and OUT/steps.jsonl records what was
run, on which commit and card. At the end the rows lie in OUT/results, as `bench/report pack` makes
files for docs/results, and a line a target says whether it is met; --summary prints those alone.
--texts holds the novels of docs/training.md, emma.txt and so on. --smoke runs on a CPU, in small, all
that a CPU can run: it finds wrong commands, and its figures mean nothing. Needs Python 3.11; the
peers need what bench/peers.py says.
"""

import argparse
import os
import pathlib
import shlex
import signal
import subprocess
import sys
from dataclasses import replace

import quality
import quality_targets
import speed
import targets
from runner import Runner, groups, note, records
from steps import ROOT, Setup, shrunk

SECTIONS = speed.SECTIONS | quality.SECTIONS
TARGETS = targets.SECTIONS | quality_targets.SECTIONS
SMOKE_SLACK = 60  # a step in small on a loaded CPU may take longer than its like on a GPU


def plan(setup, sections, smoke):
    """The steps of sections in the plan's order."""
    steps = [step for name in SECTIONS if name in sections for step in SECTIONS[name](setup)]
    return smallest(steps) if smoke else steps


def smallest(steps):
    """What a CPU can run, in small, and what has become the same only once."""
    kept = {}
    for step in steps:
        if not step.cuda:
            command = shrunk(step.command)
            kept.setdefault(tuple(command), replace(step, command=command))
    return list(kept.values())


def first_line(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except OSError:
        return ""
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""


def about(options):
    """The card and the commit, as far as the machine can say."""
    card = "" if options.smoke else first_line(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "--id=" + str(options.gpu)])
    return {"gpu": card or "no GPU", "commit": first_line(["git", "rev-parse", "--short", "HEAD"])
            or "unknown"}


def card_name(gpu):
    """NVIDIA H100 80GB HBM3 → h100, as files of docs/results are named."""
    words = gpu.lower().removeprefix("nvidia ").split()
    return words[0] if gpu != "no GPU" and words else "cpu"


def pack(steps, out):
    """OUT/results/NAME.json of the rows there are."""
    files, known = {}, records(out)
    for step in steps:
        if step.result and step.output(out).exists() and step.name in known:
            gpu = known[step.name][-1]["gpu"]
            name = step.result if step.section == "quality" else f"{card_name(gpu)}_{step.result}"
            files.setdefault(name.replace("-", "_"), []).append(step)
    for name, members in files.items():
        last = [known[step.name][-1] for step in members]
        source = "; ".join(dict.fromkeys(f"{line['gpu']}, commit {line['commit']}" for line in last))
        paths = [str(out / step.name if step.folder else step.output(out)) for step in members]
        command = [sys.executable, str(ROOT / "bench" / "report"), "pack", *paths, "--source",
                   f"{source}: bench/suite --section {members[0].section}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            (out / "results").mkdir(exist_ok=True)
            (out / "results" / f"{name}.json").write_text(done.stdout, encoding="utf-8")
        else:
            note(f"{name}: not packed: {done.stderr.strip()}")


def show(steps, out):
    for step in steps:
        state = "done" if step.output(out).exists() else f"{step.seconds} s"
        print(f"{step.name:<40}{state:>8}  {shlex.join(map(str, step.command))}")
    left = [step.seconds for step in steps if not step.output(out).exists()]
    print(f"{len(left)} of {len(steps)} steps left, {sum(left) / 60:.0f} minutes expected one by one")


def summarise(sections, out):
    chosen = [target for name in TARGETS if name in sections for target in TARGETS[name]()]
    print("\n".join(targets.summary(chosen, out)))


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="suite", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--section", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--program", type=pathlib.Path,
                        default=ROOT / "build" / "cuda-release" / "bin" / "lycheedecode")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("measured"))
    parser.add_argument("--gpu", type=int, default=0, help="number of the card")
    parser.add_argument("--minutes", type=float, help="after which no step begins, and the last ends")
    parser.add_argument("--jobs", type=int, default=1, help="steps of quality side by side")
    parser.add_argument("--python", default=sys.executable, help="interpreter with PyTorch, for peers")
    parser.add_argument("--smollm2", default="smollm2", help="SmolLM2-135M-Instruct: file or name")
    parser.add_argument("--qwen", default="qwen2.5-coder-0.5b",
                        help="Qwen2.5-Coder-0.5B-Instruct: file or name")
    parser.add_argument("--texts", type=pathlib.Path, default=pathlib.Path("texts"),
                        help="folder of the novels")
    parser.add_argument("--racecheck-tests", metavar="PROGRAM",
                        help="kernels_test of a build with "
                             "-DCMAKE_CUDA_FLAGS=-DLYCHEE_EVERY_LANE_ARRIVES, which racecheck can "
                             "follow; in others it sees hazards that are none")
    parser.add_argument("--only", default="", help="steps with this in their names alone")
    parser.add_argument("--list", action="store_true", help="show the steps, run none")
    parser.add_argument("--summary", action="store_true", help="show the targets, run nothing")
    parser.add_argument("--smoke", action="store_true", help="in small, on a CPU")
    return parser.parse_args(arguments)


def interrupt(number, _):
    raise KeyboardInterrupt(signal.Signals(number).name)


def run(options, steps):
    """Names of steps without output. Kernels are timed alone on the card; only quality has jobs."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": str(options.gpu)}
    runner = Runner(options.out, environment, about(options), options.minutes, options.jobs)
    if options.smoke:
        runner.slack = SMOKE_SLACK
    # What runs is in sessions of its own, which no signal reaches but through us.
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    timed = [step if step.section == "quality" else replace(step, alone=True) for step in steps]
    return runner.run(timed)


def main(arguments):
    """The exit code: 1 where a step has no output at the end."""
    options = parse_arguments(arguments)
    options.out = options.out.resolve()
    setup = Setup(options.program.resolve(), options.out, options.python,
                  "cpu" if options.smoke else "cuda", options.smollm2, options.qwen,
                  options.texts.resolve(), options.jobs, options.racecheck_tests)
    steps = [step for step in plan(setup, options.section, options.smoke)
             if options.only in step.name]
    if options.list:
        show(steps, options.out)
        return 0
    if options.summary:
        summarise(options.section, options.out)
        return 0
    left = run(options, steps)
    pack(steps, options.out)
    if not options.smoke:
        summarise(options.section, options.out)
    if left:
        note(f"{len(left)} of {len(steps)} steps have no output: {' '.join(left)}")
    return 1 if left else 0
