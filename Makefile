# Set-up, build and the common chores. `make run` and `make test` do all that they need themselves.
BUILD := build/cpu-release
OURS = git ls-files -z '*.h' '*.cc' '*.cuh' '*.cu'

.PHONY: build run test install format check-format lint tidy ci clean setup

setup:
	@bash scripts/setup.sh

$(BUILD)/build.ninja: | setup
	cmake --preset cpu-release

build: setup $(BUILD)/build.ninja
	cmake --build --preset cpu-release

run: setup $(BUILD)/build.ninja
	cmake --build --preset cpu-release --target lycheedecode
	@bash scripts/run_example.sh

test: build
	ctest --preset cpu-release

PREFIX ?= /usr/local
# COMPONENTS="program libraries" carries the shared libraries along.
COMPONENTS ?= program
install: setup $(BUILD)/build.ninja
	cmake --build --preset cpu-release --target lycheedecode
	@for part in $(COMPONENTS); do cmake --install $(BUILD) --prefix $(PREFIX) --component $$part || exit 1; done

format:
	@$(OURS) | xargs -0 clang-format -i

check-format:
	@$(OURS) | xargs -0 clang-format --dry-run -Werror

lint: check-format
	python3 tools/check_layers.py
	python3 tests/tools/check_layers_test.py
	python3 tests/tools/report_test.py
	python3 tests/tools/peers_test.py
	python3 tests/tools/suite_test.py
	python3 bench/report fill --check docs/*.md
	python3 tools/check_docs.py

# The whole tree, which takes long; .ci/run looks at changed files.
tidy: build
	@bash scripts/tidy.sh --all

ci:
	.ci/run

clean:
	rm -rf build
