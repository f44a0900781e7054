#!/usr/bin/env python3
"""Tests of what bench/peers.py works out before it needs a GPU."""

import contextlib
import importlib
import io
import json
import pathlib
import random
import signal
import sys
import types
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import flashinfer_peer  # noqa: E402
import transformers_peer  # noqa: E402


class Peers(unittest.TestCase):
    """peers.py over a PyTorch that does nothing."""

    def setUp(self):
        torch = types.ModuleType("torch")
        torch.cuda = unittest.mock.MagicMock()
        with unittest.mock.patch.dict(sys.modules, {"torch": torch}):
            self.peers = importlib.import_module("peers")
        self.addCleanup(sys.modules.pop, "peers", None)
        self.row = {"op": "attention", "context": 8, "batch": 1, "policy": "dense",
                    "weights": "none", "kv_dtype": "bf16", "us_median": 3.0}

    def test_a_peer_that_fails_says_why_and_the_others_go_on(self):
        def fail():
            raise FileNotFoundError("no nvcc\nat all")

        same = {key: value for key, value in self.row.items() if key != "us_median"}
        self.assertEqual(self.peers.peer_rows(self.row, "a", fail),
                         [same | {"peer": "a", "error": "FileNotFoundError: no nvcc"}])
        self.assertEqual(self.peers.peer_rows(self.row, "b", lambda: 2.0),
                         [same | {"peer": "b", "us_median": 2.0}])
        self.assertEqual(self.peers.peer_rows(self.row, "c", lambda: None), [])

    def test_rows_of_attention(self):
        def sdpa(backend, *shape):
            if backend == "flash":
                raise RuntimeError("no kernel")
            return 2.0

        backends = types.SimpleNamespace(CUDNN_ATTENTION="cudnn", FLASH_ATTENTION="flash")
        self.peers.torch.nn = types.SimpleNamespace(
            attention=types.SimpleNamespace(SDPBackend=backends))
        options = types.SimpleNamespace(context="8", heads=(4, 2, 64))
        no_flashinfer = types.SimpleNamespace(available=lambda: False)
        with unittest.mock.patch.multiple(
                self.peers, ours=lambda *_: [dict(self.row)], sdpa_us=sdpa, topk_us=lambda *_: 5.0,
                flashinfer_peer=no_flashinfer):
            rows = list(self.peers.attention(options))
        found = [(row.get("peer"), row.get("us_median"), row.get("error")) for row in rows]
        self.assertEqual(found, [(None, 3.0, None), ("cuDNN", 2.0, None),
                                 ("Flash", None, "RuntimeError: no kernel"), (None, 3.0, None),
                                 (None, 3.0, None), ("torch.topk", 5.0, None)])

    def test_what_was_measured_before_sigterm_is_printed(self):
        def measure(_):
            yield dict(self.row, floor_us=1.0, weights="none")
            self.assertIn("ours", self.err.getvalue())  # shown before the next is measured
            signal.raise_signal(signal.SIGTERM)
            yield self.row

        self.peers.torch.cuda.get_device_name = lambda: "a GPU"
        self.peers.torch.__version__ = "2"
        options = types.SimpleNamespace(json=True, shape="tiny", measure=measure)
        self.err, out = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(self.err), contextlib.redirect_stdout(out), \
                self.assertRaises(SystemExit) as end:
            self.peers.run(options)
        self.assertEqual(end.exception.code, 143)
        printed = json.loads(out.getvalue())
        self.assertEqual([row["us_median"] for row in printed["rows"]], [3.0])
        self.assertEqual(printed["gpu"], "a GPU")


class FlashInfer(unittest.TestCase):
    def test_dense_requests_are_the_sequences(self):
        self.assertEqual(flashinfer_peer.dense_requests(2, 130), [[0, 1, 2], [3, 4, 5]])

    def test_a_head_is_a_request(self):
        requests = flashinfer_peer.hybrid_requests(
            batch=2, kv_heads=4, context=64 * 50 - 3, num_dense=1, budget=256,
            shuffle=random.Random(1).shuffle)
        self.assertEqual(len(requests), 8)
        for number, pages in enumerate(requests):
            row, head = divmod(number, 4)
            self.assertEqual(len(pages), 50 if head == 0 else 4)
            self.assertEqual(pages, sorted(set(pages)))
            # Pages of this sequence and this head, the last one among them: it holds the new token.
            self.assertEqual({page % 4 for page in pages}, {head})
            self.assertTrue(all(page // 4 // 50 == row for page in pages))
            self.assertEqual(pages[-1], (row * 50 + 49) * 4 + head)
        self.assertNotEqual([p // 4 for p in requests[1]], [p // 4 for p in requests[2]])

    def test_index_arrays(self):
        self.assertEqual(flashinfer_peer.index_arrays([[7, 8], [3]], 65),
                         ([0, 2, 3], [7, 8, 3], [1, 1]))
        self.assertEqual(flashinfer_peer.index_arrays([[1]], 64)[2], [64])


class Transformers(unittest.TestCase):
    def test_shapes_are_those_of_the_program(self):
        source = (ROOT / "src/io/shape/shape_model.cc").read_text()
        for name, numbers in transformers_peer.SHAPES.items():
            line = next(line for line in source.splitlines() if f'Shape{{"{name}"' in line)
            fields = [part.strip() for part in line.strip().strip(",")[len("Shape{"):-1].split(",")]
            self.assertEqual(fields[1].split("::k")[-1].lower(), numbers[0])
            self.assertEqual([int(field) for field in fields[2:9]], list(numbers[1:8]))
            self.assertEqual(fields[9] == "true", numbers[8])
            self.assertEqual(float(fields[10]), numbers[9])

    def test_configuration_has_room_for_the_context(self):
        fields = transformers_peer.config_fields("qwen3-8b", 131072)
        self.assertEqual(fields["max_position_embeddings"], 131072)
        self.assertEqual(fields["model_type"], "qwen3")
        self.assertEqual(fields["rope_parameters"]["rope_theta"], 1e6)


if __name__ == "__main__":
    unittest.main()
