// SIGINT, SIGTERM and SIGHUP as something to ask for between steps: while this lives they are held back in every thread
// that starts after it, and one that nobody asked for ends with it: the run is at its end then. A signal that the process
// ignores (a background job's SIGINT) stays ignored.
#pragma once

#include <csignal>

namespace dsc {

class HeldSignals {
 public:
  HeldSignals();
  ~HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  // The signal that has arrived since, or 0.
  int arrived();

 private:
  sigset_t held_, before_;
};

}  // namespace dsc
