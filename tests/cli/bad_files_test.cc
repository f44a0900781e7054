// Truncated, lying and contradictory model and plan files, through the whole program.

#include <algorithm>
#include <array>

#include "cli/program.h"
#include "lychee/head_plan.h"
#include "support/golden.h"
#include "support/tiny_model.h"

namespace lychee::test {
namespace {

constexpr const char* kHostile = "evil\x1b[2J\nname";

class BadFileTest : public FilesTest {
 protected:
  BadFileTest() : config_(tiny_config()), weights_(tiny_weights(config_)), ids_(ids_file(10)) {}

  void expect_refused(const std::string& model, const std::vector<std::string>& parts) const {
    expect_failure({"run", "--model", model, "--policy", "dense", "--threads", "1", "--max-tokens",
                    "2", "--token-ids", ids_},
                   2, parts);
  }
  // The model as a folder or a GGUF file, after a change.
  void expect_folder_refused(const std::vector<std::string>& parts) const {
    write_hf_folder(path("model"), config_, weights_);
    expect_refused(path("model"), parts);
  }
  void expect_gguf_refused(const std::vector<std::string>& parts) const {
    write_gguf_file(path("model.gguf"), config_, weights_);
    expect_refused(path("model.gguf"), parts);
  }
  void expect_config_refused(const std::string& key, const Json& value,
                             const std::vector<std::string>& parts) const {
    SCOPED_TRACE(key);
    write_hf_folder(path("model"), config_, weights_);
    Json json = Json::parse(hf_config_text(config_));
    json[key] = value;
    write_text(path("model/config.json"), json.dump());
    expect_refused(path("model"), parts);
  }
  WriterTensor& weight(const std::string& part) {
    return *std::find_if(weights_.begin(), weights_.end(), [&](const WriterTensor& tensor) {
      return tensor.name.find(part) != std::string::npos;
    });
  }

  io::ModelConfig config_;
  std::vector<WriterTensor> weights_;
  std::string ids_;
};

TEST_F(BadFileTest, ModelMustExist) {
  expect_refused(path("missing"), {"missing", "smollm2"});
  expect_refused(path("a\nb\x7f"), {"a\\x0ab\\x7f"});
  expect_refused(path(""), {"config.json"});
  expect_refused("/dev/null", {"/dev/null"});
  expect_refused("", {"model"});
  expect_refused("hf:owner", {"hf:owner"});
  expect_refused("smollm2", {"smollm2", "fetch"});
  expect_refused("builtin:haystack", {"haystack", "builtin:needle"});
  expect_refused("builtin:needle?layers=3", {"layers=3", "4"});
  expect_refused("builtin:needle?layers=x", {"layers='x'"});
  expect_refused("builtin:needle?colour=1", {"colour"});
}

TEST_F(BadFileTest, GgufIsTruncatedAnywhere) {
  write_gguf_file(path("whole.gguf"), config_, weights_);
  const std::string whole = [&] {
    const ProgramResult ok =
        run_program({"run", "--model", path("whole.gguf"), "--policy", "dense", "--threads", "1",
                     "--max-tokens", "2", "--token-ids", ids_});
    EXPECT_EQ(ok.exit_code, 0) << ok.err;
    return path("whole.gguf");
  }();
  const auto size = std::filesystem::file_size(whole);
  for (const uintmax_t kept :
       {uintmax_t{0}, uintmax_t{3}, uintmax_t{4}, uintmax_t{11}, uintmax_t{24}, uintmax_t{100},
        uintmax_t{700}, uintmax_t{1500}, size / 2, size - 1}) {
    SCOPED_TRACE(kept);
    std::filesystem::copy_file(whole, path("cut.gguf"),
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(path("cut.gguf"), kept);
    expect_refused(path("cut.gguf"), {"cut.gguf"});
  }
}

TEST_F(BadFileTest, GgufLies) {
  const auto refused = [&](GgufWriter& writer, const std::vector<std::string>& parts) {
    Bytes bytes = writer.encode();
    bytes.resize(bytes.size() + 256);  // where data would begin
    write_bytes(path("lie.gguf"), bytes);
    expect_refused(path("lie.gguf"), parts);
  };
  GgufWriter counts = gguf_header(config_);
  counts.extra_tensor_count = uint64_t{1} << 62;
  refused(counts, {"lie.gguf"});
  GgufWriter keys = gguf_header(config_);
  keys.extra_key_count = uint64_t{1} << 63;
  refused(keys, {"lie.gguf"});
  GgufWriter version = gguf_header(config_);
  version.version = 99;
  refused(version, {"99"});
  GgufWriter overflow = gguf_header(config_);
  const std::array<uint64_t, 2> sizes = {uint64_t{1} << 62, 4};
  overflow.raw_tensor(kHostile, sizes, 0, 0);
  refused(overflow, {"evil\\x1b[2J\\x0aname"});
  GgufWriter outside = gguf_header(config_);
  const std::array<uint64_t, 2> small = {64, 96};
  outside.raw_tensor("token_embd.weight", small, 0, uint64_t{1} << 63);
  refused(outside, {"token_embd.weight"});
  GgufWriter type = gguf_header(config_);
  type.raw_tensor("token_embd.weight", small, 9999, 0);
  refused(type, {"token_embd.weight", "9999"});
  GgufWriter iq = gguf_header(config_);
  const std::array<uint64_t, 2> iq_shape = {256, 96};
  iq.raw_tensor("token_embd.weight", iq_shape, 16, 0);
  refused(iq, {"token_embd.weight", "IQ2_XXS"});
}

TEST_F(BadFileTest, GgufOfAnotherArchitecture) {
  GgufWriter writer;
  writer.string("general.architecture", kHostile);
  write_bytes(path("other.gguf"), writer.encode());
  expect_refused(path("other.gguf"), {"evil\\x1b[2J\\x0aname"});
}

TEST_F(BadFileTest, WeightsMustBeWholeAndOfTheRightShape) {
  weights_.erase(weights_.begin() + (&weight("layers.1.mlp.up_proj") - weights_.data()));
  expect_folder_refused({"up_proj"});
  expect_gguf_refused({"ffn_up"});
}

TEST_F(BadFileTest, WeightsMustHaveTheConfigsShape) {
  WriterTensor& tensor = weight("layers.2.self_attn.k_proj");
  tensor = make_blank_tensor(tensor.name, {33, 64}, DType::kF32);
  expect_folder_refused({"k_proj", "33"});
}

TEST_F(BadFileTest, VectorsMustBeVectors) {
  WriterTensor& tensor = weight("layers.0.input_layernorm");
  tensor = make_blank_tensor(tensor.name, {63}, DType::kF32);
  expect_gguf_refused({"attn_norm", "63"});
}

TEST_F(BadFileTest, ConfigsMustBeSupported) {
  expect_config_refused("architectures", {"MixtralForCausalLM"}, {"Mixtral"});
  expect_config_refused("architectures", {kHostile}, {"evil\\x1b[2J\\x0aname"});
  expect_config_refused("num_hidden_layers", 0, {"num_hidden_layers", "0"});
  expect_config_refused("num_hidden_layers", 4000000000, {"num_hidden_layers", "4000000000"});
  expect_config_refused("num_hidden_layers", 4, {"layers.3"});
  expect_config_refused("hidden_size", -64, {"hidden_size", "-64"});
  expect_config_refused("hidden_size", "wide", {"hidden_size", "wide"});
  expect_config_refused("num_key_value_heads", 3, {"3"});
  expect_config_refused("head_dim", 0, {"head_dim"});
  expect_config_refused("head_dim", 15, {"15"});
  expect_config_refused("vocab_size", 97, {"97"});
  expect_config_refused("rms_norm_eps", "small", {"rms_norm_eps"});
  expect_config_refused("hidden_act", "gelu", {"gelu"});
  expect_config_refused("rope_scaling", Json{{"rope_type", "longrope"}}, {"longrope"});
  expect_config_refused("max_position_embeddings", 0, {"max_position_embeddings"});
}

TEST_F(BadFileTest, ConfigMustBeJson) {
  write_hf_folder(path("model"), config_, weights_);
  for (const auto& [text, part] :
       std::vector<std::pair<std::string, std::string>>{{"", "JSON"},
                                                        {"{", "JSON"},
                                                        {"[]", "object"},
                                                        {std::string(1000000, '['), "deep"},
                                                        {R"({"a": 1, "a": 2})", "twice"},
                                                        {"{\"\xff\": 1}", "JSON"}}) {
    write_text(path("model/config.json"), text);
    expect_refused(path("model"), {"config.json", part});
  }
  std::filesystem::remove(path("model/config.json"));
  std::filesystem::create_directory(path("model/config.json"));
  expect_refused(path("model"), {"config.json", "not a regular file"});
}

TEST_F(BadFileTest, SafetensorsLie) {
  write_hf_folder(path("model"), config_, weights_);
  const std::string file = path("model/model.safetensors");
  const auto refused = [&](std::string_view header, size_t bytes,
                           const std::vector<std::string>& parts) {
    write_bytes(file, encode_safetensors_raw(header, bytes));
    expect_refused(path("model"), parts);
  };
  refused(R"({"evil\u001b[2J\u000aname":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}})", 9,
          {"evil\\x1b[2J\\x0aname"});
  refused(R"({"x":{"dtype":"F4","shape":[2],"data_offsets":[0,8]}})", 8, {"F4"});
  refused(R"({"x":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,8]}})", 8,
          {"x"});
  refused(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
          R"("y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
          12, {"overlap"});
  refused(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,8]}})", 8, {"x"});
  refused("{\"x\":" + std::string(1000000, '['), 0, {"deep"});
  refused("{}", 0, {"model.embed_tokens.weight"});
  write_hf_folder(path("model"), config_, weights_);
  std::filesystem::resize_file(file, 7);
  expect_refused(path("model"), {"model.safetensors"});
  write_text(file, std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10));
  expect_refused(path("model"), {"model.safetensors"});
  std::filesystem::remove(file);
  expect_refused(path("model"), {"safetensors"});
}

TEST_F(BadFileTest, TokenizersMustBeSupported) {
  const std::string model = text_model();
  const std::string text = file("t", "x");
  for (const std::string content : {"{", "[]", "{}", R"({"model": {"type": "Unigram"}})"}) {
    SCOPED_TRACE(content);
    write_text(path("text/tokenizer.json"), content);
    expect_failure({"tokenize", "encode", "--model", model, "--text-file", text}, 2,
                   {"tokenizer.json"});
    expect_failure({"run", "--model", model, "--prompt", "x"}, 2, {"tokenizer.json"});
  }
}

TEST_F(BadFileTest, TemplatesMustBeSupported) {
  const std::string model = text_model();
  const std::string messages = file("m", R"([{"role": "user", "content": "x"}])");
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"{% import 'x' as y %}", "import"},
           {"{{ messages", ""},
           {"{{ raise_exception('too many\\n\\x1b messages') }}", "too many"},
           {"{% for i in range(10000000000) %}{% endfor %}", ""}}) {
    SCOPED_TRACE(text);
    write_text(path("text/chat_template.jinja"), text);
    expect_failure({"tokenize", "chat", "--model", model, "--messages", messages}, 2, {part});
  }
}

TEST_F(BadFileTest, PlansMustBeForTheModel) {
  write_hf_folder(path("model"), config_, weights_);
  const auto refused = [&](const std::vector<std::string>& parts) {
    expect_failure({"run", "--model", path("model"), "--threads", "1", "--heads", path("plan"),
                    "--token-ids", ids_},
                   2, parts);
  };
  save_head_plan(HeadPlan(4, 2), path("plan"), {4, 4, 2, 16}, "other", "count");
  refused({"4 layers", "3"});
  expect_failure({"inspect", "--model", path("model"), "--heads", path("plan")}, 2, {"4 layers"});
  save_head_plan(HeadPlan(3, 4), path("plan"), {3, 4, 4, 16}, "other", "count");
  refused({"4 KV heads", "2"});
  save_head_plan(HeadPlan(3, 2), path("plan"), {3, 4, 2, 16}, "other", "count");
  write_text(path("plan/head_roles.tsv"), "1\t1\n0\t2\n0\t0\n");
  refused({"head_roles.tsv"});
  write_text(path("plan/lychee_config.json"),
             R"({"format": "lychee-head-plan", "format_version": 9})");
  refused({"format_version", "9", "1"});
  write_text(path("plan/lychee_config.json"), std::string(100000, '['));
  refused({"deep"});
  std::filesystem::remove(path("plan/lychee_config.json"));
  refused({"lychee_config.json"});
}

TEST_F(BadFileTest, PlanBudgetsAreChecked) {
  write_hf_folder(path("model"), config_, weights_);
  write_text(path("model/head_roles.tsv"), "1\t1\n0\t0\n0\t0\n");
  write_text(path("model/lychee_config.json"),
             R"({"format": "lychee-head-plan", "format_version": 1,
                 "selection": {"budget": 100, "sink": 64, "recent": 64}})");
  expect_failure({"run", "--model", path("model"), "--heads", path("model"), "--token-ids", ids_},
                 2, {"budget 100", "sink 64", "recent 64"});
}

}  // namespace
}  // namespace lychee::test
