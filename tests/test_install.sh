#!/bin/sh
# SPDX-License-Identifier: MIT
# What an embedder gets: install into an empty place, build the example against it with pkg-config, then
# two builds with different symbol prefixes in one program. What is looked at are files and names: compiled quickly.
set -u
src=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

check() {
	name=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "$name: failed: $*"
		tail -n 20 "$work/out"
	fi
}

install_into() {
	target=liboctavo.a
	if [ "$2" ]; then
		target=scripts/liboctavo.a
	fi
	check "configure $2" meson configure -Dsymbol_prefix="$2" "$work/build"
	check "build $2" ninja -C "$work/build" $target
	check "install $2" env DESTDIR="$work/$1" meson install -C "$work/build" --no-rebuild --tags devel,man
}

flags() {
	PKG_CONFIG_SYSROOT_DIR="$work/$1" PKG_CONFIG_PATH= PKG_CONFIG_LIBDIR="$work/$1/usr/lib/pkgconfig" \
		pkg-config "$2" octavo
}

# No global name but the prefix's, and no name missing that is not the port's.
only_prefixed() {
	nm -P --defined-only --extern-only "$work/$1/usr/lib/liboctavo.a" | awk 'NF > 1 { print $1 }' >"$work/defined"
	[ -s "$work/defined" ] && ! grep -v "^$1_" "$work/defined" &&
		! nm -P -u "$work/$1/usr/lib/liboctavo.a" | awk 'NF > 1 { print $1 }' |
		grep -vE "^($1_.*|octavo_port_.*|mem(cpy|set|move|cmp))\$"
}

check "configure" meson setup -Dtests=false -Ddebug=false -Doptimization=1 --prefix=/usr --libdir=lib "$work/build" "$src"
install_into plain ""
check "manual page" test -s "$work/plain/usr/share/man/man1/octavo.1"
check "headers" test -s "$work/plain/usr/include/octavo/octavo.h"
for cc in gcc clang; do
	command -v $cc >/dev/null || continue
	# shellcheck disable=SC2046
	check "$cc the example" $cc -std=gnu11 -Wall $(flags plain --cflags) "$src/examples/embed/embed.c" \
		$(flags plain --libs) -o "$work/embed"
	check "the example" "$work/embed"
done

for side in left right; do
	install_into $side ${side}_
	check "names of $side" only_prefixed $side
	# shellcheck disable=SC2046
	check "user of $side" gcc -std=gnu11 -Wall -Werror $(flags $side --cflags) -DUSER=$side \
		-c "$src/tests/prefix/user.c" -o "$work/$side.o"
done
# shellcheck disable=SC2046
check "link both" gcc -std=gnu11 -Wall -Werror $(flags left --cflags) "$src/tests/prefix/main.c" "$work/left.o" \
	"$work/right.o" "$work/left/usr/lib/liboctavo.a" "$work/right/usr/lib/liboctavo.a" -o "$work/both"
check "both at once" "$work/both"

echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
