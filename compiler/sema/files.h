// A file with every file that it uses, parsed; and what a module's or function's name stands for in one of them.
// `use F` makes F's own modules and functions visible, `use F as m` only as `m.name`, and neither passes anything on.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/support/diagnostic.h"
#include "compiler/syntax/ast.h"

namespace dsc::sema {

struct UsedFile {
  std::size_t file;
  std::string alias;  // empty: visible without one
};

struct LoadedFile {
  syntax::File tree;
  std::string folder;  // `use "path"` in it is relative to this
  std::vector<UsedFile> uses;
  std::map<std::string_view, const syntax::Module*> modules;
  std::map<std::string_view, const syntax::Function*> functions;
};

struct Files {
  std::deque<LoadedFile> files;  // the main file first
};

// Parses the main file and all that it uses. False: a file is missing or has a syntax error.
bool load_files(std::uint32_t main_file, const std::string& folder, SourceMap& sources, Diagnostics& diagnostics, Files& files);
// Fills `modules` and `functions` of each file and reports names that are declared twice or reserved.
void declare_names(Files& files, Diagnostics& diagnostics);

struct Callee {
  const syntax::Module* module = nullptr;  // one of these two
  const syntax::Function* function = nullptr;
  std::size_t file = 0;
};

// Whether a module or function of this name is visible in file `from` without an alias.
bool callee_exists(const Files& files, std::size_t from, std::string_view name);
// What `call`, in file `from`, names; reports where it is nothing or ambiguous. `more` gives further names that could
// have been meant (operations, instances); it is asked only then.
std::optional<Callee> find_callee(const Files& files, std::size_t from, const syntax::Expr& call,
                                  const std::function<std::vector<std::string>()>& more, Diagnostics& diagnostics);

}  // namespace dsc::sema
