#!/usr/bin/env python3
"""bench/suite: its commands, how it runs them, and what it says of their rows."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "suite"))

import program  # noqa: E402
import quality_targets  # noqa: E402
import targets  # noqa: E402
from runner import Runner, groups, records  # noqa: E402
from steps import Setup, Step, replaced, shrunk  # noqa: E402

# Prints a row of the kind that was asked for; stands in for the program.
STUB = """#!/usr/bin/env python3
import json, sys
print("measured", file=sys.stderr)
row = {"op": sys.argv[2], "context": 1024, "batch": 1, "policy": "dense", "us_median": 7000.0,
       "bytes": 1, "floor_us": 1, "time_over_floor": 1, "tokens_per_s": 1, "read_gb_per_s": 1}
sys.exit(2) if "streaming" in sys.argv else print(json.dumps({"rows": [row], "options": {}}))
"""

# Ends well on SIGTERM, but has started a child that does not.
STUBBORN = "trap 'exit 0' TERM; sh -c 'trap \"\" TERM; echo $$ > p; mv p pid; sleep 30; sleep 30' & wait"


def all_steps(**changes):
    setup = Setup(**{"program": pathlib.Path("bin/lycheedecode"), "out": pathlib.Path("out"),
                     "jobs": 2} | changes)
    return program.plan(setup, program.SECTIONS, smoke=False)


class Folder(unittest.TestCase):
    """Every test has a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)

    def write(self, name, rows, **more):
        (self.out / f"{name}.json").write_text(json.dumps({"rows": rows} | more))


class Plan(unittest.TestCase):
    def test_steps_have_names_of_their_own_and_need_earlier_ones(self):
        names = []
        for step in all_steps():
            self.assertNotIn(step.name, names)
            self.assertTrue(set(step.after) <= set(names), step.name)
            self.assertGreater(step.seconds, 0)
            names.append(step.name)

    def test_flags_are_known_to_what_is_called(self):
        sources = "".join(path.read_text() for path in (ROOT / "src" / "cli").glob("*.cc"))
        for step in all_steps():
            command = [str(word) for word in step.command]
            script = next((word for word in command if word.endswith(".py")), None)
            if any("gtest" in word for word in command):
                continue
            known = pathlib.Path(script).read_text() if script else sources
            for word in command:
                if word.startswith("--"):
                    self.assertIn(f'"{word}"', known, f"{step.name}: {word}")

    def test_smoke_keeps_each_kind_of_command_once(self):
        setup = Setup(pathlib.Path("bin/lycheedecode"), pathlib.Path("out"), device="cpu")
        small = program.plan(setup, program.SECTIONS, smoke=True)
        self.assertEqual(len({tuple(step.command) for step in small}), len(small))
        self.assertFalse([step.name for step in small if step.cuda])
        for section in ("tests", "attention", "select", "decode", "prefill", "memory", "train", "quality"):
            self.assertIn(section, {step.section for step in small})
        names = {step.name for step in small}
        self.assertFalse([step.name for step in small if not set(step.after) <= names])

    def test_values_are_replaced_with_all_that_stands_behind_a_flag(self):
        self.assertEqual(replaced(["a", "--x", "1", "2", "--y", "3"], {"--x": ["0"]}),
                         ["a", "--x", "0", "--y", "3"])
        small = shrunk(["p", "bench", "decode", "--json", "--context", "131072"])
        self.assertEqual(small, ["p", "bench", "decode", "--json", "--context", "1024",
                                 "--threads", "1"])


class Asked(targets.Results):
    """Remembers which steps a target reads."""

    def __init__(self):
        super().__init__("nowhere")
        self.steps = set()

    def content(self, step):
        self.steps.add(step)
        return {}

    def passed(self, step):
        self.steps.add(step)

    def seconds(self, step):
        self.steps.add(step)


class Targets(Folder):
    def test_each_reads_steps_of_the_plan_and_does_without_rows(self):
        names = {step.name for step in all_steps()}
        for section, make in program.TARGETS.items():
            made = list(make())
            self.assertTrue(made, section)
            for target in made:
                asked = Asked()
                self.assertIsNone(target.figure(asked), target.text)
                self.assertTrue(asked.steps, target.text)
                self.assertTrue(asked.steps <= names, f"{target.text}: {asked.steps - names}")
                self.assertLess(len(targets.line_of(target, 1234.5)), 110)

    def test_a_line_says_whether_a_target_is_met(self):
        rows = [{"op": "attention", "policy": "hybrid", "context": 131072, "batch": batch,
                 "us_median": us} for batch, us in ((1, 21.9), (4, 80.1))]
        self.write("attention-llama3-8b-bf16-1", rows)
        lines = targets.summary(targets.attention(), self.out)
        found = {number: next(line for line in lines if f"128K, batch {number}" in line
                              and "hybrid" in line) for number in (1, 4, 8)}
        self.assertRegex(found[1], r"21\.9 µs +≤ 22  met$")
        self.assertRegex(found[4], r"80\.1 µs +≤ 80  MISSED$")
        self.assertRegex(found[8], r"no figure$")

    def test_a_test_passes_fails_or_was_not_run(self):
        lines = [{"name": name, "good": good, "code": code} for name, good, code in (
            ("a", False, 1), ("a", True, 0), ("b", False, 1), ("c", False, 127))]
        (self.out / "steps.jsonl").write_text("\n".join(map(json.dumps, lines)))
        results = targets.Results(self.out)
        for steps, expected in (("a", 1), ("ab", 0), ("ac", None), ("ad", None), ("b", 0)):
            self.assertEqual(targets.passed(steps)(results), expected, steps)

    def test_two_devices_are_compared_item_by_item(self):
        for step, ids, scores in (("a", [1, 2, 3], [None, -1.0, -2.0]),
                                  ("b", [1, 2, 3, 5], [None, -1.25, -2.0])):
            self.write(step, [], token_ids=ids, logprobs=scores)
        results = targets.Results(self.out)
        self.assertEqual(targets.equal_tokens("a", "b")(results), 0.75)
        self.assertEqual(targets.largest_difference("a", "b")(results), 0.25)
        self.assertIsNone(targets.equal_tokens("a", "c")(results))

    def test_peers_are_compared_within_a_run(self):
        same = {"policy": "dense", "context": 8, "batch": 1}
        self.write("a", [same | {"us_median": 40, "peer": "cuDNN"}, same | {"us_median": 30},
                         same | {"peer": "Flash", "us_median": 1, "error": "no memory"}])
        results = targets.Results(self.out)
        self.assertEqual(targets.peer_ratio("a", "cuDNN", **same)(results), 0.75)
        self.assertIsNone(targets.peer_ratio("a", "Flash", **same)(results))

    def test_worst_length_of_automatic_dense(self):
        self.write("a", [{"policy": policy, "context": context, "us_median": us}
                         for policy, context, us in (("dense", 1, 10), ("hybrid", 1, 10.5),
                                                     ("dense", 2, 20), ("hybrid", 2, 15))])
        self.assertEqual(targets.automatic_over_dense("a")(targets.Results(self.out)), 1.05)

    def test_plans_against_their_rivals(self):
        def row(heads, kl, score):
            return {"policy": "hybrid" if heads else "dense", "heads": heads, "score": score,
                    "budget": 64 if heads else None, "kl": kl}

        rivals = [row(f"random:2:{seed}", 0.2 + seed / 10, 0.5) for seed in (1, 2, 3, 4, 5)]
        self.write("a", [row(None, 0, 1.0), row("/x/mine", 0.1, 0.75), row("uniform:2", 0.2, 0.25),
                         *rivals])
        results = targets.Results(self.out)

        def ahead(task):
            return quality_targets.ahead("a", task, ["mine"], 2, 64)(results)

        self.assertAlmostEqual(ahead("perplexity"), 50)
        self.assertAlmostEqual(ahead("needle"), 25)
        self.assertAlmostEqual(quality_targets.over_dense("a", "needle", "mine", 64)(results), -25)
        self.assertIsNone(quality_targets.ahead("a", "needle", ["mine"], 2, 128)(results))

    def test_only_tasks_that_dense_can_do_count(self):
        def row(task, policy, score, difference):
            return {"task": task, "policy": policy, "budget": None if policy == "dense" else 64,
                    "score": score, "difference": difference}

        self.write("a", [row("vt", "dense", 0.1, 0), row("vt", "hybrid", 0.0, -0.1),
                         row("niah", "dense", 0.9, 0), row("niah", "hybrid", 0.88, -0.02)])
        figure = quality_targets.ruler_difference("a", "hybrid", 64)
        self.assertAlmostEqual(figure(targets.Results(self.out)), -2)


class Running(Folder):
    def run_steps(self, *steps, **options):
        runner = Runner(self.out, os.environ, {"gpu": "none", "commit": "0"}, **options)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            left = runner.run(list(steps))
        return left, said.getvalue()

    def step(self, name, shell, **more):
        return Step(name, "tests", ["sh", "-c", shell], **{"seconds": 1, "ext": "txt"} | more)

    def test_what_fails_is_stepped_over_and_tried_again(self):
        steps = (self.step("a", "echo why >&2; exit 3"), self.step("b", "echo b"),
                 self.step("c", "true", after=("a",)))
        left, said = self.run_steps(*steps)
        self.assertEqual(left, ["a", "c"])
        self.assertIn("a: failed with code 3", said)
        self.assertIn("why", said)
        self.assertIn("c: not run, since a has no result", said)
        self.assertEqual((self.out / "b.txt").read_text(), "b\n")
        self.run_steps(*steps)
        self.assertEqual([line["code"] for line in records(self.out)["a"]], [3, 3])
        self.assertEqual(len(records(self.out)["b"]), 1)

    def test_a_program_that_is_not_there(self):
        missing = Step("a", "tests", ["/no/such/program"], 1)
        self.assertEqual(self.run_steps(missing)[0], ["a"])

    def test_what_takes_too_long_ends_with_all_it_started(self):
        with contextlib.chdir(self.out):
            left, said = self.run_steps(self.step("a", STUBBORN), minutes=0.02)
        self.assertEqual(left, ["a"])
        self.assertIn("timed out", said)
        self.assertTrue(self.has_ended())

    def has_ended(self):
        """The process that STUBBORN left a number of: gone, or at least dead."""
        state = pathlib.Path(f"/proc/{(self.out / 'pid').read_text().strip()}/stat")
        for _ in range(100):
            if not state.exists() or state.read_text().split()[2] == "Z":
                return True
            time.sleep(0.01)
        return False

    def test_a_terminated_suite_ends_what_it_runs(self):
        stub = self.out / "lycheedecode"
        stub.write_text(f"#!/bin/sh\ncd {self.out}\n{STUBBORN}\n")
        stub.chmod(0o755)
        command = [sys.executable, str(ROOT / "bench" / "suite"), "--smoke", "--section", "prefill",
                   "--program", str(stub), "--out", str(self.out / "o")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as suite:
            while not (self.out / "pid").exists():
                time.sleep(0.01)
            suite.terminate()
            said = suite.communicate()[0]
        self.assertEqual(suite.returncode, 1)
        self.assertIn("prefill-llama3-8b: stopped", said)
        self.assertTrue(self.has_ended())

    def test_nothing_begins_that_does_not_fit(self):
        left, said = self.run_steps(self.step("a", "echo a", seconds=100), self.step("b", "echo b"),
                                    minutes=1)
        self.assertEqual(left, ["a"])
        self.assertIn("of 100 expected", said)

    def test_a_refusal_is_what_some_steps_want(self):
        refused = self.step("a", "exit 1", refused=True)
        accepted = self.step("b", "exit 0", refused=True)
        self.assertEqual(self.run_steps(refused, accepted)[0], ["b"])

    def test_a_step_with_a_folder_goes_on(self):
        step = Step("a", "quality", ["sh", "-c", 'mkdir -p "$2"; echo "$@"; test "$3" = --resume',
                                     "x"], 1, ext="txt", folder=True)
        self.assertEqual(self.run_steps(step)[0], ["a"])
        self.assertEqual(self.run_steps(step)[0], [])
        self.assertEqual((self.out / "a.txt").read_text(), f"--out {self.out / 'a'} --resume\n")

    def test_what_waits_for_a_step_is_passed_by_what_does_not(self):
        steps = (self.step("a", "until test -e c; do sleep 0.01; done; echo a >> order"),
                 self.step("b", "echo b >> order", after=("a",)),
                 self.step("c", "echo c >> order; touch c"), self.step("d", "true", after=("c",)))
        with contextlib.chdir(self.out):
            self.assertEqual(self.run_steps(*steps, jobs=2)[0], [])
        self.assertEqual((self.out / "order").read_text().split(), ["c", "a", "b"])

    def test_what_an_earlier_call_did_is_there_to_be_used(self):
        self.write("a", [])
        self.assertEqual(self.run_steps(self.step("b", "true", after=("a",)))[0], [])

    def test_steps_run_side_by_side_but_for_those_alone(self):
        steps = [self.step(name, "", alone=name == "c") for name in "abcd"]
        self.assertEqual([[step.name for step in group] for group in groups(steps)],
                         [["a", "b"], ["c"], ["d"]])
        # Each waits for the other, so that they end only side by side.
        pair = [self.step(mine, f"touch {mine}; until test -e {other}; do sleep 0.01; done")
                for mine, other in (("a", "b"), ("b", "a"))]
        with contextlib.chdir(self.out):
            self.assertEqual(self.run_steps(*pair, jobs=2)[0], [])


class Program(Folder):
    def call(self, *words):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = program.main(["--out", str(self.out / "o"), *words])
        return code, said.getvalue()

    def test_from_the_command_line_to_a_file_of_rows(self):
        stub = self.out / "lycheedecode"
        stub.write_text(STUB)
        stub.chmod(0o755)
        words = ("--program", str(stub), "--smoke", "--section", "decode")
        code, said = self.call(*words)
        self.assertEqual(code, 1)
        self.assertIn("1 of 8 steps have no output: decode-llama3-8b-streaming", said)
        packed = json.loads((self.out / "o" / "results" / "cpu_decode.json").read_text())
        self.assertEqual({row["run"] for row in packed["rows"]},
                         {f"decode-llama3-8b-{name}" for name in
                          ("128k", "fp8", "fp8-kv", "duo", "layer-shared", "page-bound")})
        self.assertIn("bench/suite --section decode", packed["source"])
        self.assertIn("1 of 8 steps left", self.call(*words, "--list")[1])
        self.assertIn("no figure", self.call("--summary", "--section", "decode")[1])

    def test_cards_are_called_as_the_files_of_results_are(self):
        self.assertEqual(program.card_name("NVIDIA H100 80GB HBM3"), "h100")
        self.assertEqual(program.card_name("NVIDIA H200"), "h200")
        self.assertEqual(program.card_name("no GPU"), "cpu")


if __name__ == "__main__":
    unittest.main()
