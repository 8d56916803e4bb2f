// Skipping a test because the machine lacks something: says so in the form that the summary of a run checks.
#pragma once

#include <gtest/gtest.h>

// HF_SKIP_CAPABILITY("hugetlb", "no huge pages are free")
#define HF_SKIP_CAPABILITY(name, reason) GTEST_SKIP() << "SKIP-CAPABILITY: " << (name) << ": " << (reason)
