#include <algorithm>

#include "compiler/partition/partition.h"
#include "compiler/partition/print_instruction.h"

namespace dsc::local {

const char* name_of(Engine engine) {
  static constexpr const char* names[] = {"compute", "communication", "storage"};
  return names[static_cast<int>(engine)];
}

std::string print(const Buffer& buffer, std::size_t index) {
  return BufferId(index).str() + " " + buffer.name + ": " + std::string(name_of(buffer.type)) + " x " + with_commas(buffer.elements);
}

namespace {

std::string print(const Use& use, const std::vector<Buffer>& buffers) {
  std::string text = use.buffer.str();
  if (use.rank_stride.value != 0) return text + "[rank]";
  if (use.offset.value != 0 || use.bytes != buffers[use.buffer.index()].bytes()) {
    text += "[" + std::to_string(use.offset.value) + ".." + std::to_string(use.offset.value + use.bytes.value) + "]";
  }
  return text;
}

}  // namespace

std::string print(const Instruction& instruction, const std::vector<Buffer>& buffers, const std::vector<std::string>* parameter_paths) {
  static constexpr const char* kinds[] = {"all_gather", "reduce_scatter", "all_reduce"};
  std::string text;
  if (const Collective* collective = std::get_if<Collective>(&instruction.op)) {
    text = std::string(kinds[static_cast<int>(collective->kind)]) + " " + instruction.name + ":";
    for (const CollectivePart& part : collective->parts) text += " " + print(part.from, buffers) + " -> " + print(part.to, buffers);
    return text + (collective->wire_bf16 ? " wire bf16" : "") + " (" + collective->cause + ")";
  }
  text = std::string(name_of(std::get<KernelSpec>(instruction.op))) + " " + instruction.name + ":";
  for (std::size_t i = 0; i < instruction.inputs.size(); ++i) {
    const auto read = std::find_if(instruction.reads.begin(), instruction.reads.end(), [&](const ParameterRead& r) { return r.input == i; });
    const bool open = parameter_paths != nullptr && read != instruction.reads.end();
    text += " " + (open ? (*parameter_paths)[read->parameter.index()] : print(instruction.inputs[i], buffers));
  }
  text += " ->";
  for (const Use& use : instruction.outputs) text += " " + print(use, buffers);
  if (instruction.workspace) text += " workspace " + print(*instruction.workspace, buffers);
  return text;
}

}  // namespace dsc::local

namespace dsc {

std::string print(const local::Partitioned& partitioned) {
  std::string text = std::to_string(partitioned.data_ranks) + " data ranks, zero " + std::to_string(partitioned.zero_stage) + "\nbuffers\n";
  for (std::size_t i = 0; i < partitioned.buffers.size(); ++i) {
    text += "  " + print(partitioned.buffers[i], i) + (partitioned.buffers[i].persistent ? " (persistent)\n" : "\n");
  }
  for (const local::Program& program : partitioned.programs) {
    for (const local::Section& section : program.sections) {
      text += program.name + " " + section.name + ": " + std::to_string(section.iterations) + " x from micro-batch " +
              std::to_string(section.first_micro_batch) + "\n";
      auto reduction = section.reductions.begin();
      auto publication = section.publications.begin();
      for (std::size_t i = 0; i < section.instructions.size(); ++i) {
        text += "  " + print(section.instructions[i], partitioned.buffers, &partitioned.parameter_paths) + "\n";
        for (; reduction != section.reductions.end() && reduction->after == i; ++reduction) {
          text += "    then reduce " + partitioned.parameter_paths[reduction->parameter.index()] + ": " + reduction->from.buffer.str() + " -> " +
                  reduction->to.buffer.str() + "\n";
        }
        for (; publication != section.publications.end() && publication->after == i; ++publication) {
          text += "    then publish " + partitioned.parameter_paths[publication->parameter.index()] + "\n";
        }
      }
    }
  }
  return text;
}

}  // namespace dsc
