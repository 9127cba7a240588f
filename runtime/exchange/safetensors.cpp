#include "runtime/exchange/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/json_limits.h"
#include "compiler/support/units.h"
#include "runtime/checkpoint/durable_file.h"

namespace dsc {
namespace {

static_assert(std::endian::native == std::endian::little);
using Json = nlohmann::json;
constexpr std::int64_t kHeaderLimit = 100'000'000;  // the format's own
constexpr JsonLimits kJsonLimits{.depth = 16, .values = std::int64_t{1} << 22};  // some 300,000 tensors

struct TypeSize {
  const char* name;
  std::int64_t bytes;
};
constexpr TypeSize kTypes[] = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I64", 8},
                               {"I32", 4}, {"I16", 2}, {"I8", 1}, {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1}, {"BOOL", 1}};

Error malformed(const std::string& path, const std::string& why) {
  return {str(Code::pretrained_unreadable), path + " is not a well-formed safetensors file: " + why,
          "download it again, or save the model again"};
}

// Thrown and caught in this file alone.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::int64_t natural(const Json& j) {
  if (!j.is_number_unsigned() || j.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max())
    throw Malformed("a size or offset is not a natural number");
  return j.get<std::int64_t>();
}

StoredTensor tensor_from(const std::string& name, const Json& j, std::int64_t data_begin, std::int64_t data_bytes) {
  StoredTensor tensor;
  tensor.name = name;
  tensor.type = j.at("dtype").get<std::string>();
  const TypeSize* type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeSize& t) { return tensor.type == t.name; });
  if (type == std::end(kTypes)) throw Malformed("tensor " + name + " has the unknown type " + tensor.type);
  std::int64_t bytes = type->bytes;
  for (const Json& size : j.at("shape").get_ref<const Json::array_t&>()) {
    tensor.shape.push_back(natural(size));
    if (__builtin_mul_overflow(bytes, tensor.shape.back(), &bytes)) throw Malformed("tensor " + name + " is too large");
  }
  // A zero anywhere hides an overflow of the other sizes.
  if (bytes == 0) throw Malformed("tensor " + name + " is empty");
  const Json& offsets = j.at("data_offsets");
  std::int64_t begin = natural(offsets.at(0)), end = natural(offsets.at(1));
  if (offsets.size() != 2 || begin > end || end > data_bytes) throw Malformed("tensor " + name + " lies outside the file");
  if (end - begin != bytes) throw Malformed("tensor " + name + " has a shape that its bytes do not fit");
  tensor.begin = data_begin + begin;
  tensor.end = data_begin + end;
  return tensor;
}

std::vector<StoredTensor> parse_header(const std::string& text, std::int64_t data_begin, std::int64_t data_bytes) {
  if (std::string problem = json_limits_problem(text, kJsonLimits); !problem.empty()) throw Malformed("its header " + problem);
  Json header = Json::parse(text, nullptr, false);
  if (!header.is_object()) throw Malformed("its header is not a JSON object");
  std::vector<StoredTensor> tensors;
  for (const auto& [name, value] : header.items())
    if (name != "__metadata__") tensors.push_back(tensor_from(name, value, data_begin, data_bytes));
  // The format allows no holes and no overlaps. (They would also show a name that stands twice.)
  std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) { return a.begin < b.begin; });
  std::int64_t covered = data_begin;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.begin != covered) throw Malformed("its tensors leave a gap or overlap");
    covered = tensor.end;
  }
  if (covered != data_begin + data_bytes) throw Malformed("bytes after the last tensor");
  std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < tensors.size(); ++i)
    if (tensors[i].name == tensors[i - 1].name) throw Malformed("tensor " + tensors[i].name + " stands twice");
  return tensors;
}

bool read_exactly(int fd, void* into, std::int64_t bytes, std::int64_t offset) {
  char* at = static_cast<char*>(into);
  while (bytes > 0) {
    ssize_t got = pread(fd, at, static_cast<std::size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got, offset += got, bytes -= got;
  }
  return true;
}

float from_half(std::uint16_t h) {
  std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent == 0) {
    float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

}  // namespace

Result<SafetensorsReader> SafetensorsReader::open(const std::filesystem::path& path) {
  SafetensorsReader reader;
  reader.path_ = path.string();
  reader.descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat facts{};
  if (reader.descriptor_ < 0 || fstat(reader.descriptor_, &facts) != 0)
    return Error{str(Code::pretrained_unreadable), "cannot read " + reader.path_ + ": " + std::strerror(errno),
                 "name a folder with config.json and model.safetensors"};
  if (!S_ISREG(facts.st_mode)) return malformed(reader.path_, "it is not a regular file");
  std::uint64_t header = 0;
  if (facts.st_size < 8 || !read_exactly(reader.descriptor_, &header, 8, 0)) return malformed(reader.path_, "it is too short");
  if (header > kHeaderLimit || static_cast<std::int64_t>(header) > facts.st_size - 8)
    return malformed(reader.path_, "its header would have " + std::to_string(header) + " bytes");
  std::string text(header, '\0');
  std::int64_t begin = 8 + static_cast<std::int64_t>(header);
  if (!read_exactly(reader.descriptor_, text.data(), static_cast<std::int64_t>(header), 8))
    return malformed(reader.path_, "its header cannot be read");
  try {
    reader.tensors_ = parse_header(text, begin, facts.st_size - begin);
  } catch (const Malformed& trouble) {
    return malformed(reader.path_, trouble.what());
  } catch (const Json::exception&) {
    return malformed(reader.path_, "an entry of its header lacks dtype, shape or data_offsets");
  }
  return reader;
}

SafetensorsReader::SafetensorsReader(SafetensorsReader&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), tensors_(std::move(other.tensors_)) {}

SafetensorsReader& SafetensorsReader::operator=(SafetensorsReader&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(tensors_, other.tensors_);
  return *this;
}

SafetensorsReader::~SafetensorsReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

const StoredTensor* SafetensorsReader::find(const std::string& name) const {
  auto at = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                             [](const StoredTensor& tensor, const std::string& key) { return tensor.name < key; });
  return at != tensors_.end() && at->name == name ? &*at : nullptr;
}

Status SafetensorsReader::read(const StoredTensor& tensor, std::int64_t first, std::span<float> out) const {
  std::int64_t n = static_cast<std::int64_t>(out.size());
  DSC_CHECK(first >= 0 && first <= tensor.elements() - n, "read outside tensor " + tensor.name);
  bool half = tensor.type == "F16" || tensor.type == "BF16";
  if (!half && tensor.type != "F32")
    return Error{str(Code::pretrained_type_unsupported), path_ + ": tensor " + tensor.name + " has type " + tensor.type,
                 "F32, BF16 and F16 can be read"};
  Error cut = malformed(path_, "tensor " + tensor.name + " cannot be read");
  if (!half) {
    if (!read_exactly(descriptor_, out.data(), n * 4, tensor.begin + first * 4)) return cut;
    return {};
  }
  // The 16-bit values are read into the upper half of `out` and widened from the front, which never overtakes them.
  std::uint16_t* narrow = reinterpret_cast<std::uint16_t*>(out.data()) + n;
  if (!read_exactly(descriptor_, narrow, n * 2, tensor.begin + first * 2)) return cut;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, narrow + i, 2);
    float value = tensor.type == "F16" ? from_half(bits) : std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
    std::memcpy(out.data() + i, &value, 4);
  }
  return {};
}

// ---- Writing -----------------------------------------------------------------------------------------------------------

Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::filesystem::path& path, const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& tensors) {
  SafetensorsWriter writer;
  writer.path_ = path;
  writer.temporary_ = path.string() + ".partial";
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  std::int64_t offset = 0;
  for (const auto& [name, shape] : tensors) {
    std::int64_t elements = 1;
    for (std::int64_t size : shape) elements *= size;
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {offset, offset + elements * 4}}};
    offset += elements * 4;
    writer.left_ += elements;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data is aligned
  Result<DurableFile> file = DurableFile::create(writer.temporary_, Code::export_unwritable);
  if (!file) return file.error();
  writer.file_ = std::make_unique<DurableFile>(std::move(*file));
  std::uint64_t length = text.size();
  if (Status status = writer.file_->write(&length, 8); !status) return status.error();
  if (Status status = writer.file_->write(text.data(), text.size()); !status) return status.error();
  return writer;
}

SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&& other) noexcept
    : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, {})), file_(std::move(other.file_)),
      left_(other.left_) {}

SafetensorsWriter::~SafetensorsWriter() {
  std::error_code trouble;
  file_.reset();
  if (!temporary_.empty()) std::filesystem::remove(temporary_, trouble);
}

Status SafetensorsWriter::append(std::span<const float> values) {
  left_ -= static_cast<std::int64_t>(values.size());
  DSC_CHECK(left_ >= 0, "more values than the header announces");
  return file_->write(values.data(), values.size_bytes());
}

Status SafetensorsWriter::finish() {
  DSC_CHECK(left_ == 0, "fewer values than the header announces");
  if (Status status = file_->close(); !status) return status;
  if (Status status = rename_durably(temporary_, path_, Code::export_unwritable); !status) return status;
  temporary_.clear();
  return {};
}

}  // namespace dsc
