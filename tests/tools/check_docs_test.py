"""Plants documents in a tree of its own, beside a program, and asks tools/check_docs.py."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools" / "check_docs.py"

# Helps as the command line parser prints them.
PROGRAM = """#!/bin/sh
case "$*" in
  --help) printf 'Subcommands:\\n  run    Answer\\n  bench  Measure\\n';;
  "run --help") printf 'Options:\\n  -h,--help\\n  --model TEXT\\nExample:\\n  %s\\n' \\
    'lycheedecode run --model x --old y';;
  "bench --help") printf 'Subcommands:\\n  decode  Steps\\n';;
  "bench decode --help") printf 'Options:\\n  --batch INT\\n';;
  *) exit 1;;
esac
"""


def run(text, with_program=False):
    """Exit status and output for a tree whose docs/a.md is `text`."""
    with tempfile.TemporaryDirectory() as root:
        for name, content in {"docs/a.md": text, "README.md": "[a](docs/a.md) [b](https://b.org)",
                              "tools/x.py": 'add_argument("--size")',
                              "tools/y/__main__.py": 'add_argument("--width")',
                              "program": PROGRAM}.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        program = pathlib.Path(root, "program")
        program.chmod(0o755)
        more = ["--program", program] if with_program else []
        done = subprocess.run([sys.executable, SCRIPT, "--root", root, *more], capture_output=True,
                              text=True, check=False)
        return done.returncode, done.stdout


class CheckDocs(unittest.TestCase):
    def test_true_documents_pass(self):
        status, output = run("[top](../README.md#x) `tools/x.py` `docs/<name>.md`\n"
                             "```sh\npython3 tools/x.py --size 3   # not --other\n"
                             "python3 tools/y --width 4\n```\n")
        self.assertEqual(status, 0, output)

    def test_each_dead_end_is_found(self):
        for text, objection in {
            "[gone](gone.md)": "docs/a.md: no gone.md to link to",
            "see `src/gone.cc`": "docs/a.md: no src/gone.cc in the tree",
            "`python3 tools/gone.py`": "docs/a.md: no script tools/gone.py",
            "```sh\npython3 tools/x.py \\\n    --colour\n```": "tools/x.py knows no --colour",
            "`python3 tools/y --size 3`": "tools/y knows no --size",
        }.items():
            status, output = run(text)
            self.assertEqual(status, 1, text)
            self.assertIn(objection, output)

    def test_commands_are_held_against_the_help(self):
        for text, objection in {
            "`lycheedecode dance`": "docs/a.md: lycheedecode has no command dance",
            "```sh\nlycheedecode run --model \\\n  m --tango\n```": "lycheedecode run has no --tango",
            "`build/bin/lycheedecode bench decode --model m`": "bench decode has no --model",
            "": "run --help: lycheedecode run has no --old",
        }.items():
            status, output = run(text, with_program=True)
            self.assertEqual(status, 1, text)
            self.assertIn(objection, output)
        _, output = run("`lycheedecode bench decode --batch 2` `lycheedecode run --model x` "
                        "`lycheedecode bench … --batch 3`",
                        with_program=True)
        self.assertNotIn("docs/a.md", output)


if __name__ == "__main__":
    unittest.main()
