# Two commands matter: "make run" does the main job on real input, "make test" proves it. Behind them stands CMake.
#   make run [SRC=/a/tree] [POOL=/where/the/pool/goes]
#   make build              the program: build/release/holdfast
#   make install PREFIX=/usr/local [DESTDIR=]
#   make bench [BENCH="filter --json out.json"]
JOBS ?= 2
PREFIX ?= /usr/local
SRC ?= /usr/share
POOL ?=
BENCH ?=
CTEST ?=

.DEFAULT_GOAL := help
.PHONY: help run test build bench install asan tsan clang tidy explore format format-check clean
.NOTPARALLEL:

help:
	@sed -n '/^# /s/^# //p' Makefile | head -5
	@echo "Also: $(TARGETS)"
TARGETS := test asan tsan clang tidy explore format format-check clean

# configured(preset): configure once; afterwards the build itself notices what changed.
configured = test -f build/$(1)/build.ninja || cmake --preset $(1) >build/$(1).log || { cat build/$(1).log; exit 1; }

build/:
	@mkdir -p build

build: | build/
	@tools/install-packages build
	@$(call configured,release)
	@cmake --build build/release -j$(JOBS)

run: build
	@SRC='$(SRC)' POOL='$(POOL)' tools/run-demo build/release/holdfast

test: | build/
	@tools/install-packages test
	@$(call configured,dev)
	@cmake --build build/dev -j$(JOBS)
	@tools/run-tests build/dev $(CTEST)

asan tsan clang: | build/
	@tools/install-packages $(if $(filter clang,$@),clang,test)
	@$(call configured,$@)
	@cmake --build build/$@ -j$(JOBS)
	@tools/run-tests build/$@ $(CTEST)

bench: build
	@build/release/holdfast bench $(BENCH)

install: build
	@DESTDIR='$(DESTDIR)' cmake --install build/release --prefix '$(PREFIX)'
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then ldconfig; fi

tidy: | build/
	@tools/install-packages tidy
	@$(call configured,clang)
	@tools/run-tidy build/clang $(JOBS)

format:
	@tools/install-packages test
	@tools/check_format --fix

format-check:
	@tools/install-packages test
	@tools/check_format

clean:
	rm -rf build

# The protocol's programs under every schedule, as "make test" runs them, with a table.
explore: | build/
	@tools/install-packages test
	@$(call configured,dev)
	@cmake --build build/dev -j$(JOBS) --target explore
	@build/dev/tests/explore

# Long runs exist where their programs do: tests/stress, tests/crash, tests/fuzz.
ifneq ($(wildcard tests/stress/*.cc),)
TARGETS += stress
.PHONY: stress
stress: | build/
	@tools/install-packages test
	@$(call configured,dev)
	@cmake --build build/dev -j$(JOBS) --target stress
	@tools/run-long build/dev/tests stress
endif
ifneq ($(wildcard tests/crash/*.cc),)
TARGETS += crash
.PHONY: crash
crash: | build/
	@tools/install-packages test
	@$(call configured,dev)
	@cmake --build build/dev -j$(JOBS) --target crash
	@tools/run-long build/dev/tests crash
endif
ifneq ($(wildcard tests/fuzz/*.cc),)
TARGETS += fuzz
.PHONY: fuzz
fuzz: | build/
	@tools/install-packages clang
	@$(call configured,fuzz)
	@cmake --build build/fuzz -j$(JOBS) --target fuzz
	@tools/run-long build/fuzz/tests fuzz
endif
