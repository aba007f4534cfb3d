# SPDX-License-Identifier: MIT
# A thin front for meson.  `make` leaves the programs in build/bin/.

BUILD = build

.PHONY: all deps setup demo check check-packages bench install clean format

all: setup
	ninja -C $(BUILD)

deps:
	@tools/setup-deps build

setup: deps
	@test -f $(BUILD)/build.ninja || { echo "meson setup $(BUILD)"; \
		out=$$(meson setup $(BUILD) 2>&1) || { echo "$$out"; exit 1; }; }

# A target, a login, a verified copy and some numbers, on this machine.
demo: setup
	@echo "building"; ninja -C $(BUILD) --quiet bin/lunette bin/lunette-target
	@$(BUILD)/bin/lunette demo

# Every test, then most of them again under ASan and UBSan.
check:
	@tools/setup-deps check
	@tools/check

# Debian packages and RPMs of what is committed, built apart, with lintian and rpmlint.
check-packages:
	@tools/setup-deps packages
	@tools/check-packages

# What an I/O costs, beside libiscsi and bare sockets; as root.  BENCH=quick|full, BENCH_ONLY=REGEX,
# BENCH_ARGS: see docs/performance.md.
bench: setup
	@tools/setup-deps bench
	@meson setup --reconfigure $(BUILD) >/dev/null && ninja -C $(BUILD) --quiet bench-programs
	@tests/bench/bench.py --build $(BUILD) $(BENCH_ARGS)

install: all
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) $(BUILD)-asan build-gate

format:
	clang-format -i $$(git ls-files '*.c' '*.h')
