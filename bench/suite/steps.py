"""What a plan is made of: steps, and what all of them are given."""

import pathlib
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Setup:
    """What the commands of a plan depend on."""

    program: pathlib.Path
    out: pathlib.Path
    python: str = "python3"  # of the peers
    device: str = "cuda"
    smollm2: str = "smollm2"
    qwen: str = "qwen2.5-coder-0.5b"
    texts: pathlib.Path = pathlib.Path("texts")
    jobs: int = 1
    racecheck_tests: str | None = None

    def lychee(self, *words, **values):
        return [str(self.program), *words, *flags(**values), "--device", self.device]

    def test_program(self, name):
        return str(self.program.parent / name)


@dataclass(frozen=True)
class Step:
    """One command. What it prints is its output, `out`/NAME.EXT; a step that has it is done."""

    name: str
    section: str
    command: list
    seconds: int  # that it is expected to need on an H200
    ext: str = "json"
    folder: bool = False  # keeps what it has in --out `out`/NAME and goes on with --resume
    after: tuple = ()  # steps whose output it needs
    alone: bool = False  # nothing else may run beside it
    cuda: bool = False  # a CPU cannot do it
    result: str | None = None  # the file of rows that bench/report makes of it and of its like
    refused: bool = False  # the program has to refuse the command with an error

    def output(self, out):
        return out / f"{self.name}.{self.ext}"


def flags(**values):
    """context=(1, 2), json=True → --context 1,2 --json. None leaves a flag out."""
    words = []
    for key, value in values.items():
        if value is None or value is False:
            continue
        words.append("--" + key.replace("_", "-"))
        if value is not True:
            is_list = isinstance(value, (list, tuple))
            words.append(",".join(map(str, value)) if is_list else str(value))
    return words


SHORT_TEXT = [str(ROOT / "examples" / "persuasion_question.txt")]
# Values with which a command is done in a second or so on a CPU.
SMALL = {
    "--shape": ["tiny"], "--context": ["1024"], "--batch": ["1"], "--repeats": ["1"],
    "--budget": ["512"], "--kv-dtype": ["bf16"], "--rows": ["8"], "--max-cache-tokens": ["8192"],
    "--lengths": ["768"], "--samples": ["1"], "--phrase-samples": ["1"], "--budgets": ["128"],
    "--sink": ["16"], "--recent": ["64"],
    "--length": ["768"], "--random": ["1"], "--decode-tokens": ["4"], "--steps": ["1"],
    "--context-min": ["128"], "--context-max": ["160"], "--contexts": ["128", "160"],
    "--text-rows": ["16"], "--phrases": ["1"], "--phrase-words": ["4"], "--gates": ["direct"],
    "--prompt-file": SHORT_TEXT, "--max-tokens": ["4"], "--chains": ["inference"],
    "--losses": ["kl"], "--tasks": ["perplexity"], "--seeds": ["1"],
}


def shrunk(command):
    """The command with SMALL in place of what makes it large, on one thread: a loaded machine runs
    several by turns."""
    return small(command) + ["--threads", "1"]


def small(command):
    if "ruler" in command:
        one_task = ["niah_single_1" if word == "ruler" else word for word in command]
        return replaced(one_task, SMALL | {"--lengths": ["1024"]})
    # Contexts that are trained on are shorter than others, and their sets have to be as well.
    if command[1] == "train-heads" or command[2] == "train" or "train_tables.py" in command[1]:
        return replaced(command, SMALL | {"--budget": ["96"], "--context": ["128"]})
    if "score" in command:
        return replaced(command, {"--text-file": SHORT_TEXT})
    if "bench" in command:
        plans = {"--heads": ["uniform:2"], "--weights": ["int8"]}
        return replaced(command, SMALL | plans)
    return replaced(command, SMALL | {"--heads": first_and_last(command)})


def first_and_last(command):
    """Two of the plans of an evaluation: each costs as much as another."""
    plans = command[command.index("--heads") + 1].split(",") if "--heads" in command else []
    return [",".join(dict.fromkeys([plans[0], plans[-1]]))] if plans else []


def replaced(command, values):
    """The command with other values behind those of its flags that `values` has."""
    words, skipping = [], False
    for word in command:
        if word.startswith("--"):
            skipping = word in values
            words += [word, *values[word]] if skipping else [word]
        elif not skipping:
            words.append(word)
    return words
