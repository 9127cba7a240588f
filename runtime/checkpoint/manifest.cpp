#include "runtime/checkpoint/manifest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <tuple>

#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/json_limits.h"
#include "runtime/checkpoint/checksum.h"

namespace dsc {
namespace {

using Json = nlohmann::json;
constexpr int kVersion = 1;
constexpr const char* kSlots[] = {"master", "moment1", "moment2"};

std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

// Thrown and caught in this file alone: what is wrong with the text.
struct Damaged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void expect(bool condition, const char* what) {
  if (!condition) throw Damaged(what);
}

std::int64_t integer(const Json& j) {
  expect(j.is_number_integer(), "a number is not an integer");
  expect(!j.is_number_unsigned() || j.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max(), "a number is too large");
  return j.get<std::int64_t>();
}

std::int64_t count(const Json& j) {
  std::int64_t n = integer(j);
  expect(n >= 0, "a count is negative");
  return n;
}

std::uint64_t unhex(const Json& j) {
  const std::string& text = j.get_ref<const std::string&>();
  expect(text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string::npos, "a checksum is malformed");
  return std::stoull(text, nullptr, 16);
}

// JSON has no number for what is not finite: null.
Json real(double value) { return std::isfinite(value) ? Json(value) : Json(); }
double real(const Json& j) {
  if (j.is_null()) return std::numeric_limits<double>::quiet_NaN();
  expect(j.is_number(), "a number is missing");
  return j.get<double>();
}
float real32(const Json& j) {
  double value = real(j);
  expect(!(std::abs(value) > std::numeric_limits<float>::max()), "a number is too large");
  return static_cast<float>(value);
}

Json to_json(const std::vector<NamedSize>& list) {
  Json j = Json::array();
  for (const auto& [name, size] : list) j.push_back({name, size});
  return j;
}

std::vector<NamedSize> named_sizes(const Json& j) {
  std::vector<NamedSize> list;
  for (const Json& entry : j.get_ref<const Json::array_t&>()) list.emplace_back(entry.at(0).get<std::string>(), count(entry.at(1)));
  return list;
}

Json to_json(const std::vector<DataFingerprint>& files) {
  Json j = Json::array();
  for (const DataFingerprint& f : files) j.push_back({{"path", f.path}, {"bytes", f.bytes}, {"sha256", f.sha256}});
  return j;
}

std::vector<DataFingerprint> fingerprints(const Json& j) {
  std::vector<DataFingerprint> files;
  for (const Json& f : j.get_ref<const Json::array_t&>())
    files.push_back({f.at("path").get<std::string>(), count(f.at("bytes")), f.at("sha256").get<std::string>()});
  return files;
}

Json to_json(const StateBlock& b) {
  return {{"attempts", b.attempts},
          {"applied", b.applied},
          {"clean", b.clean},
          {"hysteresis", b.hysteresis},
          {"loss", real(b.loss)},
          {"grad_norm", real(b.grad_norm)},
          {"learning_rate", real(b.learning_rate)},
          {"loss_scale", real(b.loss_scale)},
          {"factor", real(b.factor)},
          {"skip", b.skip},
          {"status", b.status},
          {"next_loss_scale", real(b.next_loss_scale)}};
}

std::int32_t integer32(const Json& j) {
  std::int64_t n = integer(j);
  expect(n >= 0 && n <= std::numeric_limits<std::int32_t>::max(), "a number is out of range");
  return static_cast<std::int32_t>(n);
}

StateBlock state_block(const Json& j) {
  StateBlock b;
  b.attempts = count(j.at("attempts"));
  b.applied = count(j.at("applied"));
  b.clean = count(j.at("clean"));
  b.hysteresis = count(j.at("hysteresis"));
  b.loss = real(j.at("loss"));
  b.grad_norm = real(j.at("grad_norm"));
  b.learning_rate = real(j.at("learning_rate"));
  b.loss_scale = real32(j.at("loss_scale"));
  b.factor = real32(j.at("factor"));
  b.skip = integer32(j.at("skip"));
  b.status = integer32(j.at("status"));
  b.next_loss_scale = real32(j.at("next_loss_scale"));
  expect(b.loss_scale > 0 && b.next_loss_scale > 0, "the loss scale is not positive");
  expect(b.applied <= b.attempts, "more updates than steps");
  return b;
}

ManifestPiece piece_from(const Json& j, const Manifest& m) {
  ManifestPiece piece;
  std::int64_t parameter = count(j.at(0)), slot = count(j.at(1));
  expect(parameter < static_cast<std::int64_t>(m.parameters.size()) && slot < 3, "a piece of an unknown parameter");
  piece.parameter = static_cast<std::size_t>(parameter);
  piece.slot = static_cast<StateSlot>(slot);
  piece.begin = count(j.at(2));
  piece.end = count(j.at(3));
  piece.offset = count(j.at(4));
  piece.checksum = unhex(j.at(5));
  expect(piece.begin < piece.end && piece.end <= m.parameters[piece.parameter].second &&
             piece.end - piece.begin <= kPieceElements,
         "a piece is out of range");
  expect(piece.offset % 4 == 0 && piece.offset <= m.data_bytes - (piece.end - piece.begin) * 4,
         "a piece lies outside the data file");
  return piece;
}

// Every slot that occurs holds every element of every parameter once; master must occur.
void check_tiling(const Manifest& m) {
  std::vector<const ManifestPiece*> order;
  for (const ManifestPiece& piece : m.pieces) order.push_back(&piece);
  std::sort(order.begin(), order.end(), [](const ManifestPiece* a, const ManifestPiece* b) {
    return std::tie(a->slot, a->parameter, a->begin) < std::tie(b->slot, b->parameter, b->begin);
  });
  std::size_t next = 0;
  for (StateSlot slot : {StateSlot::master, StateSlot::moment1, StateSlot::moment2}) {
    if (slot != StateSlot::master && !m.has(slot)) continue;
    for (std::size_t p = 0; p < m.parameters.size(); ++p) {
      std::int64_t covered = 0;
      for (; next < order.size() && order[next]->slot == slot && order[next]->parameter == p; ++next) {
        expect(order[next]->begin == covered, "pieces leave a gap or overlap");
        covered = order[next]->end;
      }
      expect(covered == m.parameters[p].second, "pieces are missing");
    }
  }
}

Manifest parse(Json j) {
  expect(j.is_object() && j.value("format", "") == "dsc checkpoint", "it is not a checkpoint's manifest");
  expect(integer(j.at("version")) == kVersion, "it has a version that this dsc does not read");
  std::uint64_t stated = unhex(j.at("checksum"));
  j.erase("checksum");
  std::string text = j.dump();
  expect(checksum(text.data(), text.size()) == stated, "its checksum does not match");
  Manifest m;
  m.step = count(j.at("step"));
  m.consumed = count(j.at("consumed"));
  m.model_hash = j.at("model_hash").get<std::string>();
  m.axes = named_sizes(j.at("axes"));
  m.parameters = named_sizes(j.at("parameters"));
  const Json& seed = j.at("seed");
  expect(seed.is_number_unsigned(), "the seed is not a number");
  m.seed = seed.get<std::uint64_t>();
  m.optimizer = j.at("optimizer").get<std::string>();
  const Json& data = j.at("data");
  m.sequence = count(data.at("sequence"));
  m.data_order = data.at("order").get<std::string>();
  m.train_files = fingerprints(data.at("train"));
  m.validation_files = fingerprints(data.at("validation"));
  m.precision = j.at("precision").get<std::string>();
  m.dynamic_scale = j.at("dynamic_scale").get<bool>();
  for (const Json& s : j.at("settings").get_ref<const Json::array_t&>())
    m.settings.emplace_back(s.at(0).get<std::string>(), s.at(1).get<std::string>());
  m.block = state_block(j.at("state"));
  expect(m.block.attempts == m.step, "its step and its state disagree");
  m.data_bytes = count(j.at("data_bytes"));
  for (const Json& piece : j.at("pieces").get_ref<const Json::array_t&>()) m.pieces.push_back(piece_from(piece, m));
  check_tiling(m);
  return m;
}

}  // namespace

bool Manifest::has(StateSlot slot) const {
  return std::any_of(pieces.begin(), pieces.end(), [&](const ManifestPiece& piece) { return piece.slot == slot; });
}

std::string to_json(const Manifest& m) {
  Json settings = Json::array(), pieces = Json::array();
  for (const auto& [key, value] : m.settings) settings.push_back({key, value});
  for (const ManifestPiece& p : m.pieces)
    pieces.push_back({p.parameter, static_cast<int>(p.slot), p.begin, p.end, p.offset, hex(p.checksum)});
  Json j = {{"format", "dsc checkpoint"},
            {"version", kVersion},
            {"step", m.step},
            {"consumed", m.consumed},
            {"model_hash", m.model_hash},
            {"axes", to_json(m.axes)},
            {"parameters", to_json(m.parameters)},
            {"seed", m.seed},
            {"optimizer", m.optimizer},
            {"data",
             {{"sequence", m.sequence},
              {"order", m.data_order},
              {"train", to_json(m.train_files)},
              {"validation", to_json(m.validation_files)}}},
            {"precision", m.precision},
            {"dynamic_scale", m.dynamic_scale},
            {"settings", settings},
            {"state", to_json(m.block)},
            {"slots", kSlots},
            {"data_bytes", m.data_bytes},
            {"pieces", pieces}};
  // A path that is not UTF-8 is written with replacement characters; it is for people alone.
  std::string text = j.dump(-1, ' ', false, Json::error_handler_t::replace);
  j = Json::parse(text);
  text = j.dump();
  j["checksum"] = hex(checksum(text.data(), text.size()));
  return j.dump() + "\n";
}

Result<Manifest> manifest_from_json(const std::string& text) {
  if (std::string problem = json_limits_problem(text); !problem.empty())
    return Error{str(Code::checkpoint_damaged), "its manifest " + problem, ""};
  try {
    Json j = Json::parse(text, nullptr, false);
    if (j.is_discarded()) return Error{str(Code::checkpoint_damaged), "its manifest is not JSON", ""};
    return parse(std::move(j));
  } catch (const Damaged& trouble) {
    return Error{str(Code::checkpoint_damaged), std::string("its manifest: ") + trouble.what(), ""};
  } catch (const Json::exception&) {
    return Error{str(Code::checkpoint_damaged), "its manifest lacks an entry", ""};
  }
}

}  // namespace dsc
