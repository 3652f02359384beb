#!/bin/sh
# SPDX-License-Identifier: MIT
# scripts/deps.sh against a machine made of stubs: what is installed, who we are, whether sudo works.
set -u
deps=$(cd "$(dirname "$0")/.." && pwd)/scripts/deps.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# A machine: every package installed but those in $missing.
machine() {
	rm -rf "$work/bin" "$work/calls" "$work/have"
	mkdir "$work/bin"
	for tool in sh head tr env cat grep; do
		ln -s "$(command -v $tool)" "$work/bin/$tool"
	done
	printf '#!/bin/sh\n' >"$work/bin/true"
	missing=$1 uid=$2 sudo=$3 lists=$4
	: >"$work/calls"
	[ "$lists" = stale ] || : >"$work/have"
	cat >"$work/bin/dpkg-query" <<-END
		#!/bin/sh
		for last; do :; done
		case " $missing " in *" \$last "*) echo not-installed; exit 1 ;; esac
		echo installed
	END
	cat >"$work/bin/id" <<-END
		#!/bin/sh
		echo $uid
	END
	cat >"$work/bin/apt-get" <<-END
		#!/bin/sh
		echo "apt-get \$*" >>"$work/calls"
		[ "\$1" != update ] || : >"$work/have"
		[ "\$1" = update ] || [ -f "$work/have" ]
	END
	if [ "$sudo" != none ]; then
		cat >"$work/bin/sudo" <<-END
			#!/bin/sh
			echo "sudo \$*" >>"$work/calls"
			[ $sudo = yes ] || exit 1
			[ "\$1" != -n ] || shift
			exec "\$@"
		END
	fi
	chmod +x "$work"/bin/*
}

deps() {
	PATH=$work/bin "$work/bin/sh" "$deps" "$@" >"$work/out" 2>&1 </dev/null
	status=$?
}

check() {
	if eval "$2"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "$1: not so: $2"
		sed 's/^/  out: /' "$work/out"
		sed 's/^/  call: /' "$work/calls"
	fi
}

says() { grep -q -e "$1" "$work/out"; }
called() { grep -q -e "$1" "$work/calls"; }

machine "" 0 none fresh
deps test
check "nothing is missing: silence" '[ $status = 0 ] && [ ! -s "$work/out" ] && [ ! -s "$work/calls" ]'

machine "libcmocka-dev clang" 0 none fresh
deps test
check "root installs what is missing, and only that" \
	'[ $status = 0 ] && called "^apt-get install .* clang libcmocka-dev$" && ! called update'
deps build
check "build needs no test packages" '[ $status = 0 ] && [ ! -s "$work/out" ]'

machine "meson" 0 none stale
deps build
check "lists that know nothing are fetched, once" \
	'[ $status = 0 ] && called "^apt-get update" && [ "$(grep -c install "$work/calls")" = 2 ]'

machine "meson" 1000 yes fresh
deps build
check "sudo without a password is used" \
	'[ $status = 0 ] && called "^sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install .* meson$"'

machine "meson ninja-build" 1000 no fresh
deps build
check "without the right the command is printed" \
	'[ $status = 1 ] && says "apt-get install -y --no-install-recommends meson ninja-build$" && ! called "^apt-get"'

machine "meson" 1000 none fresh
deps build
check "without sudo too" '[ $status = 1 ] && says "apt-get install .* meson$" && [ ! -s "$work/calls" ]'

machine "pkgconf" 0 none fresh
deps build
check "either of two packages will do" '[ $status = 0 ] && [ ! -s "$work/calls" ]'

machine "pkgconf pkg-config" 0 none fresh
deps build
check "the first of two is installed" '[ $status = 0 ] && called "install .* pkgconf$"'

machine "no-such" 0 none fresh
rm "$work/bin/dpkg-query"
deps test
check "another distribution is left alone" '[ $status = 0 ] && [ ! -s "$work/calls" ]'

machine "" 0 none fresh
deps everything
check "an unknown target is misuse" '[ $status = 2 ] && says usage'

machine "gcc" 0 none fresh
printf '#!%s/sh\necho "apt-get $*" >>"%s/calls"\nexit 100\n' "$work/bin" "$work" >"$work/bin/apt-get"
deps build
check "a failing apt-get is an error" '[ $status = 1 ] && says "could not install"'

echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
