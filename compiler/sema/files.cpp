#include "compiler/sema/files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "compiler/sema/operations.h"
#include "compiler/sema/text.h"
#include "compiler/syntax/parse.h"
#include "compiler/syntax/stdlib.h"

namespace dsc::sema {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> read(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return std::nullopt;
  // One byte more than a file may have: the parser says that it is too long.
  std::string text(syntax::kMaxFileBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return text;
}

// What identifies a file however it is written.
std::string key_of(const std::string& path) {
  std::error_code error;
  fs::path full = fs::weakly_canonical(path, error);
  return error ? path : full.string();
}

class Loader {
 public:
  Loader(SourceMap& sources, Diagnostics& diagnostics, Files& files) : sources_(sources), diagnostics_(diagnostics), files_(files) {}

  bool run(std::uint32_t main_file, const std::string& folder) {
    const std::string name = sources_.files()[main_file].name;
    known_[key_of(name)] = 0;
    add(main_file, folder);
    for (std::size_t i = 0; i < files_.files.size(); ++i)
      for (const syntax::Use& use : files_.files[i].tree.uses) follow(i, use);
    return ok_;
  }

 private:
  std::size_t add(std::uint32_t source, const std::string& folder) {
    LoadedFile& file = files_.files.emplace_back();
    file.folder = folder;
    if (std::optional<syntax::File> tree = syntax::parse(source, sources_, diagnostics_)) file.tree = std::move(*tree);
    else ok_ = false;
    return files_.files.size() - 1;
  }

  void follow(std::size_t from, const syntax::Use& use) {
    std::optional<std::size_t> file = use.library.empty() ? by_path(from, use) : by_library(use);
    if (file) files_.files[from].uses.push_back({*file, use.alias ? use.alias->text : ""});
    else ok_ = false;
  }

  std::optional<std::size_t> by_library(const syntax::Use& use) {
    std::vector<std::string> names;
    for (std::string_view name : syntax::stdlib_names()) names.push_back("std." + std::string(name));
    const std::string name = use.library.starts_with("std.") ? use.library.substr(4) : "";
    std::optional<std::string_view> text = name.empty() ? std::nullopt : syntax::stdlib_text(name);
    if (!text) {
      fail(diagnostics_, Code::used_file_missing, use.target, "the standard library has no " + ticked(use.library), "",
           suggestion(use.library, names));
      return std::nullopt;
    }
    if (auto old = known_.find(use.library); old != known_.end()) return old->second;
    const std::uint32_t source = sources_.add({"std/" + name + ".dsm", std::string(*text)});
    return known_[use.library] = add(source, "");
  }

  std::optional<std::size_t> by_path(std::size_t from, const syntax::Use& use) {
    const std::string& folder = files_.files[from].folder;
    const std::string path = use.path.starts_with("/") || folder.empty() ? use.path : (fs::path(folder) / use.path).string();
    if (auto old = known_.find(key_of(path)); old != known_.end()) return old->second;
    std::optional<std::string> text = read(path);
    if (!text) {
      fail(diagnostics_, Code::used_file_missing, use.target, "the file " + ticked(use.path) + " cannot be read", "",
           "the path is relative to the folder of this file");
      return std::nullopt;
    }
    const std::uint32_t source = sources_.add({path, std::move(*text)});
    return known_[key_of(path)] = add(source, fs::path(path).parent_path().string());
  }

  SourceMap& sources_;
  Diagnostics& diagnostics_;
  Files& files_;
  std::map<std::string, std::size_t> known_;
  bool ok_ = true;
};

void declare(const syntax::Name& name, std::map<std::string_view, SourceRange>& taken, Diagnostics& diagnostics) {
  if (operation_named(name.text)) {
    fail(diagnostics, Code::name_taken, name.range, ticked(name.text) + " is a core operation", "", "choose another name");
    return;
  }
  auto [old, fresh] = taken.try_emplace(name.text, name.range);
  if (!fresh)
    fail(diagnostics, Code::name_taken, name.range, ticked(name.text) + " is declared twice in this file", "",
         "modules and functions share one set of names", {{"first declared here", old->second}});
}

std::vector<std::string> visible_names(const Files& files, std::size_t from) {
  std::vector<std::string> names;
  const auto add = [&](const LoadedFile& file, const std::string& prefix) {
    for (const auto& [name, module] : file.modules) names.push_back(prefix + std::string(name));
    for (const auto& [name, function] : file.functions) names.push_back(prefix + std::string(name));
  };
  add(files.files[from], "");
  for (const UsedFile& use : files.files[from].uses) add(files.files[use.file], use.alias.empty() ? "" : use.alias + ".");
  return names;
}

}  // namespace

bool load_files(std::uint32_t main_file, const std::string& folder, SourceMap& sources, Diagnostics& diagnostics, Files& files) {
  return Loader(sources, diagnostics, files).run(main_file, folder);
}

void declare_names(Files& files, Diagnostics& diagnostics) {
  for (LoadedFile& file : files.files) {
    std::vector<const syntax::Name*> names;
    for (const syntax::Module& module : file.tree.modules) {
      names.push_back(&module.name);
      file.modules.try_emplace(module.name.text, &module);
    }
    for (const syntax::Function& function : file.tree.functions) {
      names.push_back(&function.name);
      file.functions.try_emplace(function.name.text, &function);
    }
    std::sort(names.begin(), names.end(), [](const syntax::Name* a, const syntax::Name* b) { return a->range.begin < b->range.begin; });
    std::map<std::string_view, SourceRange> taken;
    for (const syntax::Name* name : names) declare(*name, taken, diagnostics);
  }
}

bool callee_exists(const Files& files, std::size_t from, std::string_view name) {
  const auto has = [&](const LoadedFile& file) { return file.modules.contains(name) || file.functions.contains(name); };
  const LoadedFile& file = files.files[from];
  return has(file) || std::any_of(file.uses.begin(), file.uses.end(), [&](const UsedFile& use) { return use.alias.empty() && has(files.files[use.file]); });
}

std::optional<Callee> find_callee(const Files& files, std::size_t from, const syntax::Expr& call,
                                  const std::function<std::vector<std::string>()>& more, Diagnostics& diagnostics) {
  const std::string name = call.segments.empty() ? call.text : call.segments.back().name.text;
  const std::string alias = call.segments.size() == 2 ? call.segments[0].name.text : "";
  std::vector<Callee> found;
  const auto look = [&](std::size_t index) {
    const LoadedFile& file = files.files[index];
    for (const Callee& old : found)
      if (old.file == index) return;
    if (auto module = file.modules.find(name); module != file.modules.end()) found.push_back({module->second, nullptr, index});
    else if (auto function = file.functions.find(name); function != file.functions.end()) found.push_back({nullptr, function->second, index});
  };
  if (call.segments.size() <= 2) {
    if (alias.empty()) look(from);
    for (const UsedFile& use : files.files[from].uses)
      if (use.alias == alias) look(use.file);
  }
  if (found.empty()) {
    std::vector<std::string> names = visible_names(files, from);
    if (more)
      for (std::string& name : more()) names.push_back(std::move(name));
    fail(diagnostics, Code::unknown_callee, call.callee, "there is no operation, function, module or instance " + ticked(call.text), "",
         suggestion(call.text, names));
    return std::nullopt;
  }
  if (found.size() > 1) {
    std::vector<Note> notes;
    for (const Callee& callee : found) notes.push_back({"declared here", callee.module ? callee.module->name.range : callee.function->name.range});
    fail(diagnostics, Code::ambiguous_name, call.callee, ticked(call.text) + " is visible from " + std::to_string(found.size()) + " files", "",
         "give one file a name, as in `use std.nn as nn`, and write `nn." + name + "`", std::move(notes));
    return std::nullopt;
  }
  return found[0];
}

}  // namespace dsc::sema
