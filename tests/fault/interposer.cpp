// Preloaded into a dsc (LD_PRELOAD): stands before its calls to the system, and spoils some of them.
// In: DSC_FAULT, rules joined by ';', each "CALLS PATH FIRST ACTION". CALLS: names joined by ',' (open, read, write, sync,
// rename, unlink, mkdir, list, map, thread), or '*'. PATH: a part of the path that the call is about, or '*'. FIRST: the
// rule acts on its FIRST-th matching call (from 1), with a '+' behind it on all later ones too. ACTION: count, kill,
// tear (half a write, then kill), short (half a read or write), fail:ERRNO, signal:NUMBER, cut:FILE, remove:FILE.
// Out: DSC_FAULT_LOG, a line "RULE NUMBER CALL PATH" for each matching call of a rule that counts, or that acts.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

struct Rule {
  char calls[64] = "", path[PATH_MAX] = "", action[PATH_MAX] = "";
  long first = 0;
  bool all_later = false;
  std::atomic<long> seen{0};
};
constexpr int kMost = 4;
Rule rules[kMost];
int rule_count = 0;
int log_file = -1;

enum class Spoil { nothing, fail, half, tear };

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

__attribute__((constructor)) void read_rules() {
  const char* text = std::getenv("DSC_FAULT");
  static char copy[8 * PATH_MAX];
  if (text == nullptr || std::strlen(text) >= sizeof copy) return;
  std::strcpy(copy, text);
  char *rest = copy, *later = nullptr;
  for (char* one; rule_count < kMost && (one = strtok_r(rest, ";", &later)) != nullptr; rest = nullptr) {
    Rule& rule = rules[rule_count];
    char first[32] = "";
    if (std::sscanf(one, "%63s %4095s %31s %4095s", rule.calls, rule.path, first, rule.action) != 4) std::abort();
    rule.first = std::strtol(first, nullptr, 10);
    rule.all_later = std::strchr(first, '+') != nullptr;
    ++rule_count;
  }
  if (const char* log = std::getenv("DSC_FAULT_LOG"))
    log_file = static_cast<int>(real<long(long, ...)>("syscall")(SYS_open, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
}

bool named(const char* list, const char* call) {
  if (!std::strcmp(list, "*")) return true;
  const std::size_t size = std::strlen(call);
  for (const char* at = list; (at = std::strstr(at, call)) != nullptr; at += size)
    if ((at == list || at[-1] == ',') && (at[size] == 0 || at[size] == ',')) return true;
  return false;
}

int error_named(const char* name) {
  constexpr struct { const char* name; int number; } list[] = {
      {"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EINTR", EINTR}, {"EACCES", EACCES}, {"EROFS", EROFS},
      {"EMFILE", EMFILE}, {"ENOMEM", ENOMEM}, {"EAGAIN", EAGAIN}, {"EDQUOT", EDQUOT}};
  for (const auto& entry : list)
    if (!std::strcmp(entry.name, name)) return entry.number;
  std::abort();
}

// What one rule does to a call that it acts on; errno is set where the call is to fail.
Spoil act(const Rule& rule) {
  const char* argument = std::strchr(rule.action, ':');
  argument = argument == nullptr ? "" : argument + 1;
  switch (rule.action[0]) {
    case 'k': kill(getpid(), SIGKILL); return Spoil::nothing;
    case 't': return Spoil::tear;
    case 'f': errno = error_named(argument); return Spoil::fail;
    case 'r': real<int(const char*)>("unlink")(argument); return Spoil::nothing;
    case 's':
      if (!std::strcmp(rule.action, "short")) return Spoil::half;
      kill(getpid(), static_cast<int>(std::strtol(argument, nullptr, 10)));
      return Spoil::nothing;
    case 'c':
      if (std::strcmp(rule.action, "count") != 0 && truncate(argument, 0) != 0) std::abort();
      return Spoil::nothing;
    default: std::abort();
  }
}

Spoil before(const char* call, const char* path) {
  Spoil spoil = Spoil::nothing;
  for (int i = 0; i < rule_count; ++i) {
    Rule& rule = rules[i];
    if (!named(rule.calls, call) || (std::strcmp(rule.path, "*") != 0 && std::strstr(path, rule.path) == nullptr)) continue;
    const long number = rule.seen.fetch_add(1) + 1;
    const bool acts = number == rule.first || (rule.all_later && number > rule.first);
    if (acts || !std::strcmp(rule.action, "count")) {
      char line[PATH_MAX + 64];
      const int size = std::snprintf(line, sizeof line, "%d %ld %s %s\n", i, number, call, path);
      if (log_file >= 0) real<long(long, ...)>("syscall")(SYS_write, log_file, line, size);
    }
    if (acts) spoil = act(rule);
  }
  return spoil;
}

// The path behind a descriptor, and behind a name relative to one.
struct Path {
  char text[PATH_MAX] = "";
  explicit Path(int descriptor) {
    char link[64];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t size = readlink(link, text, sizeof text - 1);
    text[size < 0 ? 0 : size] = 0;
  }
  Path(int folder, const char* name) : Path(name[0] == '/' || folder == AT_FDCWD ? -1 : folder) {
    const std::size_t size = std::strlen(text);
    std::snprintf(text + size, sizeof text - size, "%s%s", size ? "/" : "", name);
  }
};

// A read or write of `size` bytes: what it returns, `call` doing it for a number of bytes.
template <class Call>
ssize_t spoiled(const char* name, int descriptor, std::size_t size, Call call) {
  switch (before(name, Path(descriptor).text)) {
    case Spoil::fail: return -1;
    case Spoil::half: return call(size > 1 ? size / 2 : size);
    case Spoil::tear:
      call(size / 2);
      kill(getpid(), SIGKILL);
      return -1;
    default: return call(size);
  }
}

int opened(const char* symbol, const char* path, int flags, mode_t mode) {
  if (before("open", path) == Spoil::fail) return -1;
  return real<int(const char*, int, ...)>(symbol)(path, flags, mode);
}

int opened_at(const char* symbol, int folder, const char* name, int flags, mode_t mode) {
  if (before("open", Path(folder, name).text) == Spoil::fail) return -1;
  return real<int(int, const char*, int, ...)>(symbol)(folder, name, flags, mode);
}

mode_t mode_of(int flags, va_list& list) { return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0; }

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_of(flags, list);
  va_end(list);
  return opened("open", path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_of(flags, list);
  va_end(list);
  return opened("open64", path, flags, mode);
}
int openat(int folder, const char* name, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_of(flags, list);
  va_end(list);
  return opened_at("openat", folder, name, flags, mode);
}

ssize_t read(int file, void* into, size_t size) {
  return spoiled("read", file, size, [&](size_t n) { return real<ssize_t(int, void*, size_t)>("read")(file, into, n); });
}
ssize_t pread(int file, void* into, size_t size, off_t at) {
  return spoiled("read", file, size, [&](size_t n) { return real<ssize_t(int, void*, size_t, off_t)>("pread")(file, into, n, at); });
}
ssize_t pread64(int file, void* into, size_t size, off64_t at) { return pread(file, into, size, at); }
ssize_t write(int file, const void* from, size_t size) {
  return spoiled("write", file, size, [&](size_t n) { return real<ssize_t(int, const void*, size_t)>("write")(file, from, n); });
}

int fsync(int file) { return before("sync", Path(file).text) == Spoil::fail ? -1 : real<int(int)>("fsync")(file); }

int rename(const char* from, const char* to) noexcept {
  return before("rename", to) == Spoil::fail ? -1 : real<int(const char*, const char*)>("rename")(from, to);
}
// renameat2 has no wrapper in every C library, so it comes by its number.
long syscall(long number, ...) noexcept {
  long a[6];
  va_list list;
  va_start(list, number);
  for (long& one : a) one = va_arg(list, long);
  va_end(list);
  if (number == SYS_renameat2 && before("rename", reinterpret_cast<const char*>(a[3])) == Spoil::fail) return -1;
  return real<long(long, ...)>("syscall")(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int unlink(const char* path) noexcept { return before("unlink", path) == Spoil::fail ? -1 : real<int(const char*)>("unlink")(path); }
int unlinkat(int folder, const char* name, int flags) noexcept {
  return before("unlink", Path(folder, name).text) == Spoil::fail ? -1 : real<int(int, const char*, int)>("unlinkat")(folder, name, flags);
}
int mkdir(const char* path, mode_t mode) noexcept {
  return before("mkdir", path) == Spoil::fail ? -1 : real<int(const char*, mode_t)>("mkdir")(path, mode);
}
DIR* fdopendir(int folder) { return before("list", Path(folder).text) == Spoil::fail ? nullptr : real<DIR*(int)>("fdopendir")(folder); }
DIR* opendir(const char* path) { return before("list", path) == Spoil::fail ? nullptr : real<DIR*(const char*)>("opendir")(path); }

void* mmap(void* at, size_t size, int protection, int flags, int file, off_t offset) noexcept {
  if (before("map", file < 0 ? "anonymous" : Path(file).text) == Spoil::fail) return MAP_FAILED;
  return real<void*(void*, size_t, int, int, int, off_t)>("mmap")(at, size, protection, flags, file, offset);
}
int pthread_create(pthread_t* thread, const pthread_attr_t* how, void* (*body)(void*), void* with) noexcept {
  if (before("thread", "thread") == Spoil::fail) return errno;
  return real<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>("pthread_create")(thread, how, body, with);
}

}  // extern "C"
