#!/bin/sh
# SPDX-License-Identifier: MIT
# Install the Debian packages that a target needs and that are missing; touch nothing, and no network,
# when none is. Without the right to install: say the command, exit 1.
#
# usage: deps.sh build|test|bench|format
set -u

build="gcc libc6-dev binutils meson ninja-build pkgconf|pkg-config liburcu-dev liblz4-dev libzstd-dev liburing-dev"
case "${1:-}" in
build)	want="$build" ;;
bench)	want="$build libmimalloc-dev valgrind" ;;
format)	want="clang-format" ;;
test)	want="$build clang libclang-rt-14-dev clang-format libcmocka-dev" ;;
*)	echo "usage: $0 build|test|bench|format" >&2; exit 2 ;;
esac

# Not Debian: whoever packages for that system knows; the configure step says what it does not find.
command -v dpkg-query >/dev/null 2>&1 || exit 0

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | head -n 1)" = installed ]
}

# a|b: either will do, a is what gets installed
missing=
for alternatives in $want; do
	found=
	for p in $(echo "$alternatives" | tr '|' ' '); do
		if installed "$p"; then
			found=1
			break
		fi
	done
	[ "$found" ] || missing="$missing ${alternatives%%|*}"
done
[ "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
		as_root="sudo -n"
	elif command -v sudo >/dev/null 2>&1 && [ -t 0 ] && [ -t 2 ]; then
		as_root="sudo"
	else
		echo "These packages are missing; as root:" >&2
		echo "  apt-get install -y --no-install-recommends$missing" >&2
		exit 1
	fi
fi

echo "installing$missing"
apt_install() {
	# shellcheck disable=SC2086
	$as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -q --no-install-recommends $missing </dev/null
}
# The package lists of a fresh machine are empty, those of an old one stale: then fetch them first.
apt_install >/dev/null 2>&1 || { $as_root apt-get update -q && apt_install; } || {
	echo "apt-get could not install$missing" >&2
	exit 1
}
