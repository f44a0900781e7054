#pragma once

#include <optional>

#include "io/gguf/gguf.h"
#include "io/model_files.h"

namespace lychee::io {

// The tokenizer in a GGUF file's metadata; nothing when it has none (`tokenizer.ggml.model` missing
// or "no_vocab"). Byte-level BPE ("gpt2", its pre-tokenizer chosen by `tokenizer.ggml.pre`) and
// SentencePiece BPE ("llama"). Unused tokens at the end, which pad the output matrix, are left out.
// Throws Error(kUnsupported) for another model or pre-tokenizer, naming it, Error(kInvalidArgument)
// for contents that contradict themselves.
[[nodiscard]] std::optional<TokenizerSpec> read_gguf_tokenizer(const GgufMetadata& metadata);

}  // namespace lychee::io
