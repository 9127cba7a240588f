#include "compiler/sema/arguments.h"

#include "compiler/sema/text.h"

namespace dsc::sema {

std::optional<std::vector<const syntax::Expr*>> match_arguments(const syntax::Expr& call, const std::vector<ArgumentSpec>& specs,
                                                                const std::string& callee, Diagnostics& diagnostics) {
  std::vector<const syntax::Expr*> given(specs.size(), nullptr);
  std::vector<std::string> names;
  for (const ArgumentSpec& spec : specs) names.push_back(spec.name);
  bool ok = true;
  for (std::size_t i = 0; i < call.args.size(); ++i) {
    const syntax::Argument& argument = call.args[i];
    std::size_t at = i;
    if (argument.name) {
      for (at = 0; at < specs.size() && specs[at].name != argument.name->text; ++at) {}
      if (at == specs.size()) {
        fail(diagnostics, Code::unknown_argument, argument.name->range,
             ticked(callee) + " has no argument " + ticked(argument.name->text), "",
             specs.empty() ? "it takes none" : suggestion(argument.name->text, names));
        ok = false;
        continue;
      }
    } else if (at >= specs.size()) {
      fail(diagnostics, Code::too_many_arguments, argument.range,
           ticked(callee) + " takes " + counted(static_cast<std::int64_t>(specs.size()), "argument") + ", and this is number " +
               std::to_string(i + 1),
           "", specs.empty() ? "" : "it takes " + listed(ticked_all(names), "and"));
      ok = false;
      break;
    }
    if (given[at]) {
      fail(diagnostics, Code::too_many_arguments, argument.range, ticked(names[at]) + " is given twice",
           "already given by position", "", {{"given here", given[at]->range}});
      ok = false;
    }
    given[at] = &argument.value;
  }
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < specs.size(); ++i)
    if (specs[i].required && !given[i]) missing.push_back(specs[i].name);
  if (!missing.empty() && ok) {
    fail(diagnostics, Code::missing_argument, call.range,
         ticked(callee) + " needs " + listed(ticked_all(missing), "and") + " as well", "",
         "add " + listed(ticked_all([&] {
           std::vector<std::string> texts;
           for (const std::string& name : missing) texts.push_back(name + ": ...");
           return texts;
         }()), "and"));
    ok = false;
  }
  if (!ok) return std::nullopt;
  return given;
}

}  // namespace dsc::sema
