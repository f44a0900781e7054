#include <algorithm>

#include "base/memory_info.h"
#include "engine/engine_impl.h"
#include "engine/load_plan.h"
#include "io/shape/shape_model.h"
#include "kernels/cpu/threads.h"
#include "model/cuda_decoder.h"
#include "model/cuda_memory.h"
#include "model/transformer.h"

namespace lychee {

namespace {

constexpr int kCpuPrefillChunk = 512;
constexpr int kCudaPrefillChunk = 4096;  // matrices large enough for the GPU's full rate

int choose_chunk(int wanted, bool cuda) {
  return wanted > 0 ? wanted : cuda ? kCudaPrefillChunk : kCpuPrefillChunk;
}

engine::Demands cpu_demands(const EngineOptions& options, const io::ModelFiles& files, int chunk) {
  const std::optional<DType> weights = engine::cpu_weights(options.weights);
  return {
      .weight_bytes = weights ? model::weight_bytes(files.config, *weights) : files.weight_bytes,
      .workspace_bytes = model::Transformer::workspace_bytes(files.config, chunk),
      .available_bytes = available_memory_bytes(),
      .cuda = false};
}

engine::Demands cuda_demands(const EngineOptions& options, const io::ModelFiles& files, int chunk,
                             const CudaDevice& gpu) {
  const std::optional<linear::DeviceFormat> weights = engine::cuda_weights(options.weights);
  // Quantised blocks take a little more room on the device than in a file.
  return {.weight_bytes = weights ? model::CudaWeights::bytes(files.config, *weights)
                                  : files.weight_bytes + files.weight_bytes / 8,
          .workspace_bytes = model::CudaDecoder::workspace_bytes(files.config, chunk),
          .available_bytes = gpu.free_bytes,
          .cuda = true};
}

}  // namespace

Engine::Impl::Impl(const EngineOptions& options) {
  engine::check_options(options);
  const std::optional<CudaDevice> gpu = engine::choose_gpu(options);
  prefill_chunk = choose_chunk(options.prefill_chunk, gpu.has_value());
  const bool shape = io::is_shape_model(options.model);
  if (shape) {  // its weights are made once it is known that they fit
    files.config = io::shape_config(options.model);
    files.weight_bytes = model::weight_bytes(files.config, DType::kBF16);
  } else {
    files = io::open_model(options.model);
  }
  const engine::LoadPlan plan =
      engine::plan_loading(options, files.config,
                           gpu ? cuda_demands(options, files, prefill_chunk, *gpu)
                               : cpu_demands(options, files, prefill_chunk));
  if (options.on_memory_plan) {
    options.on_memory_plan(plan.memory);
  }
  cpu::set_num_threads(options.threads);
  if (shape) {
    const std::optional<DType> weights = gpu ? std::nullopt : engine::cpu_weights(options.weights);
    files = io::make_shape_model(options.model, weights.value_or(DType::kBF16));
  }
  load_tokenizer(options.load_tokenizer);
  if (gpu) {
    make_cuda_decoder(options, plan);
  } else {
    cache = std::make_unique<model::KvCache>(plan.kv, plan.num_pages());
    decoder = std::make_unique<model::Transformer>(files, *cache, prefill_chunk, options.exact,
                                                   engine::cpu_weights(options.weights));
  }
  pending = std::make_unique<engine::PendingLogits>(*decoder);
  describe(options, plan, gpu);
}

void Engine::Impl::make_cuda_decoder(const EngineOptions& options, const engine::LoadPlan& plan) {
  const auto stream = std::make_shared<const Stream>();
  cache = std::make_unique<model::KvCache>(
      plan.kv, plan.num_pages(),
      std::make_unique<model::CudaKvMemory>(plan.kv.bytes(plan.num_pages()), stream));
  decoder = std::make_unique<model::CudaDecoder>(
      files, *cache, stream,
      model::CudaDecoderOptions{.weights = engine::cuda_weights(options.weights),
                                .max_rows = prefill_chunk,
                                .sampled_vocab = sampled_vocab,
                                .exact = options.exact});
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

void Engine::Impl::describe(const EngineOptions& options, const engine::LoadPlan& plan,
                            const std::optional<CudaDevice>& gpu) {
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
  info.weight_bytes_per_step = decoder->weight_bytes_per_step();
  info.layer_parameters = decoder->weights().layer_parameters();
  info.weights = weight_format_name(options.weights);
  info.memory = plan.memory;
  info.kv_dtype = dtype_info(plan.kv.dtype).name;
  info.device = gpu ? "cuda" : "cpu";
  info.gpu = gpu ? gpu->name : "";
  info.header_sha256 = files.header_sha256;
  info.threads = cpu::num_threads();
  info.eos_ids = files.generation.eos_ids;
  info.has_tokenizer = tokenizer.has_value();
  info.has_chat_template = !files.chat_template.empty();
}

}  // namespace lychee
