#!/bin/sh
# SPDX-License-Identifier: MIT
# scripts/gdb/octavo-gdb.py on the example, stopped where it dumps a page of its folio.
#
# usage: test_gdb.sh PROGRAM
set -u
src=$(cd "$(dirname "$0")/.." && pwd)
command -v gdb >/dev/null || {
	echo "gdb is not installed"
	exit 77
}
out=$(gdb -nx -batch -ex "source $src/scripts/gdb/octavo-gdb.py" -ex 'break dump_page' -ex run -ex 'up' \
	-ex 'octavo-page $octavo_pfn(page)' -ex 'octavo-page $octavo_pfn(page) + 1' -ex 'octavo-page (folio->pfn_order_group & 0xffffffffff) + 5' \
	-ex 'octavo-folio folio' -ex 'octavo-page 0x9f' -ex 'octavo-page 0xffffff' -ex 'octavo-zones' \
	-ex 'octavo-regions 0x9e 0x100' -ex 'print $octavo_pfn($octavo_page(7))' "$1" 2>&1 </dev/null)
case $out in
*"ptrace: Operation not permitted"*|*"Could not trace"*)
	echo "gdb may not trace here"
	exit 77 ;;
esac
passed=0 failed=0
says() {
	if echo "$out" | grep -qE -e "$1"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not said: $1"
	fi
}
says '^pfn 0x[0-9a-f]+ \(node 0, ZONE_NORMAL\): word 0x[0-9a-f]{16}, misc driver, order 1, count 1$'
says '^  page 1 of the allocation at pfn 0x[0-9a-f]+: misc driver, order 1, count 1$'
says 'anon, struct folio 0x'
says '^  folio 0x[0-9a-f]+: pfn 0x[0-9a-f]+, order 9, group 0, count 1, mapcount 0'
says '^pfn 0x9f .* misc reserved, order 0, frozen'
says '^pfn 0xffffff: no such frame'
says '^node 0 ZONE_NORMAL: 16[0-9]+ present'
says '^  pfn 0x0 to 0x3fff$'
says '^pfn 0x9f to 0xff: misc$'
says '^\$1 = 7$'
[ $failed = 0 ] || echo "$out"
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
