#include <algorithm>

#include "base/memory_info.h"
#include "engine/engine_impl.h"
#include "engine/load_plan.h"
#include "io/shape/shape_model.h"
#include "kernels/cpu/threads.h"
#include "model/transformer.h"

namespace lychee {

Engine::Impl::Impl(const EngineOptions& options) : prefill_chunk(options.prefill_chunk) {
  engine::check_options(options);
  const bool shape = io::is_shape_model(options.model);
  if (shape) {  // its weights are made once it is known that they fit
    files.config = io::shape_config(options.model);
    files.weight_bytes = model::weight_bytes(files.config, DType::kBF16);
  } else {
    files = io::open_model(options.model);
  }
  const engine::LoadPlan plan =
      engine::plan_loading(options, files.config, files.weight_bytes,
                           model::Transformer::workspace_bytes(files.config, options.prefill_chunk),
                           available_memory_bytes());
  if (options.on_memory_plan) {
    options.on_memory_plan(plan.memory);
  }
  if (shape) {
    files = io::make_shape_model(options.model, plan.weights.value_or(DType::kBF16));
  }
  cpu::set_num_threads(options.threads);
  load_tokenizer(options.load_tokenizer);
  cache = std::make_unique<model::KvCache>(plan.kv, plan.num_pages());
  decoder = std::make_unique<model::Transformer>(files, *cache, options.prefill_chunk,
                                                 options.exact, plan.weights);
  pending = std::make_unique<engine::PendingLogits>(*decoder);
  describe(options, plan);
}

void Engine::Impl::load_tokenizer(bool wanted) {
  sampled_vocab = files.config.vocab_size;
  if (!wanted || !files.tokenizer) {
    return;
  }
  tokenizer.emplace(*files.tokenizer);
  sampled_vocab = std::min(sampled_vocab, tokenizer->vocab_size());
  // The chat format needs the special tokens still; the large tables live in the tokenizer alone.
  files.tokenizer->tokens = {};
  files.tokenizer->merges = {};
  files.tokenizer->scores = {};
}

void Engine::Impl::describe(const EngineOptions& options, const engine::LoadPlan& plan) {
  const io::ModelConfig& config = files.config;
  info.name = files.name;
  info.architecture = io::architecture_name(config.architecture);
  info.num_layers = config.num_layers;
  info.hidden_size = config.hidden_size;
  info.num_q_heads = config.num_q_heads;
  info.num_kv_heads = config.num_kv_heads;
  info.head_dim = config.head_dim;
  info.vocab_size = config.vocab_size;
  info.context_length = config.context_length;
  info.weight_bytes = plan.memory.weight_bytes;
  info.weight_bytes_per_step = decoder->weights().bytes_per_step();
  info.layer_parameters = decoder->weights().layer_parameters();
  info.weights = weight_format_name(options.weights);
  info.memory = plan.memory;
  info.kv_dtype = dtype_info(plan.kv.dtype).name;
  info.device = "cpu";
  info.header_sha256 = files.header_sha256;
  info.threads = cpu::num_threads();
  info.eos_ids = files.generation.eos_ids;
  info.has_tokenizer = tokenizer.has_value();
  info.has_chat_template = !files.chat_template.empty();
}

}  // namespace lychee
