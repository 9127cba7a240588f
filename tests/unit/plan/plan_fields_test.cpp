// Every field of every struct that a plan holds is in plan_fields.h: the headers' own text says which there are.
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "compiler/plan/plan_fields.h"

namespace dsc::testing {
namespace {

struct Names {
  static constexpr bool kConst = true;
  std::set<std::string> list;
  template <class F>
  void operator()(const char* name, const F&) { list.insert(name); }
};

std::string without_comments(const std::string& path) {
  std::ifstream in(std::string(DSC_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(in) << path;
  std::string text, line;
  while (std::getline(in, line)) text += line.substr(0, line.find("//")) + "\n";
  return text;
}

// The declared data members of `struct name { ... };`.
std::set<std::string> declared(const std::string& text, const std::string& name) {
  std::size_t at = text.find("struct " + name + " {");
  EXPECT_NE(at, std::string::npos) << name;
  if (at == std::string::npos) return {};
  at = text.find('{', at) + 1;
  std::set<std::string> names;
  std::string declarator;  // of depth 0, without initialisers
  bool function = false, initialiser = false;
  int depth = 0, braces = 0;
  auto finish = [&] {
    std::smatch match;
    bool data = !function && declarator.find("friend ") == std::string::npos;
    if (data && std::regex_search(declarator, match, std::regex("([A-Za-z_][A-Za-z0-9_]*)\\s*$"))) names.insert(match[1]);
    declarator.clear();
    initialiser = false;
  };
  for (; at < text.size(); ++at) {
    char c = text[at];
    if (depth == 0 && c == '}') break;
    if (c == '(' && !initialiser && depth == 0) function = true;
    bool angle = (c == '<' || c == '>') && braces > 0;  // a shift or comparison in an initialiser
    braces += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (c == '{' || c == '(' || (c == '<' && !angle)) ++depth;
    if (c == '}' || c == ')' || (c == '>' && !angle)) {
      --depth;
      if (c == '}' && depth == 0 && function) {
        declarator.clear();
        function = false;
      }
      continue;
    }
    if (depth > 0) continue;
    if (c == '=' ) initialiser = true;
    if (c == ';' || c == ',') {
      finish();
      if (c == ';') function = false;
    } else if (!initialiser && c != '{') {
      declarator += c;
    }
  }
  return names;
}

template <class T>
void expect_complete(const std::string& path, const std::string& name, T value) {
  Names visited;
  plan_fields::fields(visited, static_cast<const T&>(value));
  EXPECT_EQ(visited.list, declared(without_comments(path), name)) << name << " in " << path;
}

TEST(PlanFields, AreAllFieldsOfTheHeaders) {
#define DSC_EXPECT(path, Type) expect_complete(path, #Type, Type{})
  DSC_EXPECT("compiler/support/model.h", Axis);
  DSC_EXPECT("compiler/support/model.h", Parameter);
  DSC_EXPECT("compiler/support/model.h", Op);
  DSC_EXPECT("compiler/support/model.h", Scope);
  DSC_EXPECT("compiler/support/model.h", Model);
  for (auto path : {"compiler/support/training.h"}) {
    DSC_EXPECT(path, DataSource);
    DSC_EXPECT(path, Share);
    DSC_EXPECT(path, DataSpec);
    DSC_EXPECT(path, LearningRate);
    DSC_EXPECT(path, Optimizer);
    DSC_EXPECT(path, LossScale);
    DSC_EXPECT(path, TrainSpec);
  }
  DSC_EXPECT("compiler/support/layout.h", MeshAxis);
  DSC_EXPECT("compiler/support/layout.h", AutoChoice);
  DSC_EXPECT("compiler/support/layout.h", LayoutSpec);
  expect_complete("compiler/support/export_map.h", "ExportPiece", ExportPiece{ParameterId(0), {}, {}, -1, 0});
  DSC_EXPECT("compiler/support/export_map.h", ExportTensor);
  DSC_EXPECT("compiler/support/export_map.h", ExportConfigEntry);
  DSC_EXPECT("compiler/support/export_map.h", ExportMap);
  DSC_EXPECT("compiler/support/performed.h", Performed);
  DSC_EXPECT("compiler/support/target.h", Target);
  DSC_EXPECT("compiler/plan/contract.h", Contract);
  for (auto path : {"compiler/support/kernel_spec.h"}) {
    DSC_EXPECT(path, MapInstruction);
    DSC_EXPECT(path, MapProgram);
    DSC_EXPECT(path, MapWindow);
    DSC_EXPECT(path, MapInput);
    DSC_EXPECT(path, MapOutput);
    DSC_EXPECT(path, MapSpec);
    DSC_EXPECT(path, ProductDim);
    DSC_EXPECT(path, ProductSpec);
    DSC_EXPECT(path, AttendDim);
    DSC_EXPECT(path, AttendSpec);
    DSC_EXPECT(path, AttendForwardSpec);
    DSC_EXPECT(path, AttendBackwardSpec);
    DSC_EXPECT(path, LookupSpec);
    DSC_EXPECT(path, LookupBackwardSpec);
    DSC_EXPECT(path, CrossEntropySpec);
    DSC_EXPECT(path, ClassifierSpec);
    DSC_EXPECT(path, RotateSpec);
    DSC_EXPECT(path, ReadBatchSpec);
    DSC_EXPECT(path, BeginStepSpec);
    DSC_EXPECT(path, SquareSumSpec);
    DSC_EXPECT(path, AddLossSpec);
    DSC_EXPECT(path, ControlSpec);
    DSC_EXPECT(path, UpdateSpec);
  }
  for (auto path : {"compiler/plan/plan.h"}) {
    DSC_EXPECT(path, Buffer);
    DSC_EXPECT(path, BufferUse);
    DSC_EXPECT(path, CollectivePart);
    DSC_EXPECT(path, CollectiveSpec);
    DSC_EXPECT(path, Instruction);
    DSC_EXPECT(path, Section);
    DSC_EXPECT(path, Program);
    DSC_EXPECT(path, PlanSource);
    DSC_EXPECT(path, MemorySummary);
    DSC_EXPECT(path, Plan);
  }
#undef DSC_EXPECT
}

}  // namespace
}  // namespace dsc::testing
