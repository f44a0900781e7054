#include "training/checkpoint.h"

#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "io/fetch/sha256.h"

namespace lychee::training {
namespace {

constexpr std::string_view kAnyMagic = "lychee-train-";
constexpr std::string_view kMagic = "lychee-train-2\n";

class Writer {
 public:
  template <typename T>
  void value(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  template <typename T>
  void list(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    value(static_cast<uint64_t>(values.size()));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  [[nodiscard]] std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Reads what Writer wrote; the checksum has been compared already.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  template <typename T>
  void value(T& value) {
    require(bytes_.size() >= sizeof(value), ErrorCode::kInternal, "a checkpoint ends early");
    std::memcpy(&value, bytes_.data(), sizeof(value));
    bytes_.remove_prefix(sizeof(value));
  }
  template <typename T>
  void list(std::vector<T>& values) {
    uint64_t count = 0;
    value(count);
    require(count <= bytes_.size() / sizeof(T), ErrorCode::kInternal, "a checkpoint ends early");
    values.resize(count);
    if (count > 0) {  // an empty vector may have no memory to copy to
      std::memcpy(static_cast<void*>(values.data()), bytes_.data(), count * sizeof(T));
    }
    bytes_.remove_prefix(count * sizeof(T));
  }

 private:
  std::string_view bytes_;
};

// The order of the fields, for both directions.
template <typename Archive, typename State>
void visit_training(Archive& archive, State& state) {
  archive.value(state.step);
  archive.list(state.params);
  archive.list(state.first_moment);
  archive.list(state.second_moment);
  archive.value(state.updates);
  archive.value(state.moving_average);
  archive.value(state.lambda);
  archive.value(state.skipped);
  archive.value(state.skipped_in_row);
  archive.list(state.history);
  archive.list(state.histograms);
}

template <typename Archive, typename State>
void visit_refinement(Archive& archive, State& state) {
  archive.list(state.roles);
  archive.value(state.objective);
  archive.value(state.sample);
  archive.list(state.scales);
  archive.list(state.sums);
  archive.list(state.flipped);
  archive.value(state.converged);
  archive.list(state.rounds);
  archive.list(state.swaps);
}

template <typename Archive, typename State>
void visit(Archive& archive, State& state) {
  visit_training(archive, state.training);
  visit_refinement(archive, state.refinement);
}

}  // namespace

std::string encode_checkpoint(const RunState& state, const std::string& options) {
  Writer writer;
  visit(writer, state);
  const std::string body = io::sha256_hex(options) + writer.take();
  return std::string(kMagic) + io::sha256_hex(body) + body;
}

RunState decode_checkpoint(const std::string& bytes, const std::string& options,
                           const std::string& file) {
  constexpr size_t kDigest = 64;
  const std::string_view view = bytes;
  require(!view.starts_with(kAnyMagic) || view.starts_with(kMagic), ErrorCode::kInvalidArgument,
          file,
          " was written by another version of this program: resume with that one, or give "
          "another --out folder");
  require(view.starts_with(kMagic) && view.size() >= kMagic.size() + 2 * kDigest,
          ErrorCode::kInvalidArgument, file, " is no checkpoint");
  const std::string_view body = view.substr(kMagic.size() + kDigest);
  require(io::sha256_hex(body) == view.substr(kMagic.size(), kDigest), ErrorCode::kInvalidArgument,
          file, " is damaged: its checksum differs");
  require(body.substr(0, kDigest) == io::sha256_hex(options), ErrorCode::kInvalidArgument, file,
          " belongs to a run of other options: give those of options.json beside it, or another "
          "--out folder");
  RunState state;
  Reader reader(body.substr(kDigest));
  visit(reader, state);
  return state;
}

}  // namespace lychee::training
