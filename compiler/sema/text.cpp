#include "compiler/sema/text.h"

#include <algorithm>
#include <charconv>

namespace dsc::sema {

void fail(Diagnostics& diagnostics, Code code, SourceRange range, std::string message, std::string label, std::string help,
          std::vector<Note> notes) {
  diagnostics.add({code, Severity::error, std::move(message), range, std::move(label), std::move(notes), std::move(help)});
}

std::string ticked(std::string_view name) { return "`" + std::string(name) + "`"; }

std::string listed(const std::vector<std::string>& items, const char* last) {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) text += i + 1 == items.size() ? std::string(" ") + last + " " : std::string(", ");
    text += items[i];
  }
  return text;
}

std::vector<std::string> ticked_all(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (const std::string& name : names) out.push_back(ticked(name));
  return out;
}

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  std::string near = nearest(word, candidates);
  if (!near.empty()) return "did you mean " + ticked(near) + "?";
  if (candidates.empty() || candidates.size() > 12) return "";
  return "it may be " + listed(ticked_all(candidates));
}

std::string counted(std::int64_t n, const char* noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

std::string real_text(double value) {
  char buffer[64];
  auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  std::string text(buffer, result.ptr);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string bare_name(const std::string& path) {
  std::size_t dot = path.rfind('.');
  return dot == std::string::npos ? path : path.substr(dot + 1);
}

std::string name_of_axis(const Model& model, AxisId axis) { return bare_name(model.axis(axis).path); }

std::string type_text(const Model& model, const std::vector<AxisId>& axes) {
  std::string text = "[";
  for (std::size_t i = 0; i < axes.size(); ++i) {
    std::string name = name_of_axis(model, axes[i]);
    bool repeated = std::count_if(axes.begin(), axes.end(), [&](AxisId a) { return name_of_axis(model, a) == name; }) > 1;
    text += (i == 0 ? "" : ", ") + (repeated ? model.axis(axes[i]).path : name);
  }
  return text + "]";
}

}  // namespace dsc::sema
