#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/output.h"
#include "io/model_files.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace lychee::cli {

namespace {

struct TokenizeOptions {
  CommonOptions common;
  std::string model;
  std::string text_file;
  std::string jsonl;
  std::string token_ids_file;
  std::string messages;
  std::vector<std::string> template_args;
  bool skip_special = false;
  bool no_generation_prompt = false;
};

nlohmann::ordered_json options_json(const TokenizeOptions& options, const io::ModelFiles& files) {
  return {{"model", options.model}, {"model_sha256", files.header_sha256}};
}

text::Tokenizer make_tokenizer(io::ModelFiles& files) {
  require(files.tokenizer.has_value(), ErrorCode::kUnsupported, files.name,
          " comes without tokenizer files");
  return text::Tokenizer(*files.tokenizer);
}

std::vector<std::string> read_strings(const std::string& path) {
  const std::string text = read_text_file(path);
  std::vector<std::string> strings;
  const auto add = [&](const nlohmann::ordered_json& item) {
    require(item.is_string(), ErrorCode::kInvalidArgument, path, ": entry ", strings.size() + 1,
            " is no string");
    strings.push_back(item.get<std::string>());
  };
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '[') {
    for (const auto& item : parse_json(text, path)) {
      add(item);
    }
    return strings;
  }
  size_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    ++line_number;
    if (line.find_first_not_of(" \t\r") != std::string::npos) {
      add(parse_json(line, path + " line " + std::to_string(line_number)));
    }
    begin = end + 1;
  }
  return strings;
}

void run_encode(const TokenizeOptions& options) {
  io::ModelFiles files = io::open_tokenizer(resolve_model(options.model).string());
  const text::Tokenizer tokenizer = make_tokenizer(files);
  nlohmann::ordered_json ids;
  if (options.jsonl.empty()) {
    ids = tokenizer.encode(read_text_file(options.text_file), true);
  } else {
    ids = nlohmann::ordered_json::array();
    for (const std::string& text : read_strings(options.jsonl)) {
      ids.push_back(tokenizer.encode(text, true));
    }
  }
  if (options.common.json) {
    print_json({{"token_ids", ids}, {"options", options_json(options, files)}});
  } else {
    std::cout << ids.dump() << '\n';
  }
}

void run_decode(const TokenizeOptions& options) {
  io::ModelFiles files = io::open_tokenizer(resolve_model(options.model).string());
  const text::Tokenizer tokenizer = make_tokenizer(files);
  const std::string text =
      tokenizer.decode(read_token_ids(options.token_ids_file), options.skip_special);
  if (options.common.json) {
    print_json({{"text", text}, {"options", options_json(options, files)}});
  } else {
    std::cout << text;
  }
}

nlohmann::ordered_json template_variables(const TokenizeOptions& options,
                                          const io::TokenizerSpec& spec) {
  nlohmann::ordered_json variables = {{"bos_token", spec.bos_token},
                                      {"eos_token", spec.eos_token},
                                      {"pad_token", spec.pad_token},
                                      {"unk_token", spec.unk_token}};
  variables["messages"] = parse_json(read_text_file(options.messages), options.messages);
  require(variables["messages"].is_array(), ErrorCode::kInvalidArgument, options.messages,
          ": expected an array of messages");
  variables["add_generation_prompt"] = !options.no_generation_prompt;
  for (const std::string& argument : options.template_args) {
    const size_t equals = argument.find('=');
    require(equals != std::string::npos && equals > 0, ErrorCode::kInvalidArgument,
            "--template-arg ", argument, ": expected name=json");
    variables[argument.substr(0, equals)] =
        parse_json(argument.substr(equals + 1), "--template-arg " + argument);
  }
  return variables;
}

void run_chat(const TokenizeOptions& options) {
  io::ModelFiles files = io::open_tokenizer(resolve_model(options.model).string());
  const text::Tokenizer tokenizer = make_tokenizer(files);
  require(!files.chat_template.empty(), ErrorCode::kUnsupported, files.name,
          " has no chat template");
  const text::ChatTemplate chat_template(files.chat_template);
  const std::string text = chat_template.render(template_variables(options, *files.tokenizer));
  const std::vector<int32_t> ids = tokenizer.encode(text, false);
  if (options.common.json) {
    print_json({{"text", text}, {"token_ids", ids}, {"options", options_json(options, files)}});
  } else {
    std::cout << text;
  }
}

CLI::App* add_action(CLI::App& parent, const std::string& name, const std::string& description,
                     const std::shared_ptr<TokenizeOptions>& options,
                     void (*action)(const TokenizeOptions&)) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->add_option("--model", options->model, "A model, or a folder with tokenizer files alone")
      ->required();
  add_common_options(*command, options->common);
  command->callback([options, action] {
    apply_common_options(options->common);
    action(*options);
  });
  return command;
}

}  // namespace

void add_tokenize_command(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Text to token ids and back");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n"
      "  lycheedecode tokenize encode --model smollm2 --text-file book.txt\n"
      "  lycheedecode tokenize chat --model smollm2 --messages chat.json --template-arg "
      "enable_thinking=false");
  CLI::App* encode = add_action(*command, "encode", "Text to token ids", options, run_encode);
  auto* text = encode->add_option("--text-file", options->text_file, "Text, byte for byte");
  auto* jsonl = encode->add_option("--jsonl", options->jsonl, "A JSON array, or lines, of strings");
  text->excludes(jsonl);
  encode->callback([options] {
    apply_common_options(options->common);
    require(!options->text_file.empty() || !options->jsonl.empty(), ErrorCode::kInvalidArgument,
            "tokenize encode needs --text-file or --jsonl");
    run_encode(*options);
  });
  CLI::App* decode = add_action(*command, "decode", "Token ids to text", options, run_decode);
  decode->add_option("--token-ids", options->token_ids_file, "JSON array or white space")
      ->required();
  decode->add_flag("--skip-special", options->skip_special, "Leave special tokens out");
  CLI::App* chat =
      add_action(*command, "chat", "Messages through the chat template", options, run_chat);
  chat->add_option("--messages", options->messages, "JSON array of {role, content}")->required();
  chat->add_flag("--no-generation-prompt", options->no_generation_prompt,
                 "Do not open the assistant's turn");
  chat->add_option("--template-arg", options->template_args,
                   "name=json for the template (repeatable)");
}

}  // namespace lychee::cli
