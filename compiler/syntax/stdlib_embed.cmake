# Writes OUTPUT, a .cpp with the text of each of FILES as a raw string, and the two functions of stdlib.h.
set(entries "")
list(SORT FILES)
foreach(file ${FILES})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  if(text MATCHES "\\)dsm\"")
    message(FATAL_ERROR "${file} holds the end mark of a raw string")
  endif()
  string(APPEND entries "    {\"${name}\", R\"dsm(${text})dsm\"},\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"compiler/syntax/stdlib.h\"

namespace dsc::syntax {
namespace {

struct Text {
  std::string_view name;
  std::string_view text;
};

constexpr Text kTexts[] = {
${entries}};

}  // namespace

std::optional<std::string_view> stdlib_text(std::string_view name) {
  for (const Text& text : kTexts)
    if (text.name == name) return text.text;
  return std::nullopt;
}

std::vector<std::string_view> stdlib_names() {
  std::vector<std::string_view> names;
  for (const Text& text : kTexts) names.push_back(text.name);
  return names;
}

}  // namespace dsc::syntax
")
