#include "runtime/signals.h"

#include <ctime>
#include <initializer_list>

namespace dsc {

HeldSignals::HeldSignals() {
  sigemptyset(&held_);
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now = {};
    if (sigaction(number, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) sigaddset(&held_, number);
  }
  pthread_sigmask(SIG_BLOCK, &held_, &before_);
}

HeldSignals::~HeldSignals() {
  while (arrived() != 0) {
  }
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

int HeldSignals::arrived() {
  const timespec at_once = {0, 0};
  const int number = sigtimedwait(&held_, nullptr, &at_once);
  return number > 0 ? number : 0;
}

}  // namespace dsc
