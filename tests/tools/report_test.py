"""bench/report: what it reads, refuses, computes, draws and writes into documents."""

import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "bench" / "report"
sys.path.insert(0, str(PROGRAM))

import bench_figures  # noqa: E402
import chart  # noqa: E402
import documents  # noqa: E402
import eval_figures  # noqa: E402
import figures  # noqa: E402
import program  # noqa: E402
import sources  # noqa: E402
from pack import pack  # noqa: E402


def bench_row(**changes):
    return {"op": "decode", "context": 8192, "batch": 1, "policy": "dense", "weights": "file",
            "kv_dtype": "f16", "bytes": 2e8, "us_median": 10000.0, "us_p10": 9900.0,
            "us_p90": 10100.0, "read_gb_per_s": 40.0, "floor_us": 5000.0, "time_over_floor": 2.0,
            "tokens_per_s": 100.0, "kv_read": 1.0} | changes


def eval_row(**changes):
    return {"task": "passkey", "length": 1024, "policy": "dense", "heads": None, "budget": None,
            "samples": 10, "score": 1.0, "ci_low": 0.7, "ci_high": 1.0, "difference": 0.0,
            "difference_low": 0.0, "difference_high": 0.0, "kv_read": 1.0,
            "tokens_per_s": 50.0} | changes


def hybrid_row(budget, **changes):
    return eval_row(policy="hybrid", heads="plan", budget=budget, kv_read=0.25) | changes


class Folder(unittest.TestCase):
    """Every test has a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def bench(self, name, rows, **options):
        return self.write(name, {"rows": rows, "options": {"model": "/tmp/m.gguf"} | options})

    def refused(self, path, *parts):
        with self.assertRaises(sources.ReportError) as caught:
            sources.read(path)
        for part in (str(path), *parts):
            self.assertIn(part, str(caught.exception))


class Reading(Folder):
    def test_bench_rows_know_their_model_and_setting(self):
        path = self.bench("a.json", [bench_row(), bench_row(policy="hybrid")], heads="/tmp/plan/",
                          budget=512)
        dense, hybrid = sources.read(path).rows
        self.assertEqual((dense["model"], dense["run"]), ("m", "a"))
        self.assertNotIn("heads", dense)
        self.assertEqual((hybrid["heads"], hybrid["budget"]), ("plan", 512))

    def test_llama_cpp_rates_become_times(self):
        path = self.write("l.json", {
            "model": "m.gguf", "heads": "uniform:11", "budget": 1024, "rows": [bench_row()],
            "peer_rows": [{"op": "decode", "context": 8192, "variant": "flash",
                           "tokens_per_s": 20.0},
                          {"op": "prefill", "context": 8192, "variant": "flash",
                           "tokens_per_s": 100.0}],
            "ratios": [{"ratio": "dense / peer", "context": 8192, "value": 5.0, "target": 6.0}]})
        source = sources.read(path)
        self.assertEqual([row["us_median"] for row in source.rows[1:]], [50000.0, 81920000.0])
        self.assertEqual(source.rows[1]["peer"], "llama.cpp flash")
        self.assertIn("missed", "\n".join(figures.make("ratios", [source], {})))

    def test_peers_rows_need_no_floor_and_failed_ones_are_left_out(self):
        path = self.write("p.json", {"shape": "llama3-8b", "rows": [
            {"op": "decode", "context": 1, "batch": 1, "policy": "dense", "peer": "stack",
             "us_median": 5}, {"peer": "stack", "error": "out of memory"}]})
        self.assertEqual([row["model"] for row in sources.read(path).rows], ["llama3-8b"])

    def test_kl_intervals_come_from_the_samples(self):
        kl = [0.1, 0.2, 0.3, 0.4]
        self.write("out/rows.json", {"rows": [eval_row(task="perplexity", kl=0.25)]})
        self.write("out/results.jsonl", "".join(
            json.dumps(eval_row(task="perplexity", heads="", budget=0, metrics={"kl": x})) + "\n"
            for x in kl))
        row, = sources.read(self.folder / "out").rows
        self.assertTrue(0.1 < row["kl_low"] < 0.25 < row["kl_high"] < 0.4, row)
        self.write("out/results.jsonl", "{}\n")
        with self.assertRaisesRegex(sources.ReportError, "results.jsonl:1"):
            sources.read(self.folder / "out")

    def test_refuses_bad_files_by_name(self):
        self.refused(self.folder / "none.json", "cannot be read")
        self.refused(self.folder, "no rows.json")
        self.refused(self.write("a.json", "{"), "no valid JSON")
        self.refused(self.write("b.json", "[" * 100000), "no valid JSON")
        self.refused(self.write("c.json", '{"rows": [{"op": NaN}]}'), "NaN")
        self.refused(self.write("d.json", "[]"), "no object with rows")
        self.refused(self.write("e.json", {"rows": 3}), "no object with rows")
        self.refused(self.write("f.json", {"rows": [3]}), "rows[0] must be an object")
        self.refused(self.write("i.json", {"rows": [bench_row()], "peer_rows": [{"op": "decode"}]}),
                     "peer_rows[0]", "variant")
        self.refused(self.write("j.json", {"rows": [bench_row()], "ratios": 3}), "ratios")
        self.refused(self.write("k.json", {"rows": [eval_row()], "totals": {"prompts": 1}}),
                     "totals", "answers")
        self.refused(self.write("g.json", {"rows": [bench_row()], "options": 3}), "options")
        (self.folder / "h.json").write_bytes(b"\xff")
        self.refused(self.folder / "h.json", "cannot be read")

    def test_refuses_bad_fields_by_name(self):
        for key, value in (("op", 3), ("context", -1), ("batch", 0), ("us_median", 0),
                           ("us_median", "fast"), ("bytes", None), ("floor_us", True),
                           ("policy", None)):
            with self.subTest(key=key, value=value):
                self.refused(self.bench("a.json", [bench_row(), bench_row(**{key: value})]),
                             "rows[1]", key)
        for key, value in (("task", 1), ("length", 0), ("score", "good"), ("kv_read", None),
                           ("samples", 0), ("ci_low", [])):
            with self.subTest(key=key, value=value):
                rows = [eval_row(), eval_row(**{key: value})]
                self.refused(self.write("e.json", {"rows": rows}), "rows[1]", key)

    def test_refuses_a_measurement_that_is_there_twice(self):
        first = sources.read(self.write("a.json", {"rows": [eval_row()]}))
        second = sources.read(self.write("b.json", {"rows": [eval_row()]}))
        with self.assertRaisesRegex(sources.ReportError, "b.json: .*passkey.* is in .*a.json"):
            sources.join([first, second])


class BenchFigures(Folder):
    def rows(self, *rows):
        return sources.read(self.bench("a.json", list(rows))).rows

    def test_crossover_compares_within_a_run_alone(self):
        rows = self.rows(bench_row(), bench_row(policy="hybrid", us_median=4000.0),
                         bench_row(context=100, policy="hybrid"))
        other = sources.read(self.bench("b.json", [bench_row(us_median=1.0, context=100)])).rows
        series, = bench_figures.crossover_chart(rows + other).series
        self.assertEqual([(p.x, p.y) for p in series.points], [(8192, 0.4)])

    def test_time_has_floors_below_our_lines(self):
        rows = self.rows(bench_row(), bench_row(context=0, us_median=2000.0),
                         bench_row(peer="other", us_median=20000.0))
        found = {s.name: [(p.x, p.y) for p in s.points]
                 for s in bench_figures.time_chart(rows).series}
        self.assertEqual(found["dense"], [(0, 2.0), (8192, 10.0)])
        self.assertEqual(found["read floor: dense"], [(0, 5.0), (8192, 5.0)])
        self.assertEqual(found["other"], [(8192, 20.0)])

    def test_steps_table_puts_peers_beside_the_same_work(self):
        peer = bench_row(peer="stack", us_median=20000.0, weights="file")
        rows = self.rows(bench_row(), bench_row(policy="hybrid", us_median=5000.0),
                         bench_row(weights="int4"), peer)
        head, _, *lines = bench_figures.steps_table(rows)
        self.assertTrue(head.endswith("| stack ms |"), head)
        self.assertEqual([line.rstrip(" |").split("| ")[-1].strip() for line in lines],
                         ["20", "1.00", "1.00"])
        self.assertIn("| 2.00 |", lines[1])

    def test_read_share_is_the_floor_over_the_time(self):
        rows = self.rows(bench_row(op="linear", policy="qkv", weights="int8"),
                         bench_row(op="attention"))
        shares = {s.name: s.points[0].y for s in bench_figures.read_share_chart(rows).series}
        self.assertEqual(shares, {"linear int8": 50.0, "attention dense f16": 50.0})
        self.assertEqual(len(bench_figures.kernels_table(rows)), 4)

    def test_kernels_table_tells_the_layers_of_a_plan_apart(self):
        rows = self.rows(bench_row(op="attention", layers=32, retrieval_heads=8),
                         bench_row(op="attention", policy="hybrid", layers=31, retrieval_heads=1),
                         bench_row(op="attention", policy="hybrid", layers=1, retrieval_heads=8))
        head, _, *lines = bench_figures.kernels_table(rows)
        self.assertIn("| retrieval heads | layers |", head)
        self.assertIn("| 1 | 31 |", lines[1])


class EvalFigures(Folder):
    def test_means_add_the_halves_of_intervals_in_squares(self):
        rows = [eval_row(score=0.5, ci_low=0.2, ci_high=0.9),
                eval_row(score=0.7, ci_low=0.3, ci_high=1.0)]
        mean, low, high = eval_figures.mean_score(rows)
        self.assertAlmostEqual(mean, 60)
        self.assertAlmostEqual(low, 60 - 25)  # √(0.3² + 0.4²) / 2
        self.assertAlmostEqual(high, 60 + 25)
        self.assertEqual(eval_figures.mean_score([eval_row(ci_low=None)]), (100, None, None))
        self.assertEqual(eval_figures.with_interval(0.0, -0.04, 2.26), "0.0 (0.0 … 2.3)")

    def test_a_mean_over_fewer_tasks_is_refused(self):
        rows = [eval_row(), eval_row(task="needle"), hybrid_row(128)]
        with self.assertRaisesRegex(sources.ReportError, "hybrid plan 128 lacks needle at 1024"):
            eval_figures.summary_table(rows, {})

    def test_tasks_that_dense_cannot_do_are_left_out(self):
        rows = [eval_row(), eval_row(task="vt", score=0.2), hybrid_row(128),
                hybrid_row(128, task="vt")]
        kept = figures.keep(rows, {"min-dense": "30"})
        self.assertEqual({row["task"] for row in kept}, {"passkey"})
        self.assertEqual(figures.keep([], {"min-dense": "30"}), [])
        with self.assertRaisesRegex(sources.ReportError, "min-dense"):
            figures.keep([hybrid_row(128)], {"min-dense": "30"})

    def test_lines_connect_budgets_in_order(self):
        rows = [eval_row(), hybrid_row(256, score=0.9), hybrid_row(128, score=0.6)]
        dense, hybrid = eval_figures.score_budget_chart(rows).series
        self.assertEqual([(p.x, p.y) for p in hybrid.points], [(128, 60), (256, 90)])
        self.assertEqual([(p.x, p.y) for p in dense.points], [(128, 100), (256, 100)])
        points = eval_figures.score_read_chart(rows).series[1].points
        self.assertEqual([p.x for p in points], [0.25, 0.25])

    def test_tables_list_the_budgets_of_a_method_in_order(self):
        rows = [eval_row(), hybrid_row(256), hybrid_row(128),
                eval_row(policy="streaming", budget=64)]
        lines = eval_figures.scores_table(rows)[2:]
        self.assertEqual([line.split(" | ")[0] for line in lines],
                         ["| dense", "| hybrid plan 128", "| hybrid plan 256", "| streaming 64"])

    def test_summary_has_the_speed_measured_alone(self):
        speeds = {("m", "hybrid", "plan", 128, 1024): 321.0}
        rows = [row | {"model": "m"} for row in (eval_row(), hybrid_row(128, difference=-0.25))]
        head, _, dense, hybrid = eval_figures.summary_table(rows, speeds)
        self.assertIn("alone, tokens/s", head)
        self.assertIn("| 321 |", hybrid)
        self.assertIn("-25.0", hybrid)
        self.assertTrue(dense.endswith("|  |"), dense)

    def test_lines_differ_in_colour_or_dash(self):
        def looks(rows):
            return {s.name: (s.color, s.dash) for s in eval_figures.score_read_chart(rows).series}

        plans = [eval_row(), hybrid_row(128, heads="a"), hybrid_row(128, heads="b")]
        self.assertEqual(looks(plans), {"dense": (0, 0), "hybrid a": (1, 0), "hybrid b": (2, 0)})
        found = looks([*plans, eval_row(policy="streaming", budget=128)])
        self.assertEqual((found["hybrid a"], found["hybrid b"]), ((1, 0), (1, 1)))

    def test_followed_texts_have_a_table_and_a_chart_of_their_own(self):
        rows = [eval_row(task="perplexity", score=40.0, kl=0.0),
                hybrid_row(128, task="perplexity", score=42.0, kl=0.05, kl_low=0.04, kl_high=0.06),
                hybrid_row(128, task="recall", score=0.8)]
        table = "\n".join(eval_figures.followed_table(rows))
        self.assertIn("| 42.0 (0.7 … 1.0) | 0.0500 (0.0400 … 0.0600) |", table)
        self.assertIn("| 80.0 |", table)
        series, = eval_figures.kl_read_chart(rows).series
        self.assertEqual((series.points[0].x, series.points[0].y), (0.25, 0.05))
        self.assertEqual(eval_figures.summary_table(rows, {}), [])


class Drawing(unittest.TestCase):
    def draw(self, **changes):
        made = chart.Chart("a < b", chart.Axis("tokens", log=True, as_bytes=True),
                           chart.Axis("ms", log=True), [chart.Series("one & two", [
                               chart.Point(0, 1.0), chart.Point(1024, 10.0, 5.0, 20.0),
                               chart.Point(4096, 100.0)])])
        for key, value in changes.items():
            setattr(made, key, value)
        return made, chart.render(made)

    def test_is_well_formed_and_names_everything(self):
        _, svg = self.draw()
        root = xml.etree.ElementTree.fromstring(svg)
        texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
        for text in ("a < b", "tokens", "ms", "one & two", "0", "1K", "4K", "10", "100"):
            self.assertIn(text, texts)
        self.assertIn("prefers-color-scheme:dark", svg)

    def test_logarithmic_axes(self):
        made, _ = self.draw()
        scale = chart.Drawing(made).x
        gap = scale.share(4096) - scale.share(1024)
        self.assertAlmostEqual(scale.share(1024) - scale.share(0), gap / 2)
        self.assertEqual(scale.ticks(), [0, 1024, 4096])
        drawing = chart.Drawing(made)
        self.assertAlmostEqual(drawing.y_of(1) - drawing.y_of(10),
                               drawing.y_of(10) - drawing.y_of(100))

    def test_linear_ticks_are_round_and_inside(self):
        axis = chart.Axis("%", low=0, high=100)
        self.assertEqual(chart.Scale(axis, [3, 99]).ticks(), [0, 20, 40, 60, 80, 100])
        self.assertEqual(chart.Scale(chart.Axis("y"), [5]).ticks(), [4, 4.5, 5, 5.5, 6])


class Documents(Folder):
    def setUp(self):
        super().setUp()
        self.bench("results/a.json", [bench_row(), bench_row(policy="hybrid", us_median=5000.0)])

    def run_program(self, *arguments):
        """Exit code, stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = program.main([str(argument) for argument in arguments])
        return code, out.getvalue(), err.getvalue()

    def document(self, *blocks):
        text = "# Title\n\n" + "\nbetween\n".join(
            f"<!-- report: {block} -->\nold\n{documents.END}\n" for block in blocks) + "\nafter\n"
        return self.write("page.md", text)

    def test_fills_blocks_and_nothing_else(self):
        page = self.document("steps results/a.json",
                             'crossover results/a.json svg=plots/a.svg title="Our title"')
        self.assertEqual(self.run_program("fill", "--check", page)[0], 2)
        self.assertIn("old", page.read_text())
        code, _, err = self.run_program("fill", page)
        self.assertEqual((code, err), (0, ""))
        text = page.read_text()
        self.assertTrue(text.startswith("# Title\n\n<!-- report: steps"), text)
        self.assertIn("| 8192 | dense | 10 | 100 |", text)
        self.assertIn("![Our title](plots/a.svg)", text)
        self.assertTrue(text.endswith("\nafter\n"), text)
        self.assertNotIn("old", text)
        self.assertIn("Our title", (self.folder / "plots/a.svg").read_text())
        self.assertEqual(self.run_program("fill", "--check", page)[0], 0)
        (self.folder / "plots/a.svg").write_text("")
        self.assertIn("a.svg", self.run_program("fill", "--check", page)[2])

    def test_runs_as_a_folder(self):
        done = subprocess.run([sys.executable, PROGRAM, "show", self.folder / "results/a.json"],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("steps:", done.stdout)

    def test_refuses_blocks_by_document_and_line(self):
        for block, reason in (("nonsense results/a.json", "no figure nonsense"),
                              ("steps results/none.json", "none.json"),
                              ("steps", "no file"), ("", "no figure"),
                              ("steps 'results/a.json", "No closing quotation"),
                              ("summary results/a.json", "no rows for it"),
                              ("steps results/a.json colour=red", "no option colour"),
                              ("crossover results/a.json", "svg="),
                              ("steps results/a.json batch=7", "no rows for it")):
            with self.subTest(block=block):
                code, out, err = self.run_program("fill", self.document(block))
                self.assertEqual(code, 2, out)
                self.assertIn("page.md:3: ", err)
                self.assertIn(reason, err)
        page = self.write("page.md", "<!-- report: steps results/a.json -->\n")
        self.assertIn("page.md:1: this block has no line",
                      self.run_program("fill", page)[2])

    def test_show_draws_all_that_the_rows_allow(self):
        rows = [eval_row(), hybrid_row(128)]
        quality = self.write("q.json", {"rows": rows, "options": {"model": "m"}})
        code, out, err = self.run_program("show", self.folder / "results/a.json", quality,
                                          "--plots", self.folder / "out")
        self.assertEqual(code, 0, err)
        for name in ("steps:", "summary:", "scores:"):
            self.assertIn(name, out)
        self.assertEqual({path.stem for path in (self.folder / "out").iterdir()},
                         {"time", "crossover", "read-share", "score-budget", "score-read",
                          "score-length"})

    def test_packed_rows_draw_the_same(self):
        plain = self.folder / "results/a.json"
        packed = self.write("results/b.json", pack([str(plain)], "a CPU"))
        self.assertNotIn("/tmp", packed.read_text())
        made = [figures.make("steps", [sources.read(path)], {}) for path in (plain, packed)]
        self.assertEqual(*made)
        totals = {"prompts": 1, "answers": 2, "prefilled_tokens": 3, "prefill_seconds": 1.5,
                  "decode_seconds": 2.5, "shared_tokens": 4}
        files = [str(self.write(f"{task}.json", {"rows": [eval_row(task=task, head_recall=[[1]])],
                                                 "totals": totals})) for task in ("a", "b")]
        packed = sources.read(self.write("q.json", pack(files, "a CPU")))
        self.assertEqual(packed.totals["prefilled_tokens"], 6)
        self.assertNotIn("head_recall", packed.rows[0])
        self.assertEqual(figures.make("cost", [packed], {}),
                         ["2 prompts, 6 tokens prefilled in 3 s, 4 answers decoded in 5 s, "
                          "8 tokens not prefilled again."])
        with self.assertRaisesRegex(sources.ReportError, "bench and of eval"):
            pack([str(plain), files[0]], "a CPU")


if __name__ == "__main__":
    unittest.main()
