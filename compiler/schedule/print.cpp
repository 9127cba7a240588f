#include "compiler/partition/print_instruction.h"
#include "compiler/schedule/schedule.h"

namespace dsc {

std::string print(const local::Scheduled& scheduled) {
  // Compute at the margin, communication and storage indented, so that overlap shows.
  static constexpr const char* margin[] = {"", "        ", "                "};
  std::string text;
  for (const local::ScheduledProgram& program : scheduled.programs) {
    for (const local::ScheduledSection& section : program.sections) {
      text += program.name + " " + section.name + ": " + std::to_string(section.iterations) + " x from micro-batch " +
              std::to_string(section.first_micro_batch) + "\n";
      for (std::size_t i = 0; i < section.instructions.size(); ++i) {
        const local::ScheduledInstruction& scheduled_instruction = section.instructions[i];
        text += "  [" + std::to_string(i) + "] " + margin[static_cast<int>(scheduled_instruction.instruction.engine)] +
                print(scheduled_instruction.instruction, scheduled.buffers, nullptr);
        if (!scheduled_instruction.waits.empty()) text += " waits";
        for (int wait : scheduled_instruction.waits) text += " " + std::to_string(wait);
        text += "\n";
      }
    }
  }
  return text;
}

}  // namespace dsc
