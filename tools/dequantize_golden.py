#!/usr/bin/env python3
"""Writes tests/data/dequantize/golden.txt: random blocks of every quantised format and their values
according to the `gguf` package (pip install gguf==0.19.0 numpy).

One line per format: name, bytes in hexadecimal, values as bits of f32 in hexadecimal.
"""

import pathlib
import sys

import numpy as np
from gguf import GGMLQuantizationType, quants
from gguf.constants import GGML_QUANT_SIZES

# Where a block holds half-precision scales.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
NAMES = {"Q4_K": "q4_K", "Q5_K": "q5_K", "Q6_K": "q6_K"}
VALUES = 768  # per format: three super-blocks


def main() -> None:
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/data/dequantize/golden.txt")
    rng = np.random.default_rng(0x5EED)
    lines = []
    for name, offsets in SCALES.items():
        kind = GGMLQuantizationType[name]
        block_size, block_bytes = GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (VALUES // block_size, block_bytes), dtype=np.uint8)
        for at in offsets:
            scales = rng.normal(0, 0.1, len(blocks)).astype(np.float16)
            scales[0] = np.float16(6e-8)  # the smallest subnormal half
            if len(scales) > 3:
                scales[1:3] = [0, 1024]
            blocks[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
        values = quants.dequantize(blocks.reshape(-1), kind).astype(np.float32)
        bits = values.view(np.uint32)
        lines.append(f"{NAMES.get(name, name.lower())} {blocks.tobytes().hex()} "
                     + "".join(f"{b:08x}" for b in bits))
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
