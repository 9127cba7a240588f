// Small pieces of the checker's messages: names in quotes, lists, suggestions, types. And `fail`, which adds an error.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compiler/support/diagnostic.h"
#include "compiler/support/model.h"

namespace dsc::sema {

void fail(Diagnostics& diagnostics, Code code, SourceRange range, std::string message, std::string label = {},
          std::string help = {}, std::vector<Note> notes = {});

// `x`
std::string ticked(std::string_view name);
// "1, 2 or 4"; "a and b" with last = "and".
std::string listed(const std::vector<std::string>& items, const char* last = "or");
std::vector<std::string> ticked_all(const std::vector<std::string>& names);
// "did you mean `x`?", or else "it may be `a`, `b` or `c`" where there are few, or "".
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates);
// "1 element", "2 elements".
std::string counted(std::int64_t n, const char* noun);
// The shortest text that reads back as the same number; with a point or an exponent.
std::string real_text(double value);
// "heads" of "block.attn.heads".
std::string bare_name(const std::string& path);
// The name of an axis in a message: bare.
std::string name_of_axis(const Model& model, AxisId axis);
// "[batch, seq, width]"; paths in full where two axes have the same bare name.
std::string type_text(const Model& model, const std::vector<AxisId>& axes);

}  // namespace dsc::sema
