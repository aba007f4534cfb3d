# SPDX-License-Identifier: MIT
# A thin front for meson.  `make` leaves the programs in build/bin/.

BUILD = build

.PHONY: all deps setup demo check install clean format

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

install: all
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) $(BUILD)-asan

format:
	clang-format -i $$(git ls-files '*.c' '*.h')
