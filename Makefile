# SPDX-License-Identifier: MIT
# A front for meson and ninja. `make help` lists what there is.

PREFIX	?= /usr/local
DESTDIR	?=
# More options of meson, such as -Dsymbol_prefix=foo_ or -Dc_args='-mgeneral-regs-only -mno-red-zone'.
MESON	?=
# More arguments of the tool, and of the benchmarks.
ARGS	?=

override BUILD := build/release
OCTAVO	= $(BUILD)/tools/octavo/octavo
# Another compiler, prefix or option than last time: configure again, from nothing.
CONFIG	= --prefix=$(PREFIX) -Dtests=false $(MESON)
export OCTAVO_CONFIG = $(CC) $(CONFIG)

.PHONY: all help run build test mutants bench soak conformance fuzz install uninstall format clean

all: build

help:
	@echo 'make run          build the tool and show what the memory map of this machine costs'
	@echo 'make test         every test: gcc, clang, four sanitizers, gates'
	@echo 'make build        liboctavo.a and the tool, in $(BUILD)'
	@echo 'make mutants      seeded bugs: does the test named for each find it? (long)'
	@echo 'make bench        every benchmark, about five minutes (ARGS="frames --json": some)'
	@echo 'make soak         random programs on memory that is three times too small, every byte compared (MINUTES=10)'
	@echo 'make fuzz         random programs: against a naive model, and on the race checker (SECONDS=60 for each)'
	@echo 'make conformance  the requirements, and the tests that cover each'
	@echo 'make install      library, headers, pkg-config file, manual page, tool (PREFIX, DESTDIR)'
	@echo 'make uninstall    remove what make install installed'
	@echo 'make format       clang-format on all C files'
	@echo 'make clean        remove build/'
	@echo
	@echo 'run, build and test install missing Debian packages, as root or with sudo.'
	@echo 'Variables: LANES="gcc clang asan tsan msan" (test), PREFIX, DESTDIR, MESON (options), ARGS.'

build:
	@scripts/deps.sh build
	@if [ "$$OCTAVO_CONFIG" != "$$(cat $(BUILD)/.config 2>/dev/null)" ]; then \
		rm -rf $(BUILD) && mkdir -p build && \
		{ meson setup $(BUILD) $(CONFIG) >build/release.log 2>&1 || { cat build/release.log; exit 1; }; } && \
		printf '%s\n' "$$OCTAVO_CONFIG" >$(BUILD)/.config; \
	fi
	@ninja -C $(BUILD) --quiet

run: build
	@$(OCTAVO) footprint --live-or-recorded $(ARGS)

test:
	@scripts/deps.sh test
	@scripts/test.sh

mutants:
	@scripts/deps.sh test
	@scripts/mutants.py $(ARGS)

bench:
	@scripts/deps.sh bench
	@$(MAKE) --no-print-directory build
	@$(OCTAVO) bench $(ARGS)

soak: build
	@$(OCTAVO) soak --minutes $(or $(MINUTES),10) $(ARGS)

conformance:
	@scripts/conformance

fuzz:
	@scripts/deps.sh test
	@scripts/fuzz.sh $(or $(SECONDS),60)

install: build
	@DESTDIR='$(DESTDIR)' meson install -C $(BUILD) --no-rebuild

uninstall:
	@ninja -C $(BUILD) uninstall

format:
	@scripts/deps.sh format
	@clang-format -i $$(git ls-files '*.c' '*.h')

clean:
	rm -rf build

