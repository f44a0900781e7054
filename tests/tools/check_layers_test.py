"""Plants includes in a tree of its own and asks tools/check_layers.py about them."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools" / "check_layers.py"


def run(files):
    """Exit status and output for a tree of {path: one include}."""
    with tempfile.TemporaryDirectory() as root:
        for name, include in files.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#pragma once\n#include {include}\n")
        done = subprocess.run([sys.executable, SCRIPT, "--root", root], capture_output=True,
                              text=True, check=False)
        return done.returncode, done.stdout


class CheckLayers(unittest.TestCase):
    def test_allowed(self):
        status, output = run({
            "include/lychee/a.h": "<vector>",
            "src/base/a.h": '"lychee/error.h"',
            "src/model/a.cc": '"kernels/norm/rms_norm.h"',
            "src/cli/a.cc": "<CLI/CLI.hpp>",
            "src/cli/b.cc": '"text/tokenizer.h"',
            "src/kernels/linear/cpu/a.cc": "<hwy/highway.h>",
            "src/text/a.h": "<nlohmann/json.hpp>",
            "src/tensor/cuda/a.cc": "<cuda_runtime_api.h>",
            "src/kernels/linear/cuda/a.cu": "<cublasLt.h>",
        })
        self.assertEqual(status, 0, output)

    def test_each_planted_include_is_found(self):
        planted = {
            "src/io/a.cc": ('"model/config.h"', "points from io to model"),
            "src/kernels/norm/a.cc": ('"io/gguf/gguf.h"', "points from kernels to io"),
            "src/engine/b.cc": ('"eval/task.h"', "points from engine to eval"),
            "src/cli/a.cc": ('"kernels/norm/rms_norm.h"', "points from cli to kernels"),
            "src/kernels/norm/b.cc": ("<hwy/highway.h>", "folders named cpu/"),
            "src/engine/a.cc": ("<nlohmann/json.hpp>", "engine may not include"),
            "src/model/a.cc": ("<gtest/gtest.h>", "model may not include"),
            "src/model/cuda/a.cc": ("<cuda_runtime_api.h>", "model may not include"),
            "src/tensor/a.h": ("<cuda_runtime_api.h>", "folders named cuda/"),
            "src/kernels/norm/cuda/a.cuh": ('"engine/engine.h"', "points from kernels to engine"),
            "src/base/a.cc": ("<base/check.h>", "belongs in quotes"),
            "src/base/b.cc": ('"vector"', "no header of ours"),
            "include/lychee/a.h": ("<fmt/format.h>", "public may not include"),
            "include/lychee/b.h": ('"base/check.h"', "points from public to base"),
            "src/widgets/a.h": ("<vector>", "no module"),
        }
        for path, (include, reason) in planted.items():
            with self.subTest(path=path, include=include):
                status, output = run({path: include})
                self.assertEqual(status, 1)
                self.assertIn(reason, output)
                self.assertIn(path, output)


if __name__ == "__main__":
    unittest.main()
