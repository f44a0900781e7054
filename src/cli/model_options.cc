#include "base/check.h"
#include "cli/common_options.h"
#include "cli/number_checks.h"
#include "cli/output.h"
#include "io/fetch/fetch.h"

namespace lychee::cli {

void add_model_options(CLI::App& command, ModelOptions& options) {
  const std::string group = "Model";
  command
      .add_option("--model", options.model,
                  "GGUF file, model folder, catalogue name (fetch --list), hf:OWNER/REPO[/FILE] or "
                  "builtin:needle")
      ->required()
      ->group(group);
  command
      .add_option("--kv-dtype", options.kv_dtype,
                  "f32, f16, bf16 or fp8 (CUDA); default f16, bf16 for BF16 models, f32 for F32 "
                  "ones")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "fp8"}))
      ->group(group);
  command
      .add_option("--weights", options.weights,
                  "Weights as they lie in the file, or rounded to bf16, fp8 (CUDA), int8 or int4")
      ->check(CLI::IsMember({"file", "bf16", "fp8", "int8", "int4"}))
      ->capture_default_str()
      ->group(group);
  command.add_flag("--exact", options.exact, "f32 arithmetic throughout (slower)")->group(group);
  command
      .add_option("--max-cache-tokens", options.max_cache_tokens,
                  "KV cache capacity, of which policy page-bound takes a 16th more than there are "
                  "tokens; default: what memory allows, of which run and score take no more than "
                  "the model's context needs; eval leaves none of a GPU's to others")
      ->check(whole_number(0, std::numeric_limits<int64_t>::max()))
      ->group(group);
  command
      .add_option("--prefill-chunk", options.prefill_chunk,
                  "Prompt tokens per pass; default 512, on CUDA 4096")
      ->check(whole_number(1, 65536))
      ->group(group);
}

namespace {

KvDtype parse_kv_dtype(const std::string& name) {
  return name == "f32"    ? KvDtype::kF32
         : name == "f16"  ? KvDtype::kF16
         : name == "bf16" ? KvDtype::kBF16
         : name == "fp8"  ? KvDtype::kFP8
                          : KvDtype::kAuto;
}

}  // namespace

std::filesystem::path resolve_model(const std::string& model) {
  ProgressBar bar("fetching " + model);
  io::FetchOptions fetch;
  fetch.progress = [&](int64_t bytes, int64_t total) { bar.update(bytes, total); };
  return io::resolve_model(model, fetch);
}

Device parse_device(const std::string& name) {
  return name == "cuda" ? Device::kCuda : name == "cpu" ? Device::kCpu : Device::kAuto;
}

EngineOptions engine_options(const ModelOptions& model, const CommonOptions& common,
                             int max_sequences) {
  EngineOptions options;
  options.model = resolve_model(model.model).string();
  options.device = parse_device(common.device);
  options.kv_dtype = parse_kv_dtype(model.kv_dtype);
  options.weights = parse_weight_format(model.weights).value_or(WeightFormat::kFile);
  options.exact = model.exact;
  options.threads = common.threads;
  options.max_cache_tokens = model.max_cache_tokens;
  options.max_sequences = max_sequences;
  options.prefill_chunk = model.prefill_chunk;
  return options;
}

void check_length(const Engine& engine, const ModelOptions& model, int64_t num_tokens) {
  const int64_t context = engine.model().context_length;
  require(num_tokens <= context, ErrorCode::kInvalidArgument, "the prompt of ", num_tokens,
          " tokens is longer than the model's context of ", context, "; shorten it");
  require(model.max_cache_tokens == 0 || num_tokens <= engine.cache_capacity(),
          ErrorCode::kInvalidArgument, "the prompt of ", num_tokens,
          " tokens is longer than the KV cache of ", engine.cache_capacity(),
          " tokens; raise --max-cache-tokens or shorten it");
}

}  // namespace lychee::cli
