#include "compiler/driver/command_line.h"

#include <llvm/Support/CommandLine.h>
#include <llvm/Support/raw_ostream.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "compiler/support/diagnostic.h"

namespace dsc {
namespace {

namespace cl = llvm::cl;

struct OptionInfo {
  const char* name;
  const char* value;  // what help shows for the value; nullptr for a flag
  const char* meaning;
  std::set<std::string> verbs;
};

const std::vector<OptionInfo>& all_options() {
  static const std::vector<OptionInfo> options = {
      {"gpus", "N", "ranks to run or plan for; without a GPU, N CPU ranks", {"train", "check", "plan", "explain"}},
      {"layout", "NAME", "the layout to use; by default the first one that --gpus satisfies", {"train", "check", "plan", "explain"}},
      {"device", "auto|cpu|cuda", "where to run; auto takes CUDA where there is one", {"train"}},
      {"set", "KEY=VALUE", "replace one value of the file, as in --set train.steps=100; may be repeated", {"train", "check", "plan", "explain"}},
      {"steps", "N", "stop after N steps; 0 writes the initial checkpoint and stops", {"train"}},
      {"out", "DIR", "where metrics and checkpoints go; by default the file's `checkpoint ... to`, else run/<file stem>", {"train", "run"}},
      {"resume", nullptr, "go on from the newest checkpoint in the output directory", {"train", "run"}},
      {"profile", nullptr, "print where the time went, by engine and instruction kind", {"train", "run"}},
      {"threads", "N", "worker threads; by default one per core this process may use", {"train", "run"}},
      {"prompt", "TEXT", "the text to continue", {"sample"}},
      {"tokens", "N", "tokens to print (default 200)", {"sample"}},
      {"temperature", "T", "0 takes the likeliest token; 1 samples from the model (default)", {"sample"}},
      {"seed", "S", "of the random choices (default 0)", {"sample"}},
      {"o", "PATH", "where the result is written", {"plan", "export"}},
      {"emit", "STAGE", "print what leaves a stage: ast, model, graph, partition, schedule, memory or plan", {"plan"}},
      {"target", "DEVICE", "plan for a named device (h100, h200, a100, cpu); not fitting it is then an error", {"plan", "explain", "check"}},
      {"all", nullptr, "every layout of the file that the number of ranks satisfies", {"explain"}},
      {"json", nullptr, "print JSON", {"explain"}},
  };
  return options;
}

Error bad_value(const std::string& option, const std::string& value, const std::string& wanted) {
  return {str(Code::bad_option_value), "--" + option + " " + value + ": " + wanted, "see `dsc help`"};
}

Result<std::int64_t> integer(const std::string& option, const std::string& text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    return bad_value(option, "`" + text + "`", "a whole number from " + std::to_string(least) + " to " + std::to_string(most) + " is needed");
  return value;
}

// A word that looks like an option but is not one of this verb, or one that lacks its value: said in this program's terms
// before LLVM sees it.
Status check_spelling(const std::string& verb, const std::vector<const char*>& arguments) {
  std::vector<std::string> names;
  for (const OptionInfo& option : all_options())
    if (option.verbs.count(verb)) names.push_back(option.name);
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    std::string word = arguments[i];
    if (word.size() < 2 || word[0] != '-') continue;
    std::string name = word.substr(word[1] == '-' ? 2 : 1);
    bool has_value = name.find('=') != std::string::npos;
    name = name.substr(0, name.find('='));
    const OptionInfo* found = nullptr;
    for (const OptionInfo& option : all_options())
      if (name == option.name) found = &option;
    if (found == nullptr) {
      std::string near = nearest(name, names);
      return Error{str(Code::bad_option), "dsc " + verb + " has no option `" + word.substr(0, word.find('=')) + "`",
                   near.empty() ? "`dsc help " + verb + "` lists its options" : "did you mean `--" + near + "`?"};
    }
    if (!found->verbs.count(verb))
      return Error{str(Code::bad_option), "dsc " + verb + " does not take `--" + name + "`", "it belongs to `dsc " + *found->verbs.begin() + "`"};
    if (found->value == nullptr || has_value) continue;
    if (++i == arguments.size())
      return Error{str(Code::bad_option_value), "`--" + name + "` needs a value", "--" + name + " " + found->value};
  }
  return {};
}

// Reads the options of one verb through LLVM; what it complains about is the error.
struct RawOptions {
  std::vector<std::string> positional;
  std::vector<std::pair<std::string, std::string>> values;  // in order
  std::set<std::string> flags;
};

Result<RawOptions> read_with_llvm(const std::string& verb, std::vector<const char*> arguments) {
  if (Status spelling = check_spelling(verb, arguments); !spelling) return spelling.error();
  RawOptions raw;
  std::vector<std::unique_ptr<cl::list<std::string>>> lists;
  std::vector<std::unique_ptr<cl::opt<bool>>> flags;
  cl::ResetCommandLineParser();
  cl::list<std::string> positional(cl::Positional, cl::ZeroOrMore);
  for (const OptionInfo& option : all_options()) {
    if (!option.verbs.count(verb)) continue;
    if (option.value) lists.push_back(std::make_unique<cl::list<std::string>>(llvm::StringRef(option.name), cl::ZeroOrMore));
    else flags.push_back(std::make_unique<cl::opt<bool>>(llvm::StringRef(option.name)));
  }
  std::string complaint;
  llvm::raw_string_ostream stream(complaint);
  bool fine = cl::ParseCommandLineOptions(static_cast<int>(arguments.size()), arguments.data(), "", &stream);
  stream.flush();
  if (!fine) {
    std::string line = complaint.substr(0, complaint.find('\n'));
    return Error{str(Code::bad_option), "dsc " + verb + ": " + line, "see `dsc help " + verb + "`"};
  }
  raw.positional.assign(positional.begin(), positional.end());
  for (auto& list : lists)
    for (const std::string& value : *list) raw.values.push_back({list->ArgStr.str(), value});
  for (auto& flag : flags)
    if (*flag) raw.flags.insert(flag->ArgStr.str());
  return raw;
}

Status take_value(CommandLine& line, const std::string& option, const std::string& value) {
  auto take = [&](std::optional<std::int64_t>& place, std::int64_t least, std::int64_t most) -> Status {
    Result<std::int64_t> number = integer(option, value, least, most);
    if (!number) return number.error();
    place = *number;
    return {};
  };
  constexpr std::int64_t huge = std::numeric_limits<std::int32_t>::max();
  if (option == "gpus") return take(line.gpus, 1, 65536);
  if (option == "steps") return take(line.steps, 0, std::int64_t{1} << 40);
  if (option == "threads") return take(line.threads, 1, 1024);
  if (option == "tokens") return take(line.tokens, 1, huge);
  if (option == "seed") {
    Result<std::int64_t> number = integer(option, value, 0, std::numeric_limits<std::int64_t>::max());
    if (!number) return number.error();
    line.seed = static_cast<std::uint64_t>(*number);
    return {};
  }
  if (option == "temperature") {
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), line.temperature);
    if (error != std::errc() || end != value.data() + value.size() || !std::isfinite(line.temperature) || line.temperature < 0)
      return bad_value(option, "`" + value + "`", "a number of at least 0 is needed");
    return {};
  }
  if (option == "device") {
    if (value != "auto" && value != "cpu" && value != "cuda") return bad_value(option, "`" + value + "`", "auto, cpu or cuda is needed");
    line.device = value;
    return {};
  }
  if (option == "emit") {
    std::vector<std::string> stages = {"ast", "model", "graph", "partition", "schedule", "memory", "plan"};
    if (std::find(stages.begin(), stages.end(), value) == stages.end())
      return bad_value(option, "`" + value + "`", "a stage is needed: ast, model, graph, partition, schedule, memory or plan");
    line.emit = value;
    return {};
  }
  if (option == "set") {
    std::size_t equals = value.find('=');
    if (equals == std::string::npos || equals == 0)
      return bad_value(option, "`" + value + "`", "KEY=VALUE is needed, as in train.steps=100");
    line.sets.push_back({value.substr(0, equals), value.substr(equals + 1)});
    return {};
  }
  if (option == "layout") line.layout = value;
  if (option == "out" || option == "o") line.out = value;
  if (option == "prompt") line.prompt = value;
  if (option == "target") line.target = value;
  return {};
}

}  // namespace

const std::vector<VerbInfo>& all_verbs() {
  static const std::vector<VerbInfo> verbs = {
      {"train", "FILE [options]", "compile FILE, prove the plan, and train", 1, 1},
      {"sample", "DIR [options]", "print text from the newest checkpoint in DIR", 1, 1},
      {"check", "FILE [options]", "report every mistake in FILE", 1, 1},
      {"fmt", "FILE", "print FILE in the standard form", 1, 1},
      {"explain", "FILE [options]", "memory to the byte, collectives and choices, without running", 1, 1},
      {"plan", "FILE [options]", "write the plan, or print what leaves a stage", 1, 1},
      {"verify", "PLAN", "prove a plan file: data, races, communication, meaning", 1, 1},
      {"run", "PLAN [options]", "run a plan file", 1, 1},
      {"export", "DIR -o HF_DIR", "write the newest checkpoint in DIR as a Hugging Face folder", 1, 1},
      {"help", "[VERB|CODE]", "explain a verb or a diagnostic code", 0, 1},
  };
  return verbs;
}

std::string verb_help(const VerbInfo& verb) {
  std::string text = std::string("usage: dsc ") + verb.name + " " + verb.usage + "\n\n" + verb.summary + "\n";
  std::string options;
  for (const OptionInfo& option : all_options()) {
    if (!option.verbs.count(verb.name)) continue;
    std::string head = std::string(std::string(option.name).size() == 1 ? "  -" : "  --") + option.name;
    if (option.value) head += std::string(" ") + option.value;
    if (head.size() < 26) head += std::string(26 - head.size(), ' ');
    options += head + " " + option.meaning + "\n";
  }
  return options.empty() ? text : text + "\noptions\n" + options;
}

Result<CommandLine> parse_command_line(int argc, char** argv) {
  CommandLine line;
  line.verb = argv[1];
  std::vector<std::string> names;
  const VerbInfo* verb = nullptr;
  for (const VerbInfo& entry : all_verbs()) {
    names.push_back(entry.name);
    if (line.verb == entry.name) verb = &entry;
  }
  if (verb == nullptr) {
    std::string near = nearest(line.verb, names);
    return Error{str(Code::unknown_verb), "dsc has no verb `" + line.verb + "`",
                 near.empty() ? "`dsc help` lists the verbs" : "did you mean `dsc " + near + "`?"};
  }
  std::vector<const char*> rest = {"dsc"};
  for (int i = 2; i < argc; ++i) rest.push_back(argv[i]);
  Result<RawOptions> raw = read_with_llvm(line.verb, rest);
  if (!raw) return raw.error();
  line.arguments = raw->positional;
  line.resume = raw->flags.count("resume");
  line.profile = raw->flags.count("profile");
  line.all = raw->flags.count("all");
  line.json = raw->flags.count("json");
  for (const auto& [option, value] : raw->values)
    if (Status status = take_value(line, option, value); !status) return status.error();
  int count = static_cast<int>(line.arguments.size());
  if (count < verb->least_arguments || count > verb->most_arguments)
    return Error{str(Code::wrong_arguments), "dsc " + line.verb + " takes " + std::to_string(verb->most_arguments) + " argument" +
                     (verb->most_arguments == 1 ? "" : "s") + ", not " + std::to_string(count),
                 std::string("dsc ") + verb->name + " " + verb->usage};
  if (line.verb == "export" && line.out.empty())
    return Error{str(Code::wrong_arguments), "dsc export needs a folder to write", "dsc export DIR -o HF_DIR"};
  return line;
}

}  // namespace dsc
