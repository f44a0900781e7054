"""Checks who includes whom in src/ and include/ against the tables of docs/architecture.md.

    python3 tools/check_layers.py [--root FOLDER]

Prints one line per forbidden include and exits 1 if there is any. A CMake target that does not link
a library can still include its header when that lies in /usr/include: hence a check of the text.
"""

import argparse
import pathlib
import re
import sys

# What each module builds on, besides itself and the public headers of include/lychee.
MODULES = {
    "base": "",
    "tensor": "base",
    "kernels": "base tensor",
    "io": "base tensor",
    "text": "base io",
    "model": "base tensor kernels io",
    "engine": "base tensor kernels io text model",
    "report": "base",
    "samples": "base text",
    "training": "base tensor kernels io text model report samples",
    "eval": "base text engine report samples",
    "bench": "base tensor kernels model engine report",
    "cli": "base io text engine training eval bench report",
}

# Libraries by how their headers begin: (prefixes, modules that may include them, folder below the
# module that the file must lie in, or None).
EVERY_MODULE = " ".join(MODULES)
LIBRARIES = [
    ("cuda cub/ cublas cudnn nccl nvtx", "tensor kernels", "cuda"),
    ("hwy/", "kernels", "cpu"),
    ("dnnl oneapi/ omp.h", "kernels", "cpu"),
    ("nlohmann/", "io text eval bench cli", None),
    ("pcre2 utf8proc", "text", None),
    ("curl/ openssl/", "io", None),
    ("spdlog/", "base", None),
    ("CLI/", "cli", None),
    ("fmt/", EVERY_MODULE, None),
    ("gtest/ gmock/ benchmark/ httplib", "", None),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"(?P<ours>[^"]+)"|<(?P<theirs>[^>]+)>)')
SUFFIXES = {".h", ".cc", ".cuh", ".cu"}


def objection(module, folders, match):
    """Why a file of `module`, in `folders` below it, may not have this include; None if it may."""
    ours, theirs = match["ours"], match["theirs"]
    if ours is not None:
        target = ours.split("/")[0]
        if target in {"lychee", module}:
            return None
        if target not in MODULES:
            return "is in quotes but no header of ours"
        built_on = MODULES.get(module, "").split()
        return None if target in built_on else f"points from {module} to {target}"
    for prefixes, owners, folder in LIBRARIES:
        if theirs.startswith(tuple(prefixes.split())):
            if module not in owners.split():
                return f"is a library that {module} may not include"
            if folder is not None and folder not in folders:
                return f"belongs in folders named {folder}/"
    if theirs.split("/")[0] in {"lychee", *MODULES} and "/" in theirs:
        return "is ours and belongs in quotes"
    return None


def check(root):
    findings = []
    for top in ("include", "src"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in SUFFIXES:
                continue
            parts = path.relative_to(root).parts
            module = "public" if top == "include" else parts[1]
            if module != "public" and module not in MODULES:
                findings.append(f"{'/'.join(parts)}: the folder is no module")
                continue
            lines = path.read_text(encoding="utf-8").splitlines()
            for number, line in enumerate(lines, 1):
                match = INCLUDE.match(line)
                reason = match and objection(module, parts[2:-1], match)
                if reason:
                    findings.append(f"{'/'.join(parts)}:{number}: {match[0].strip()} {reason}")
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("."))
    findings = check(parser.parse_args().root)
    print("\n".join(findings) if findings else "layers: every include is allowed")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
