#!/bin/sh
# SPDX-License-Identifier: MIT
# Fuzz the public interface against the naive model: programs of operations with their injected failures. New inputs
# that reach new code go to fuzz/corpus/, which `make test` replays.
#
#	scripts/fuzz.sh [SECONDS]	for each of the two geometries (60)
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
if [ ! -f build/fuzz/build.ninja ]; then
	CC=clang meson setup build/fuzz -Dfuzz=true -Dtests=false -Db_sanitize=address,undefined \
		-Db_lundef=false >build/fuzz.log 2>&1 || { cat build/fuzz.log; exit 1; }
fi
ninja -C build/fuzz --quiet fuzz/fuzz_api_test fuzz/fuzz_api_tiny
for v in tiny test; do
	mkdir -p "build/fuzz/new_$v" "fuzz/corpus/$v"
	"build/fuzz/fuzz/fuzz_api_$v" -max_total_time="$seconds" -max_len=2048 -len_control=0 -timeout=60 -rss_limit_mb=4096 \
		-artifact_prefix=build/fuzz/ -print_final_stats=1 "build/fuzz/new_$v" "fuzz/corpus/$v"
	"build/fuzz/fuzz/fuzz_api_$v" -merge=1 "fuzz/corpus/$v" "build/fuzz/new_$v"
done
