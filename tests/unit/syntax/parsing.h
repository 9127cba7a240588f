// Parsing for tests: a text in, the tree and the rendered diagnostics out.
#pragma once

#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "compiler/support/diagnostic.h"
#include "compiler/support/source.h"
#include "compiler/syntax/parse.h"

namespace dsc::syntax {

struct Parsed {
  SourceMap sources;
  Diagnostics diagnostics;
  std::optional<File> file;
  std::string errors() const { return render(diagnostics, sources); }
};

inline Parsed parse_text(const std::string& text, const std::string& name = "model.dsm") {
  Parsed parsed;
  const std::uint32_t id = parsed.sources.add({name, text});
  parsed.file = parse(id, parsed.sources, parsed.diagnostics);
  return parsed;
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace dsc::syntax
