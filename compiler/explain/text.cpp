#include <algorithm>
#include <cstdio>

#include "compiler/explain/explain.h"

namespace dsc {
namespace {

std::string padded(const std::string& text, std::size_t width) {
  return text.size() >= width ? text : text + std::string(width - text.size(), ' ');
}

std::string right(const std::string& text, std::size_t width) {
  return text.size() >= width ? text : std::string(width - text.size(), ' ') + text;
}

// "12,345,678 B  (11.8 MiB)"
std::string bytes_line(const std::string& name, Bytes bytes) {
  return "  " + padded(name, 16) + right(with_commas(bytes.value), 17) + " B  " + human(bytes) + "\n";
}

std::string memory_text(const RankClass& c) {
  std::string ranks = c.ranks.size() == 1 ? "rank 0" : "each of ranks 0 to " + std::to_string(c.ranks.back());
  std::string text = "memory of " + ranks + "\n";
  text += bytes_line("device arena", c.device_arena);
  for (std::size_t i = 0; i < c.by_class.size(); ++i)
    text += bytes_line(std::string("  ") + name_of(static_cast<BufferClass>(i)), c.by_class[i]);
  text += bytes_line("  unused", c.unused);
  text += bytes_line("host arena", c.host_arena) + bytes_line("storage", c.storage);
  text += bytes_line("lower bound", c.lower_bound) + bytes_line("persistent", c.persistent);
  text += "peak: program " + c.peak_program + ", at `" + c.peak_instruction + "`; the largest buffers live there\n";
  std::size_t shown = std::min<std::size_t>(10, c.peak_buffers.size());
  for (std::size_t i = 0; i < shown; ++i) {
    const PeakBuffer& b = c.peak_buffers[i];
    text += "  " + right(human(b.bytes), 10) + "  " + padded(name_of(b.cls), 12) + padded(b.name, 40) + " " + b.source + "\n";
  }
  if (shown < c.peak_buffers.size()) text += "  and " + std::to_string(c.peak_buffers.size() - shown) + " more (--json lists all)\n";
  return text;
}

// "block[3].mlp" and "block[4].mlp" both as "block[*].mlp".
std::string without_indices(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] != '[') continue;
    std::size_t end = i + 1;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
    if (end == i + 1 || end == text.size() || text[end] != ']') continue;
    out += '*';
    i = end - 1;
  }
  return out;
}

// The same collective in every layer on one line.
std::vector<CollectiveLine> by_kind(const std::vector<CollectiveLine>& lines) {
  std::vector<CollectiveLine> kinds;
  for (const CollectiveLine& line : lines) {
    std::string cause = without_indices(line.cause);
    auto same = [&](const CollectiveLine& kind) { return kind.op == line.op && kind.axis == line.axis && kind.cause == cause; };
    auto kind = std::find_if(kinds.begin(), kinds.end(), same);
    if (kind == kinds.end()) kind = kinds.insert(kinds.end(), {line.op, line.axis, cause, 0, Bytes{0}});
    kind->count += line.count;
    kind->bytes_per_rank += line.bytes_per_rank;
  }
  return kinds;
}

}  // namespace

std::string to_text(const Explanation& e) {
  std::string mesh;
  for (const MeshAxis& axis : e.mesh) mesh += (mesh.empty() ? "" : ", ") + axis.name + ": " + std::to_string(axis.size);
  std::string text = "layout " + e.layout + " on " + std::to_string(e.world_size) + (e.world_size == 1 ? " rank" : " ranks");
  text += (mesh.empty() ? "" : ", mesh (" + mesh + ")") + ", target " + e.target + "\n";
  char flops[64];
  std::snprintf(flops, sizeof flops, "%.4g", e.flops_per_step);
  text += "parameters " + with_commas(e.parameters) + " (" + human_count(e.parameters) + "), FLOPs per step " + flops + " (uncalibrated)\n\n";
  for (const RankClass& c : e.rank_classes) text += memory_text(c);
  text += e.collectives.empty() ? "\ncollectives: none\n" : "\ncollectives, per step\n";
  for (const CollectiveLine& c : by_kind(e.collectives))
    text += "  " + padded(c.op, 15) + padded(c.axis, 8) + right(std::to_string(c.count), 5) + " x  " +
            right(human(c.bytes_per_rank), 10) + " in all  " + c.cause + "\n";
  if (!e.autos.empty()) text += "\nchosen by auto\n";
  for (const AutoChoice& a : e.autos) text += "  " + a.key + " = " + a.value + ": " + a.reason + "\n";
  return text;
}

}  // namespace dsc
