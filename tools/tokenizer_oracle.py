#!/usr/bin/env python3
"""Compares our token ids with Hugging Face's `tokenizers`, and makes the small tokenizer fixtures.

  pip install gguf tokenizers sentencepiece
  tokenizer_oracle.py compare --model M.gguf --program build/…/lycheedecode --text F… [--megabytes 2]
  tokenizer_oracle.py fixtures --text F --out tests/data/tokenizers

`compare` builds a tokenizer from the GGUF's tokens and merges (or takes a folder's tokenizer.json), encodes lines of
the texts and random strings over all Unicode blocks with both programs, and exits 1 at the first difference.
"""
import argparse
import json
import random
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
PLAIN = ["", " ", "\n", "a", "Hello, world!", "an unreachable 日 computer", "  two  spaces  ", "tab\tand\r\nline\n\n\nends  ", "I'LL don't we've 'S",
         "1234567890 3.14 ½ ²³ ٣٤٥ Ⅷ", "naïve café re\u0301sume\u0301 \u212b \u1e9b\u0323", "हिन्दी ภาษาไทย 中文字 日本語 한국어 עברית العربية",
         "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ❤️", "\u180e\u00a0\u3000\u2028\ufeff\u0085x", "\x00\x01\x7f", "if (x <= 1) { return foo[i]; }  // why?",
         "a" * 700, " " * 300 + "x", "ab" * 400 + " " + "_-" * 300, "ſ 's ſ '\u017f"]


def block_chars():
    """Assigned characters, grouped in runs of 128 code points. Python 3.11 and PCRE2 10.42 are both at Unicode 14.

    Combining marks newer than Unicode 3.2 are left out: the oracle's normaliser has old tables and does not order them.
    """
    def is_new_mark(char):
        return unicodedata.combining(char) and unicodedata.ucd_3_2_0.category(char) == "Cn"
    groups = {}
    for code in range(0x110000):
        if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co") and not is_new_mark(chr(code)):
            groups.setdefault(code // 128, []).append(chr(code))
    return list(groups.values())


def random_strings(count, seed, specials=(), longest=40):
    rng = random.Random(seed)
    groups = block_chars()
    common = [" ", "  ", "\n", "\t", "'s", "1", "a", "Z", ".", "\u0301", "\u00e9", "\u3000", "\r\n", "12", "the", *specials]
    for _ in range(count):
        chosen = [rng.choice(groups) for _ in range(rng.randint(1, 3))]
        yield "".join(rng.choice(common) if rng.random() < 0.4 else rng.choice(rng.choice(chosen))
                      for _ in range(rng.randint(1, longest)))


def text_strings(paths, limit, seed):
    """Stretches of the texts, cut at random places; about `limit` bytes."""
    rng = random.Random(seed)
    size = 0
    for path in paths:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        at = 0
        while at < len(text) and size < limit:
            length = rng.choice([1, 7, 40, 200, 1000])
            yield text[at:at + length]
            size += len(text[at:at + length].encode())
            at += length


def from_gguf(path):
    """A `tokenizers` tokenizer over the tokens and merges of a byte-level GGUF file."""
    from gguf import GGUFReader
    fields = GGUFReader(path).fields

    def get(key):
        return fields[f"tokenizer.ggml.{key}"].contents()
    if get("model") != "gpt2":
        sys.exit(f"{path}: only byte-level BPE can be rebuilt from GGUF")
    pre = get("pre")
    vocab = {token: i for i, token in enumerate(get("tokens"))}
    merges = [tuple(merge.split(" ", 1)) for merge in get("merges")]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=pre == "llama-bpe"))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre in ("smollm", "gpt-2"))
    first = {"smollm": [pre_tokenizers.Digits(individual_digits=True)], "gpt-2": [],
             "qwen2": [pre_tokenizers.Split(Regex(QWEN2), "isolated")],
             "llama-bpe": [pre_tokenizers.Split(Regex(LLAMA3), "isolated")]}[pre]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*first, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokens = get("tokens")
    tokenizer.add_special_tokens([AddedToken(tokens[i], normalized=False, special=True)
                                  for i, kind in enumerate(get("token_type")) if kind == 3])
    return tokenizer


def compare(args):
    model = Path(args.model)
    oracle = Tokenizer.from_file(str(model / "tokenizer.json")) if model.is_dir() else from_gguf(model)
    specials = [token.content for token in oracle.get_added_tokens_decoder().values()]
    strings = [*PLAIN, *text_strings(args.text, int(args.megabytes * 1e6), 1)]
    strings += random_strings(args.random, 2, specials)
    size = sum(len(s.encode()) for s in strings)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(s) + "\n" for s in strings)
        file.flush()
        run = subprocess.run([args.program, "tokenize", "encode", "--model", args.model, "--jsonl", file.name, "--json"],
                             stdout=subprocess.PIPE, check=True)
    ours = json.loads(run.stdout)["token_ids"]
    if len(ours) != len(strings):
        sys.exit(f"{len(ours)} results for {len(strings)} strings")
    for text, ids, encoding in zip(strings, ours, oracle.encode_batch(strings)):
        if ids != encoding.ids:
            sys.exit(f"{text!r}:\n  ours   {ids}\n  oracle {encoding.ids}")
    print(f"{len(strings)} strings, {size} bytes, {sum(map(len, ours))} tokens: all equal")


def write_gguf(path, model, pre, tokens, types, merges=None, scores=None, bos=None, eos=None, add_bos=None):
    from gguf import GGUFWriter
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if merges is not None:
        writer.add_token_merges(merges)
    if scores is not None:
        writer.add_token_scores(scores)
    if bos is not None:
        writer.add_bos_token_id(bos)
    if eos is not None:
        writer.add_eos_token_id(eos)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def write_golden(folder, tokenizer, strings):
    cases = []
    for text in strings:
        ids = tokenizer.encode(text).ids
        case = {"text": text, "ids": ids}
        decoded, skipped = (tokenizer.decode(ids, skip_special_tokens=skip) for skip in (False, True))
        if decoded != text:
            case["decoded"] = decoded
        if skipped != decoded:
            case["decoded_skip_special"] = skipped
        cases.append(case)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    head = '{"format": "lychee-tokenizer-golden", "format_version": 1, "cases": [\n'
    (folder / "golden.json").write_text(f"{head}{lines}\n]}}\n", newline="\n")


def write_json(folder, root, string_merges=False):
    if string_merges:
        root["model"]["merges"] = [" ".join(pair) for pair in root["model"]["merges"]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(root, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def fixture_strings(text_path, specials, seed):
    strings = [*PLAIN, *text_strings([text_path], 2500, seed), *random_strings(200, seed, specials, 16)]
    for special in specials:
        strings += [special, f"a {special} b", f"{special}{special}c"]
    return list(dict.fromkeys(strings))


def byte_level_fixture(out, text_path, name, pre, steps, normalizer, specials, add_bos):
    """A byte-level BPE of 500 merges, as tokenizer.json and as GGUF, with goldens."""
    folder = out / name
    tokenizer = Tokenizer(models.BPE(ignore_merges=pre == "llama-bpe"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=756, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  show_progress=False)
    tokenizer.train_from_iterator([Path(text_path).read_text(encoding="utf-8", errors="replace")[:400000],
                                   *random_strings(300, 9)], trainer)
    root = json.loads(tokenizer.to_str())
    vocab = root["model"]["vocab"]
    if pre == "llama-bpe":
        # Tokens that no merge makes: only ignore_merges finds them.
        for word in ["Ġunreachable", "Ġcomputer", "\u0120\u00e6\u0139\u00a5"]:
            vocab.setdefault(word, len(vocab))
    tokenizer = Tokenizer.from_str(json.dumps(root))
    tokenizer.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in specials])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False, special=False)])
    if add_bos:
        bos = tokenizer.token_to_id(specials[0])
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{specials[0]} $A", pair=f"{specials[0]} $A {specials[0]} $B:1",
                                          special_tokens=[(specials[0], bos)])])
    root = json.loads(tokenizer.to_str())
    write_json(folder, root, string_merges=pre == "llama-bpe")
    tokens = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    types = [3 if t in specials else 4 if t == "<tool>" else 1 for t in tokens]
    # As converters do, the output matrix is padded with unused tokens.
    write_gguf(folder / "tokenizer.gguf", "gpt2", pre, tokens + ["[PAD0]", "[PAD1]"], types + [5, 5],
               [m if isinstance(m, str) else " ".join(m) for m in root["model"]["merges"]],
               bos=tokens.index(specials[0]), eos=tokens.index(specials[-1]), add_bos=add_bos)
    oracle = Tokenizer.from_file(str(folder / "tokenizer.json"))
    write_golden(folder, oracle, fixture_strings(text_path, [*specials, "<tool>"], 3))


def sentencepiece_merges(pieces, scores):
    """Every pair of pieces that makes a piece, best result first: the merges that conversions list."""
    index = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for i, piece in enumerate(pieces):
        splits = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in index and piece[k:] in index]
        merges += [(scores[i], a, b) for a, b in sorted(splits, key=lambda p: (index[p[0]], index[p[1]]))]
    return [(a, b) for _, a, b in sorted(merges, key=lambda m: m[0], reverse=True)]


def sentencepiece_fixtures(out, text_path):
    import io
    import sentencepiece
    text = Path(text_path).read_text(encoding="utf-8", errors="replace")[:400000].splitlines()
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text + ["中文 日本語 한국어 élève naïve"] * 3), model_writer=buffer, model_type="bpe", vocab_size=900,
        byte_fallback=True, split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, minloglevel=2)
    processor = sentencepiece.SentencePieceProcessor(model_proto=buffer.getvalue())
    count = processor.get_piece_size()
    pieces = [processor.id_to_piece(i) for i in range(count)]
    scores = [processor.get_score(i) for i in range(count)]
    types = [2 if processor.is_unknown(i) else 3 if processor.is_control(i) else 6 if processor.is_byte(i) else 1
             for i in range(count)]
    specials = ["<unk>", "<s>", "</s>"]
    merges = sentencepiece_merges([p if k == 1 else "" for p, k in zip(pieces, types)], scores)

    def build(normalizer, pre_tokenizer):
        tokenizer = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=merges, unk_token="<unk>",
                                         fuse_unk=True, byte_fallback=True))
        tokenizer.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in specials])
        if normalizer:
            tokenizer.normalizer = normalizer
        if pre_tokenizer:
            tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                               decoders.Strip(" ", 1, 0)])
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
        return tokenizer

    strings = fixture_strings(text_path, specials, 4)
    llama = build(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None)
    for text in strings:
        if "\0" not in text and not any(s in text for s in specials):
            ids = [1, *processor.encode(text)]
            if ids != llama.encode(text).ids:
                sys.exit(f"sentencepiece and tokenizers differ on {text!r}:\n{ids}\n{llama.encode(text).ids}")
    write_json(out / "llama2", json.loads(llama.to_str()), string_merges=True)
    write_gguf(out / "llama2/tokenizer.gguf", "llama", "default", pieces, types, scores=scores, bos=1, eos=2)
    write_golden(out / "llama2", llama, strings)
    mistral = build(None, pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False))
    write_json(out / "mistral", json.loads(mistral.to_str()))
    write_golden(out / "mistral", mistral, strings)


def fixtures(args):
    out = Path(args.out)
    for name in ("smollm", "qwen2", "llama3", "llama2", "mistral"):
        (out / name).mkdir(parents=True, exist_ok=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    byte_level_fixture(out, args.text, "smollm", "smollm",
                       [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
                       None, ["<|im_start|>", "<|im_end|>"], False)
    byte_level_fixture(out, args.text, "qwen2", "qwen2", [pre_tokenizers.Split(Regex(QWEN2), "isolated"), byte_level],
                       normalizers.NFC(), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], False)
    byte_level_fixture(out, args.text, "llama3", "llama-bpe", [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), byte_level],
                       None, ["<|begin_of_text|>", "<|eot_id|>"], True)
    sentencepiece_fixtures(out, args.text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("compare")
    command.add_argument("--model", required=True, help="a byte-level GGUF file, or a folder with tokenizer.json")
    command.add_argument("--program", default="lycheedecode")
    command.add_argument("--text", nargs="+", required=True)
    command.add_argument("--megabytes", type=float, default=2)
    command.add_argument("--random", type=int, default=20000, help="random strings besides the texts")
    command.set_defaults(run=compare)
    command = commands.add_parser("fixtures")
    command.add_argument("--text", required=True)
    command.add_argument("--out", required=True)
    command.set_defaults(run=fixtures)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
