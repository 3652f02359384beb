#!/bin/sh
# SPDX-License-Identifier: MIT
# Fuzz the public interface against the naive models (of memory, of address spaces), in two geometries: programs of
# operations with their injected failures. Then threads: short programs with their schedule, on the interleaving checker. New inputs that reach new
# code go to fuzz/corpus/, which `make test` replays.
#
#	scripts/fuzz.sh [SECONDS]	for each of the five (60)
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
if [ ! -f build/fuzz/build.ninja ]; then
	CC=clang meson setup build/fuzz -Dfuzz=true -Dtests=false -Db_sanitize=address,undefined \
		-Db_lundef=false >build/fuzz.log 2>&1 || { cat build/fuzz.log; exit 1; }
fi
ninja -C build/fuzz --quiet fuzz/fuzz_api_test fuzz/fuzz_api_tiny fuzz/fuzz_as_test fuzz/fuzz_as_tiny
# TARGET CORPUS FLAGS...
fuzz() {
	target=build/fuzz/fuzz/fuzz_$1 old=fuzz/corpus/$2 new=build/fuzz/new_$2
	shift 2
	mkdir -p "$new" "$old"
	"$target" -max_total_time="$seconds" -max_len=2048 -len_control=0 -timeout=60 -rss_limit_mb=4096 \
		-artifact_prefix=build/fuzz/ -print_final_stats=1 "$new" "$old"
	"$target" -merge=1 "$@" "$old" "$new"
}
for v in tiny test; do
	fuzz "api_$v" "$v"
	# by code reached, not by how often: a small corpus
	fuzz "as_$v" "as_$v" -use_counters=0
done

# the checker brings its own view of memory: not with sanitizers
if [ ! -f build/fuzz-race/build.ninja ]; then
	CC=clang meson setup build/fuzz-race -Dfuzz=true -Dtests=false -Db_lundef=false >build/fuzz.log 2>&1 ||
		{ cat build/fuzz.log; exit 1; }
fi
ninja -C build/fuzz-race --quiet fuzz/fuzz_race
mkdir -p build/fuzz-race/new
build/fuzz-race/fuzz/fuzz_race -max_total_time="$seconds" -max_len=128 -len_control=0 -timeout=60 \
	-artifact_prefix=build/fuzz-race/ -print_final_stats=1 build/fuzz-race/new fuzz/corpus/race
# by code reached, not by how often: a small corpus
build/fuzz-race/fuzz/fuzz_race -merge=1 -use_counters=0 fuzz/corpus/race build/fuzz-race/new
