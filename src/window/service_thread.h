// Threads of the library's own: they never end, and no handler of the program's signals runs on them.
#pragma once

#include <functional>

namespace holdfast::window {

// `body` does not return. False: no thread can be had.
bool start_service_thread(const char* name, std::function<void()> body);

}  // namespace holdfast::window
