"""Checks what the Markdown files say against the tree and the program.

    python3 tools/check_docs.py [--root FOLDER] [--program build/cpu-release/bin/lycheedecode]

Prints one line per relative link or path of the tree that leads nowhere and per flag that a script
does not know; with --program also per subcommand and flag that `--help` does not know, in the files
and in the examples of the help texts. Exits 1 if there is any.
"""

import argparse
import functools
import pathlib
import re
import subprocess
import sys

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
CODE = re.compile(r"^```[a-z]*\n(?P<block>.*?)^```|`(?P<inline>[^`]+)`", re.MULTILINE | re.DOTALL)
OURS = re.compile(r"^(?:src|include|tests|bench|tools|scripts|examples|docs|plans|cmake)/[\w./-]*$")
SCRIPT = re.compile(r"python3 (?P<script>[\w.-]+/[\w./-]+)(?P<rest>.*)")
COMMAND = re.compile(r"(?:^|[\s/])lycheedecode (?P<rest>[a-z-].*)")
OPTION = re.compile(r"^  (?:-\w,)?(--[a-z][a-z0-9-]*)", re.MULTILINE)  # in a help text
FLAG = re.compile(r"(?:^|\s)(--[a-z][a-z0-9-]*)")


def markdown_files(root):
    return [path for path in sorted(root.rglob("*.md"))
            if "build" not in path.relative_to(root).parts]


def code_of(text):
    """Blocks and inline code, a line each; lines that a backslash or an indent continues joined."""
    for match in CODE.finditer(text):
        code = match["block"] if match["block"] is not None else match["inline"].replace("\n", " ")
        yield from re.sub(r"\\\n\s*", " ", code).splitlines()


def wrong_paths(root, file, text):
    prose = CODE.sub("", text)
    for target in LINK.findall(prose):
        if "://" not in target and not (file.parent / target).exists():
            yield f"no {target} to link to"
    for code in code_of(text):
        path = code.strip()
        if OURS.match(path) and not (root / path).exists() and not list(root.glob(path + ".*")):
            yield f"no {path} in the tree"


def wrong_script_flags(root, code):
    found = SCRIPT.search(code)
    if not found:
        return
    script = root / found["script"]
    if not script.exists():
        yield f"no script {found['script']}"
        return
    parts = script.glob("*.py") if script.is_dir() else [script]
    source = "".join(part.read_text() for part in parts)
    for flag in FLAG.findall(found["rest"].split("#")[0]):
        if f'"{flag}"' not in source:
            yield f"{found['script']} knows no {flag}"


class Program:
    """What a build of lycheedecode says of itself."""

    def __init__(self, path):
        self.path = path

    @functools.lru_cache(maxsize=None)
    def help(self, *subcommands):
        done = subprocess.run([self.path, *subcommands, "--help"], capture_output=True, text=True,
                              check=False)
        return done.stdout if done.returncode == 0 else None

    def subcommands(self, *above):
        listed = re.search(r"^Subcommands:\n((?:  .*\n|\n)*)", self.help(*above), re.MULTILINE)
        return re.findall(r"^  ([a-z][a-z-]*) ", listed[1], re.MULTILINE) if listed else []

    def all_subcommands(self):
        for name in self.subcommands():
            yield (name,)
            yield from ((name, below) for below in self.subcommands(name))

    def wrong(self, code):
        """Objections to one line that runs the program."""
        found = COMMAND.search(code.split(" #")[0].split(" | ")[0])
        if not found:
            return
        words = found["rest"].split()
        if words[0].startswith("-"):
            return
        if words[0] not in self.subcommands():
            yield f"lycheedecode has no command {words[0]}"
            return
        path = words[:1]
        below = self.subcommands(*path)
        if len(words) > 1 and words[1] in below:
            path = words[:2]
        known = OPTION.findall(self.help(*path))
        if words[1:2] == ["…"]:  # whichever
            known += [flag for name in below for flag in OPTION.findall(self.help(*path, name))]
        for flag in FLAG.findall(found["rest"]):
            if flag not in known:
                yield f"lycheedecode {' '.join(path)} has no {flag}"


def objections(root, program):
    for file in markdown_files(root):
        text = file.read_text()
        found = list(wrong_paths(root, file, text))
        for code in code_of(text):
            found += wrong_script_flags(root, code)
            found += program.wrong(code) if program else []
        for objection in dict.fromkeys(found):
            yield f"{file.relative_to(root)}: {objection}"
    for path in program.all_subcommands() if program else []:
        for line in program.help(*path).splitlines():
            if line.startswith("  lycheedecode"):
                for objection in program.wrong(line):
                    yield f"{' '.join(path)} --help: {objection}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parents[1])
    parser.add_argument("--program", type=pathlib.Path, help="lycheedecode, as built")
    options = parser.parse_args()
    program = Program(options.program.resolve()) if options.program else None
    found = list(objections(options.root.resolve(), program))
    print("\n".join(found) if found else "docs: links, paths and flags are known")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
