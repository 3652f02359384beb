#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench.py - every benchmark runs, reports what it is there for, and each peer's figure beside ours.

usage: bench.py TOOL

Small and quick: the figures are looked at for being figures only.
"""
import json
import os
import re
import subprocess
import sys

TOOL = sys.argv[1]
FAILED = []

# Some of the cases that each must have: what the requirements ask to be measured, and beside what.
CASES = {
    'frames': {},
    'folios': {'exclusive/512-pages': 'page-by-page', 'repeat/order0/cpus1': 'bare-frames', 'split/order9-to-0': None,
               'merge/order0-to-9': None, 'words-fill/512': 'one-by-one', 'pfn-walk': 'sum-of-words'},
    'slab': {},
    'vs-linux': {'populate/4K': 'linux', 'zap/4K': 'linux', 'fork/4K': 'linux', 'cow/4K': 'linux',
                 'mprotect/4K': 'linux', 'mremap/4K': 'linux', 'fault/cpus2/one-mm': 'linux', 'fault/scaling/two-mm': 'linux',
                 'fault/scaling/one-mm': 'linux'},
    'vmap': {'map-100MiB/folios/order9': 'order0', 'map-100MiB/pages/order8': 'order0', 'vmalloc/4KiB/cpus2': 'contiguous',
             'vmalloc/random/cpus1': None, 'kept/100MiB/order9': 'array-of-pointers'},
    'gup': {'pin-fast/4K': None, 'pin-fast/2M': None, 'pin-slow/4K': None},
    'device': {'to-device/2048KiB/2MiB': 'memcpy', 'to-system/2048KiB/2MiB': 'memcpy', 'to-device/2048KiB/64KiB/time': '4KiB'},
    'exclusive': {'set-or-clear/512-pages': 'page-by-page', 'set+share/512-pages': 'page-by-page'},
    'unmap': {'out/4K': 'one-at-a-time', 'out/64K': 'one-at-a-time', 'out/2M': 'one-at-a-time', 'back/64K': None, 'pageout/4K': None,
              'pagein/64K': None},
}


def check(what, good):
    if not good:
        FAILED.append(what)
        print('failed:', what)


def run(*args):
    return subprocess.run([TOOL, 'bench', *args], capture_output=True, text=True, check=False)


# COVERS("SX.11")
def test_bench_every_one_runs():
    names = re.findall(r'^  (\w[\w-]*)  ', run('--help').stdout, re.M)
    check('the benchmarks are these', sorted(names) == sorted(CASES))
    for name in names:
        r = run(name, '--quick', '--json')
        check(f'{name}: status 0', r.returncode == 0)
        rows = {row['case']: row for row in map(json.loads, r.stdout.splitlines()) if row['bench'] == name}
        check(f'{name}: several cases', len(rows) > 3)
        for case, row in rows.items():
            check(f'{name} {case}: a figure', isinstance(row['value'], (int, float)) and row['unit'])
            check(f'{name} {case}: the peer\'s too', not row['peer'] or isinstance(row['peer_value'], (int, float)))
        for case, peer in CASES.get(name, {}).items():
            check(f'{name} {case} is there, beside {peer}', case in rows and (not peer or rows[case]['peer'] == peer))


def test_bench_gpu():
    """With whatever this machine has: figures with a name beside each, or a reason and none."""
    r = run('device', '--quick', '--json', '--device', 'cuda')
    rows = [row for row in map(json.loads, r.stdout.splitlines()) if row['bench'] == 'device']
    check('device cuda: status 0', r.returncode == 0)
    if 'skipped: ' in r.stderr:
        check('device cuda: skipped with a reason', not rows and len(r.stderr) > len('octavo bench device: skipped: '))
    else:
        check('device cuda: the GPU has a name', len(rows) > 3 and all(row['on'] for row in rows))
    env = dict(os.environ, OCTAVO_CUDA_LIBRARY='/nowhere/libcuda.so.1')
    r = subprocess.run([TOOL, 'bench', 'device', '--quick', '--device', 'cuda'], capture_output=True, text=True, check=False, env=env)
    check('device cuda without a library: a reason', r.returncode == 0 and 'skipped: no CUDA driver library: /nowhere' in r.stdout)


def test_bench_refuses():
    check('an unknown benchmark is 2', run('no-such').returncode == 2)
    check('an unknown option is 2', run('--no-such').returncode == 2)
    check('an unknown device is 2', run('--device', 'abacus').returncode == 2)


test_bench_every_one_runs()
test_bench_gpu()
test_bench_refuses()
sys.exit(bool(FAILED))
