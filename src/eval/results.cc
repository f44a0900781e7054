#include "eval/results.h"

#include "base/check.h"

namespace lychee::eval {

nlohmann::ordered_json to_json(const SampleResult& result) {
  return {{"task", result.task},
          {"length", result.length},
          {"sample", result.sample},
          {"depth", result.depth},
          {"policy", result.policy},
          {"heads", result.heads},
          {"budget", result.budget},
          {"cache_correction", result.cache_correction},
          {"prompt_tokens", result.prompt_tokens},
          {"prefilled_tokens", result.prefilled_tokens},
          {"prefill_seconds", result.prefill_seconds},
          {"seconds", result.seconds},
          {"references", result.references},
          {"texts", result.texts},
          {"score", result.score},
          {"metrics", result.metrics},
          {"recall", result.recall},
          {"kv_bytes_read", result.kv_bytes_read},
          {"kv_bytes_read_dense", result.kv_bytes_read_dense},
          {"decode_steps", result.decode_steps},
          {"decode_seconds", result.decode_seconds}};
}

SampleResult parse_result(const std::string& line) {
  SampleResult result;
  try {
    const auto json = nlohmann::json::parse(line);
    json.at("task").get_to(result.task);
    json.at("length").get_to(result.length);
    json.at("sample").get_to(result.sample);
    json.at("depth").get_to(result.depth);
    json.at("policy").get_to(result.policy);
    json.at("heads").get_to(result.heads);
    json.at("budget").get_to(result.budget);
    json.at("cache_correction").get_to(result.cache_correction);
    json.at("prompt_tokens").get_to(result.prompt_tokens);
    json.at("prefilled_tokens").get_to(result.prefilled_tokens);
    json.at("prefill_seconds").get_to(result.prefill_seconds);
    result.seconds = json.value("seconds", 0.0);  // older files lack it
    json.at("references").get_to(result.references);
    json.at("texts").get_to(result.texts);
    json.at("score").get_to(result.score);
    json.at("metrics").get_to(result.metrics);
    json.at("recall").get_to(result.recall);
    json.at("kv_bytes_read").get_to(result.kv_bytes_read);
    json.at("kv_bytes_read_dense").get_to(result.kv_bytes_read_dense);
    json.at("decode_steps").get_to(result.decode_steps);
    json.at("decode_seconds").get_to(result.decode_seconds);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kInvalidArgument, "not a line of results: ", error.what());
  }
  return result;
}

}  // namespace lychee::eval
