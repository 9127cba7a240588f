#include "compiler/plan/plan_json.h"

#include <fcntl.h>
#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Support/SHA256.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "compiler/plan/plan_fields.h"
#include "compiler/plan/plan_limits.h"
#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/json_limits.h"

namespace dsc {
namespace {

using Json = nlohmann::json;
using plan_fields::fields;
using plan_fields::Names;

constexpr std::int64_t kMaxFileBytes = std::int64_t(1) << 30;

Error error(Code code, std::string message, std::string help) { return {str(code), std::move(message), std::move(help)}; }
const char* kPlanAgain = "make the plan again: dsc plan FILE -o PLAN";

// The length of the valid UTF-8 sequence at `s`, or 0. Sequences of the block U+10FF00..U+10FFFF are taken for invalid
// ones: there the writer puts bytes that are not UTF-8.
std::size_t utf8_length(std::string_view s) {
  auto at = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  auto tail = [&](std::size_t i) { return i < s.size() && (at(i) & 0xC0) == 0x80; };
  unsigned char c = at(0);
  if (c < 0x80) return 1;
  if (c >= 0xC2 && c < 0xE0) return tail(1) ? 2 : 0;
  if (c >= 0xE0 && c < 0xF0) {
    if (!tail(1) || !tail(2) || (c == 0xE0 && at(1) < 0xA0) || (c == 0xED && at(1) >= 0xA0)) return 0;
    return 3;
  }
  if (c >= 0xF0 && c < 0xF5) {
    if (!tail(1) || !tail(2) || !tail(3) || (c == 0xF0 && at(1) < 0x90) || (c == 0xF4 && at(1) >= 0x90)) return 0;
    if (c == 0xF4 && at(1) == 0x8F && at(2) >= 0xBC) return 0;
    return 4;
  }
  return 0;
}

// ---- Writing -------------------------------------------------------------------------------------------------------------

struct Writer {
  static constexpr bool kConst = true;
  std::string out;

  void text(std::string_view s) {
    out += '"';
    while (!s.empty()) {
      std::size_t n = utf8_length(s);
      unsigned char c = static_cast<unsigned char>(s[0]);
      if (n == 0) {  // U+10FF00 + c
        out += "\xF4\x8F";
        out += static_cast<char>(0xBC | (c >> 6));
        out += static_cast<char>(0x80 | (c & 0x3F));
        n = 1;
      } else if (n > 1) {
        out.append(s.substr(0, n));
      } else if (c == '"' || c == '\\') {
        out += '\\';
        out += s[0];
      } else if (c < 0x20) {
        char escape[8];
        std::snprintf(escape, sizeof escape, "\\u%04x", c);
        out += escape;
      } else {
        out += s[0];
      }
      s.remove_prefix(n);
    }
    out += '"';
  }
  void number(double d) {
    DSC_CHECK(std::isfinite(d), "a plan holds a number that is not finite");
    char buffer[40];
    auto end = std::to_chars(buffer, buffer + sizeof buffer, d).ptr;
    std::string_view written(buffer, end - buffer);
    out += written;
    if (written.find_first_of(".e") == std::string_view::npos) out += ".0";
  }

  void value(const std::string& s) { text(s); }
  void value(bool b) { out += b ? "true" : "false"; }
  void value(double d) { number(d); }
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
  void value(T n) {
    char buffer[24];
    out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, n).ptr);
  }
  template <class T>
    requires std::is_enum_v<T>
  void value(T e) { text(Names<T>::list[static_cast<std::size_t>(e)]); }
  template <class T>
    requires std::derived_from<T, Id<T>>
  void value(const T& id) { value(id.index()); }
  template <class Tag>
  void value(const Quantity<Tag>& q) { value(q.value); }
  void value(const SourceRange& r) {
    out += '[';
    value(r.file);
    out += ',';
    value(r.begin);
    out += ',';
    value(r.end);
    out += ']';
  }
  void value(const std::pair<std::string, std::string>& p) {
    out += '[';
    text(p.first);
    out += ',';
    text(p.second);
    out += ']';
  }
  template <class T>
  void value(const std::vector<T>& list) {
    out += '[';
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (i) out += ',';
      if constexpr (std::is_same_v<T, bool>) value(static_cast<bool>(list[i])); else value(list[i]);
    }
    out += ']';
  }
  template <class T>
  void value(const std::optional<T>& o) {
    if (o) value(*o); else out += "null";
  }
  void value(const KernelSpec& spec) {
    out += "{\"";
    out += name_of(spec);
    out += "\":";
    std::visit([&](const auto& s) { value(s); }, spec);
    out += '}';
  }
  void value(const std::variant<KernelSpec, CollectiveSpec>& op) {
    if (const auto* kernel = std::get_if<KernelSpec>(&op)) return value(*kernel);
    out += "{\"collective\":";
    value(std::get<CollectiveSpec>(op));
    out += '}';
  }
  template <class T>
    requires(std::is_class_v<T> && !std::derived_from<T, Id<T>>)
  void value(const T& s) {
    out += '{';
    fields(*this, s);
    if (out.back() == ',') out.back() = '}'; else out += '}';
  }
  template <class T>
  void operator()(const char* name, const T& field) {
    out += '"';
    out += name;
    out += "\":";
    value(field);
    out += ',';
  }
};

// ---- Reading -------------------------------------------------------------------------------------------------------------

struct Refused { Error error; };

struct FieldNames {
  static constexpr bool kConst = true;
  std::set<std::string> names;
  template <class F>
  void operator()(const char* name, const F&) { names.insert(name); }
};

template <class T>
T blank() {
  if constexpr (std::derived_from<T, Id<T>>) return T(0);
  else if constexpr (std::is_same_v<T, ExportPiece>) return ExportPiece{ParameterId(0), {}, {}, -1, 0};
  else return T{};
}

struct Reader {
  static constexpr bool kConst = false;
  struct Place { const char* name; std::size_t index; };  // a field, or an element of a list
  std::vector<Place> path;
  const Json* object = nullptr;
  std::size_t seen = 0;

  std::string where() const {
    std::string s;
    for (const Place& p : path) append_place(s, p.name, p.index);
    return s.empty() ? "the plan" : s;
  }
  [[noreturn]] void refuse(Code code, const std::string& what) const {
    throw Refused{error(code, "the plan is not valid: " + where() + " " + what, kPlanAgain)};
  }
  void need(bool ok, const char* kind) const {
    if (!ok) refuse(Code::plan_field, std::string("is not ") + kind);
  }

  void value(const Json& j, std::string& s) {
    need(j.is_string(), "a string");
    const auto& text = j.get_ref<const std::string&>();
    s.clear();
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text.size() - i >= 4 && text[i] == '\xF4' && text[i + 1] == '\x8F' && static_cast<unsigned char>(text[i + 2]) >= 0xBC) {
        s += static_cast<char>(((text[i + 2] & 0x03) << 6) | (text[i + 3] & 0x3F));
        i += 3;
      } else {
        s += text[i];
      }
    }
  }
  void value(const Json& j, bool& b) { need(j.is_boolean(), "true or false"); b = j.get<bool>(); }
  void value(const Json& j, double& d) { need(j.is_number(), "a number"); d = j.get<double>(); }
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
  void value(const Json& j, T& n) {
    need(j.is_number_integer(), "a whole number");
    if (j.is_number_unsigned()) {
      auto u = j.get<std::uint64_t>();
      if (!std::in_range<T>(u)) refuse(Code::plan_value, "is out of range: " + std::to_string(u));
      n = static_cast<T>(u);
    } else {
      auto i = j.get<std::int64_t>();
      if (!std::in_range<T>(i)) refuse(Code::plan_value, "is out of range: " + std::to_string(i));
      n = static_cast<T>(i);
    }
  }
  template <class T>
    requires std::is_enum_v<T>
  void value(const Json& j, T& e) {
    need(j.is_string(), "a name");
    const auto& text = j.get_ref<const std::string&>();
    for (std::size_t i = 0; i < std::size(Names<T>::list); ++i)
      if (text == Names<T>::list[i]) { e = static_cast<T>(i); return; }
    refuse(Code::plan_value, "has the unknown name `" + text.substr(0, 40) + "`");
  }
  template <class T>
    requires std::derived_from<T, Id<T>>
  void value(const Json& j, T& id) {
    std::uint32_t index = 0;
    value(j, index);
    id = T(index);
  }
  template <class Tag>
  void value(const Json& j, Quantity<Tag>& q) { value(j, q.value); }
  void value(const Json& j, SourceRange& r) {
    need(j.is_array() && j.size() == 3, "a source range of three numbers");
    value(j[0], r.file);
    value(j[1], r.begin);
    value(j[2], r.end);
  }
  void value(const Json& j, std::pair<std::string, std::string>& p) {
    need(j.is_array() && j.size() == 2, "a pair of strings");
    value(j[0], p.first);
    value(j[1], p.second);
  }
  template <class T>
  void value(const Json& j, std::vector<T>& list) {
    need(j.is_array(), "a list");
    list.clear();
    list.reserve(j.size());
    for (std::size_t i = 0; i < j.size(); ++i) {
      path.push_back({nullptr, i});
      if constexpr (std::is_same_v<T, bool>) {
        bool b = false;
        value(j[i], b);
        list.push_back(b);
      } else {
        list.push_back(blank<T>());
        value(j[i], list.back());
      }
      path.pop_back();
    }
  }
  template <class T>
  void value(const Json& j, std::optional<T>& o) {
    if (j.is_null()) { o.reset(); return; }
    o = blank<T>();
    value(j, *o);
  }
  template <std::size_t I = 0>
  void kernel(const std::string& name, const Json& j, KernelSpec& spec) {
    if constexpr (I == std::variant_size_v<KernelSpec>) {
      refuse(Code::plan_value, "has the unknown kernel `" + name.substr(0, 40) + "`");
    } else {
      KernelSpec candidate(std::in_place_index<I>);
      if (name != name_of(candidate)) return kernel<I + 1>(name, j, spec);
      value(j, std::get<I>(candidate));
      spec = std::move(candidate);
    }
  }
  void value(const Json& j, std::variant<KernelSpec, CollectiveSpec>& op) {
    need(j.is_object() && j.size() == 1, "one kernel or collective");
    const std::string& name = j.begin().key();
    if (name == "collective") {
      CollectiveSpec collective;
      value(*j.begin(), collective);
      op = std::move(collective);
    } else {
      KernelSpec spec;
      kernel(name, *j.begin(), spec);
      op = std::move(spec);
    }
  }
  template <class T>
    requires(std::is_class_v<T> && !std::derived_from<T, Id<T>>)
  void value(const Json& j, T& s) {
    need(j.is_object(), "an object");
    const Json* outer = object;
    std::size_t outer_seen = seen;
    object = &j;
    seen = 0;
    fields(*this, s);
    if (seen != j.size()) {
      FieldNames known;
      fields(known, s);
      for (auto it = j.begin(); it != j.end(); ++it)
        if (!known.names.count(it.key())) refuse(Code::plan_field, "has the unknown field `" + it.key().substr(0, 40) + "`");
    }
    object = outer;
    seen = outer_seen;
  }
  template <class T>
  void operator()(const char* name, T& field) {
    path.push_back({name, 0});
    auto it = object->find(name);
    if (it == object->end()) refuse(Code::plan_field, "is missing");
    ++seen;
    value(*it, field);
    path.pop_back();
  }
};

// Of the canonical JSON with an empty hash.
std::string content_hash(const Plan& plan) {
  std::string text = to_json(plan);
  const std::string field = "\"hash\":\"";  // the second field, after the version
  std::size_t at = text.find(field) + field.size();
  text.erase(at, text.find("\",\"compiler_version\"", at) - at);
  llvm::SHA256 sha;
  sha.update(llvm::ArrayRef<std::uint8_t>(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
  llvm::StringRef digest = sha.final();
  std::string hex;
  for (char c : digest) {
    static constexpr char digits[] = "0123456789abcdef";
    hex += digits[static_cast<unsigned char>(c) >> 4];
    hex += digits[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

Error cannot(const char* verb, const std::string& path, int number) {
  bool reading = std::strcmp(verb, "read") == 0;
  return error(reading ? Code::plan_unreadable : Code::plan_unwritable, std::string("cannot ") + verb + " the plan " + path + ": " + std::strerror(number),
               reading ? "name a plan that `dsc plan FILE -o PLAN` wrote" : "name a file in a directory that exists and is writable");
}

}  // namespace

std::string to_json(const Plan& plan) {
  Writer writer;
  writer.value(plan);
  writer.out += '\n';
  return std::move(writer.out);
}

Result<Plan> from_json(std::string_view text) {
  Result<Plan> plan = from_json_unsealed(text);
  if (plan && plan->hash != content_hash(*plan))
    return error(Code::plan_hash, "the plan was changed after it was made: its hash is not that of its content", kPlanAgain);
  return plan;
}

Result<Plan> from_json_unsealed(std::string_view text) {
  if (static_cast<std::int64_t>(text.size()) > kMaxFileBytes) return error(Code::plan_unreadable, "the plan has more than 1 GiB", kPlanAgain);
  if (std::string problem = json_limits_problem(text); !problem.empty())
    return error(Code::plan_not_json, "the plan is not valid: its JSON " + problem, kPlanAgain);
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 7: ...; last read: '...'", which may be the whole file.
    std::string what = e.what();
    if (std::size_t begin = what.find("] "); begin != std::string::npos) what.erase(0, begin + 2);
    what.resize(std::min(what.size(), what.find("; last read:")));
    return error(Code::plan_not_json, "the plan is not JSON: " + what, kPlanAgain);
  }
  try {
    auto version = json.is_object() ? json.find("version") : json.end();
    if (!json.is_object() || version == json.end() || !version->is_number_integer())
      return error(Code::plan_version, "the file is not a plan: it has no version", kPlanAgain);
    if (*version != kPlanVersion)
      return error(Code::plan_version, "the plan has version " + version->dump() + ", this dsc reads version " + std::to_string(kPlanVersion), kPlanAgain);
    Plan plan;
    Reader reader;
    reader.value(json, plan);
    if (std::string problem = limits_problem(plan); !problem.empty())
      return error(Code::plan_value, "the plan is not valid: " + problem, kPlanAgain);
    return plan;
  } catch (const Refused& refused) {
    return refused.error;
  }
}

void seal(Plan& plan) { plan.hash = content_hash(plan); }

Result<Plan> load_plan(const std::string& path) {
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return cannot("read", path, errno);
  struct stat status{};
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > kMaxFileBytes) {
    ::close(file);
    return error(Code::plan_unreadable, "cannot read the plan " + path + ": it is not a regular file of at most 1 GiB",
                 "name a plan that `dsc plan FILE -o PLAN` wrote");
  }
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    ssize_t n = ::read(file, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      int number = errno;
      ::close(file);
      return cannot("read", path, number);
    }
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  ::close(file);
  text.resize(done);
  Result<Plan> plan = from_json(text);
  if (plan) return plan;
  Error e = plan.error();
  e.message = path + ": " + e.message;
  return e;
}

Status save_plan(const Plan& plan, const std::string& path) {
  std::string text = to_json(plan), partial = path + ".partial";
  int file = -1;
  do file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  while (file < 0 && errno == EINTR);
  if (file < 0) return cannot("write", path, errno);
  int number = 0;
  for (std::size_t done = 0; done < text.size() && number == 0;) {
    ssize_t n = ::write(file, text.data() + done, text.size() - done);
    if (n <= 0 && !(n < 0 && errno == EINTR)) number = n < 0 ? errno : ENOSPC;
    if (n > 0) done += static_cast<std::size_t>(n);
  }
  while (number == 0 && ::fsync(file) != 0)
    if (errno != EINTR) number = errno;
  ::close(file);
  if (number == 0 && ::rename(partial.c_str(), path.c_str()) != 0) number = errno;
  if (number == 0) return {};
  ::unlink(partial.c_str());
  return cannot("write", path, number);
}

}  // namespace dsc
