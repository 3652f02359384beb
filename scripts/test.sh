#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every test, in lanes that differ by compiler and sanitizer, each in a build directory of its own. Says
# every 20 seconds where it is, and ends with a line "N passed, N failed, N skipped" of test cases.
#
# LANES="gcc clang asan tsan msan" picks lanes; TESTS="names" of meson's picks tests.
set -uo pipefail
cd "$(dirname "$0")/.."

export LC_ALL=C.UTF-8 CMOCKA_MESSAGE_OUTPUT=STDOUT
all_lanes="gcc clang asan tsan msan"
lanes=${LANES:-$all_lanes}
read -r -a tests <<<"${TESTS:-}"
jobs=$(nproc)
began=$SECONDS

# name -> compiler, meson options, environment of the tests
declare -A compiler options
compiler=([gcc]=gcc [clang]=clang [asan]=gcc [tsan]=clang [msan]=clang)
# Lines for reports, but no types and variables: nobody looks at these with a debugger, but the test of gdb at gcc's.
options=(
	[gcc]=""
	[clang]="-Dc_args=-g1"
	[asan]="-Db_sanitize=address,undefined -Dc_args=-g1"
	[tsan]="-Db_sanitize=thread -Db_lundef=false -Dc_args=-g1"
	[msan]="-Db_sanitize=memory -Db_lundef=false -Dc_args=-g1"
)
# What no test needs is compiled by gcc and clang alone.
declare -A targets
targets=([gcc]="all meson-test-prereq" [clang]="all meson-test-prereq")
export ASAN_OPTIONS="detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
export MSAN_OPTIONS="halt_on_error=1:allow_addr2line=1"
export TSAN_OPTIONS="halt_on_error=1:allow_addr2line=1:second_deadlock_stack=1"

say() {
	printf '[%4d s] %s\n' $((SECONDS - began)) "$*"
}

# watch LANE WHAT LOG COMMAND...: run it into LOG, and every 20 seconds say how far it is.
watch() {
	local lane=$1 what=$2 log=$3 t=0
	shift 3
	"$@" >"$log" 2>&1 </dev/null &
	local pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.5
		t=$((t + 1))
		if [ $((t % 40)) = 0 ]; then
			say "$lane: $what $(tail -c 2000 "$log" | grep -aoE '\[[0-9]+/[0-9]+\]|^ *[0-9]+/[0-9]+' | tail -n 1)"
		fi
	done
	wait "$pid"
}

# Can a sanitized program run here at all? Thread and memory sanitizers cannot where addresses are too random, leak
# detection not where ptrace is forbidden. WRAPPER gets what to put before a test, or the lane is skipped.
probe() {
	local lane=$1 dir=$2
	WRAPPER=()
	printf 'int main(void) { return 0; }\n' >"$dir/probe.c"
	case $lane in
	asan)
		gcc -fsanitize=address "$dir/probe.c" -o "$dir/probe" || return 1
		if ! "$dir/probe" 2>/dev/null; then
			ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"
			say "asan: no leak detection here (is this under a debugger, or ptrace forbidden?)"
			"$dir/probe" || return 1
		fi ;;
	tsan | msan)
		local kind=thread
		[ "$lane" = tsan ] || kind=memory
		clang -fsanitize=$kind "$dir/probe.c" -o "$dir/probe" || return 1
		if ! "$dir/probe" 2>/dev/null; then
			WRAPPER=(setarch -R)
			setarch -R "$dir/probe" || return 1
		fi ;;
	esac
}

run_lane() {
	local lane=$1 dir=build/$1 start=$SECONDS config
	config="${compiler[$lane]} ${options[$lane]}"
	mkdir -p build
	if [ "$(cat "$dir/.config" 2>/dev/null)" != "$config" ]; then
		rm -rf "$dir"
		# shellcheck disable=SC2086
		if ! CC=${compiler[$lane]} meson setup "$dir" ${options[$lane]} >"build/$lane.log" 2>&1; then
			tail -n 30 "build/$lane.log"
			echo "$lane: does not configure" >"build/$lane.broken"
			return
		fi
		printf '%s\n' "$config" >"$dir/.config"
	fi
	rm -f "$dir"/meson-logs/testlog* "build/$lane.broken" "build/$lane.skipped"
	if ! probe "$lane" "$dir" 2>"$dir/probe.log"; then
		echo "$lane: sanitized programs do not run here: $(head -n 1 "$dir/probe.log")" >"build/$lane.skipped"
		say "$(cat "build/$lane.skipped")"
		return
	fi
	# shellcheck disable=SC2086
	if ! watch "$lane" building "build/$lane.log" ninja -j "$jobs" -C "$dir" ${targets[$lane]:-meson-test-prereq}; then
		grep -aE -B1 -A20 'FAILED|error:' "build/$lane.log" | head -n 80
		echo "$lane: does not build" >"build/$lane.broken"
		return
	fi
	say "$lane: built in $((SECONDS - start)) s"
	start=$SECONDS
	watch "$lane" testing "build/$lane.log" "${WRAPPER[@]}" meson test -C "$dir" --no-rebuild \
		--num-processes "$jobs" --timeout-multiplier 4 ${tests[@]+"${tests[@]}"}
	say "$lane: tested in $((SECONDS - start)) s"
}

for lane in $lanes; do
	if [ -z "${compiler[$lane]:-}" ]; then
		echo "no lane $lane; there are: $all_lanes" >&2
		exit 2
	fi
done
for lane in $lanes; do
	run_lane "$lane"
done
# shellcheck disable=SC2086
exec /usr/bin/python3 scripts/tally.py $((SECONDS - began)) $lanes
