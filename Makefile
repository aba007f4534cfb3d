# SPDX-License-Identifier: MIT
# A thin front for meson.  `make` leaves the programs in build/bin/.
#
# PREFIX=/usr and MESON_ARGS="-Dhardening=false -Db_pie=false" are given to meson, also to a build
# that is there already; DESTDIR is heeded by `make install`.

BUILD = build
PREFIX =
MESON_ARGS =
OPTIONS = $(if $(PREFIX),--prefix=$(PREFIX)) $(MESON_ARGS)

.PHONY: all deps setup demo check check-portable check-packages sim bench bench-nbd bench-plane install clean format

all: setup
	ninja -C $(BUILD)

deps:
	@tools/setup-deps build

setup: deps
	@again=; test ! -f $(BUILD)/build.ninja || again=--reconfigure; \
	test -n "$$again" -a -z "$(strip $(OPTIONS))" || { echo "meson setup $(BUILD) $(strip $(OPTIONS))"; \
		out=$$(meson setup $$again $(BUILD) $(OPTIONS) 2>&1) || { echo "$$out"; exit 1; }; }

# A target, a login, a verified copy and some numbers, on this machine.
demo: setup
	@echo "building"; ninja -C $(BUILD) --quiet bin/lunette bin/lunette-target
	@$(BUILD)/bin/lunette demo

# Every test, then most of them again under ASan and UBSan.
check:
	@tools/setup-deps check
	@tools/check

# Most tests on a 32-bit machine (gcc -m32), and with link-time optimization.
check-portable:
	@tools/setup-deps portable
	@CHECK_RUNS="32bit lto" tools/check

# Debian packages and RPMs of what is committed, built apart, with lintian and rpmlint.
check-packages:
	@tools/setup-deps packages
	@tools/check-packages

# Whole worlds, each from a seed: initiator, target, network, and what goes wrong between them; then
# such with a control plane and a data plane, of which either may die.
# SEEDS=2000 says how many, FIRST=1 where they begin.  A seed that fails says how to replay it.
SEEDS = 2000
FIRST = 1
sim: setup
	@ninja -C $(BUILD) --quiet bin/lunette-sim
	@$(BUILD)/bin/lunette-sim --seeds $(SEEDS) --first $(FIRST)
	@ninja -C $(BUILD) --quiet tests/sim/control_seeds
	@$(BUILD)/tests/sim/control_seeds --seeds $(SEEDS) --first $(FIRST)

# What an I/O costs, beside libiscsi and bare sockets; as root.  BENCH=quick|full, BENCH_ONLY=REGEX,
# BENCH_ARGS: see docs/performance.md.
bench: setup
	@tools/setup-deps bench
	@meson setup --reconfigure $(BUILD) >/dev/null && ninja -C $(BUILD) --quiet bench-programs
	@tests/bench/bench.py --build $(BUILD) $(BENCH_ARGS)

# What an I/O costs through iscsi-iod's NBD socket, beside qemu-storage-daemon; as root.
# BENCH_NBD_ARGS: see docs/performance.md.
bench-nbd: setup
	@tools/setup-deps bench
	@meson setup --reconfigure $(BUILD) >/dev/null && ninja -C $(BUILD) --quiet bench-programs
	@tests/bench/nbd_bench.py --build $(BUILD) $(BENCH_NBD_ARGS)

# 2,000 sessions of one pair of daemons, 30 % of the portals dead.  BENCH_PLANE_ARGS: --help lists them.
bench-plane: setup
	@meson setup --reconfigure $(BUILD) >/dev/null && ninja -C $(BUILD) --quiet
	@tests/bench/plane_scale.py --build $(BUILD) $(BENCH_PLANE_ARGS)

install: all
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) build-asan build-gate build-32 build-32-root build-lto

format:
	clang-format -i $$(git ls-files '*.c' '*.h')
