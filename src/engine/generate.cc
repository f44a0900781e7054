#include <chrono>
#include <optional>

#include "engine/engine_impl.h"
#include "engine/stop_finder.h"
#include "lychee/engine.h"

namespace lychee {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The text side of generation: ids to whole characters, stop strings held back and cut.
class TextStream {
 public:
  TextStream(const std::optional<text::Tokenizer>& tokenizer, const std::vector<std::string>& stop,
             const TextCallback& on_text, std::string& text)
      : stop_finder_(stop), on_text_(on_text), text_(text) {
    if (tokenizer) {
      decoder_.emplace(*tokenizer, true);
    }
  }
  // A reason to stop, if the token gives one.
  std::optional<FinishReason> push(int32_t id) {
    if (!decoder_) {
      return std::nullopt;
    }
    const auto [text, stopped] = stop_finder_.push(decoder_->push(id));
    const bool going = show(text);
    return stopped  ? std::optional(FinishReason::kStop)
           : !going ? std::optional(FinishReason::kCanceled)
                    : std::nullopt;
  }
  // Shows what was held back; false when the callback cancels.
  void finish() {
    if (decoder_) {
      const auto [text, stopped] = stop_finder_.push(decoder_->finish());
      show(stopped ? text : text + stop_finder_.finish());
    }
  }

 private:
  bool show(const std::string& text) {
    text_ += text;
    return text.empty() || !on_text_ || on_text_(text);
  }

  std::optional<text::StreamDecoder> decoder_;
  engine::StopFinder stop_finder_;
  const TextCallback& on_text_;
  std::string& text_;
};

}  // namespace

GenerationResult Engine::generate(Sequence& sequence, const TextCallback& on_text) {
  const Clock::time_point start = Clock::now();
  const GenerationOptions& options = sequence.options();
  GenerationResult result;
  result.prompt_tokens = sequence.length();
  TextStream stream(impl_->tokenizer, options.stop, on_text, result.text);
  Clock::time_point first_token = start;
  std::optional<FinishReason> finished;
  if (options.max_tokens <= 0) {
    finished = FinishReason::kLength;
  }
  while (!finished) {
    const int32_t id = sample(sequence);
    result.token_ids.push_back(id);
    if (result.token_ids.size() == 1) {
      first_token = Clock::now();
      result.ttft_s = seconds_since(start);
    }
    if (is_end_token(sequence, id)) {
      finished = FinishReason::kStop;
      break;
    }
    finished = stream.push(id);
    if (!finished &&
        (std::ssize(result.token_ids) >= options.max_tokens || !impl_->has_room(*sequence.impl_))) {
      finished = FinishReason::kLength;
    }
    if (!finished) {
      decode(sequence, id);
    }
  }
  if (result.token_ids.size() > 1) {
    result.decode_tokens_per_s =
        static_cast<double>(result.token_ids.size() - 1) / seconds_since(first_token);
  }
  if (*finished != FinishReason::kCanceled) {
    stream.finish();
  }
  result.finish_reason = *finished;
  result.stats = sequence.stats();
  return result;
}

GenerationResult Engine::generate(std::string_view prompt, const GenerationOptions& options,
                                  const TextCallback& on_text, const ProgressCallback& progress) {
  const Clock::time_point start = Clock::now();
  const std::vector<int32_t> ids = encode(prompt);
  Sequence sequence = create_sequence(options);
  const Clock::time_point prefill_start = Clock::now();
  if (!prefill(sequence, ids, progress)) {
    GenerationResult canceled;
    canceled.prompt_tokens = sequence.length();
    canceled.finish_reason = FinishReason::kCanceled;
    return canceled;
  }
  wait();
  const double prefill_s = seconds_since(prefill_start);
  const double before_decode = seconds_since(start);
  GenerationResult result = generate(sequence, on_text);
  result.ttft_s += before_decode;
  result.prefill_tokens_per_s = static_cast<double>(ids.size()) / prefill_s;
  return result;
}

}  // namespace lychee
