// Asks one question of a long text twice, densely and with a head plan; the text is read once.
//
//   ask MODEL TEXT-FILE QUESTION [PLAN-FOLDER]
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include "lychee/engine.h"
#include "lychee/error.h"

namespace {

void answer(lychee::Engine& engine, const lychee::Sequence& asked,
            const lychee::GenerationOptions& options) {
  std::cout << lychee::policy_name(options.policy) << ": ";
  lychee::Sequence sequence = engine.fork(asked, options);
  const lychee::GenerationResult result = engine.generate(sequence, [](std::string_view text) {
    std::cout << text << std::flush;
    return true;  // false stops
  });
  std::cout << "\n  KV read " << result.stats.kv_read() << " of dense\n";
}

void ask(const std::string& model, const std::string& file, const std::string& question,
         const std::string& plan_folder) {
  std::ifstream stream(file);
  if (!stream) {
    throw lychee::Error(lychee::ErrorCode::kInvalidArgument, "cannot read " + file);
  }
  const std::string text{std::istreambuf_iterator<char>(stream), {}};

  lychee::Engine engine({.model = model});
  lychee::GenerationOptions options;
  options.max_tokens = 32;
  lychee::Sequence asked = engine.create_sequence(options);
  engine.prefill(asked, engine.encode(text + "\n\n" + question));
  answer(engine, asked, options);

  const lychee::HeadPlanShape shape = engine.model().plan_shape();
  options.policy = lychee::Policy::kHybrid;
  options.head_plan = std::make_shared<lychee::HeadPlan>(
      plan_folder.empty()
          ? lychee::HeadPlan::uniform(shape.num_layers, shape.num_kv_heads, 2 * shape.num_kv_heads)
          : lychee::load_head_plan(plan_folder, shape));
  options.selection.budget = 1024;
  answer(engine, asked, options);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    std::cerr << "usage: ask MODEL TEXT-FILE QUESTION [PLAN-FOLDER]\n";
    return 2;
  }
  try {
    ask(argv[1], argv[2], argv[3], argc == 5 ? argv[4] : "");
  } catch (const std::exception& error) {
    std::cerr << "ask: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
