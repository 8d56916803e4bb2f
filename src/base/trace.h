// Trace points: USDT probes of provider `holdfast` where <sys/sdt.h> exists, nothing elsewhere.
//
// A probe that nobody attached to is a nop instruction. Names are stable; docs list them.
#pragma once

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define HF_TRACE1(name, a) DTRACE_PROBE1(holdfast, name, a)
#define HF_TRACE2(name, a, b) DTRACE_PROBE2(holdfast, name, a, b)
#define HF_TRACE3(name, a, b, c) DTRACE_PROBE3(holdfast, name, a, b, c)
#else
#define HF_TRACE1(name, a) static_cast<void>(0)
#define HF_TRACE2(name, a, b) static_cast<void>(0)
#define HF_TRACE3(name, a, b, c) static_cast<void>(0)
#endif
