#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Add up what the lanes of test.sh left in build/: test cases, not programs.

A test program that uses cmocka counts as its cases; one that dies counts what it had passed and one
failure. One that uses Python's unittest counts as its tests. Any other counts as one case, unless it prints a
line "N passed, N failed, N skipped".
Exit status 0 if nothing failed and something passed.
"""
import json
import os
import re
import sys

CASE = re.compile(r'^\[ +(OK|FAILED|SKIPPED|ERROR) +\] ([A-Za-z_]\w*)', re.M)
DONE = re.compile(r'^\[=+\] (?:[^:\n]*: )?\d+ test\(s\) run', re.M)
OWN = re.compile(r'^(\d+) passed, (\d+) failed, (\d+) skipped$', re.M)
# cmocka's verdicts that are failures, and what they say
FAILURES = {'FAILED': '', 'ERROR': ', in its setup or teardown'}
NO_NEWS = re.compile(r'^\[( +(OK|PASSED) +\]|=+\])')
LINES = 40
UNITTEST = re.compile(r'^Ran (\d+) tests? in .*\n\n(OK|FAILED)(?: \((.*)\))?$', re.M)


def count(test):
    """(passed, [failed names], [skipped names]) of one meson test."""
    out = test.get('stdout', '') + '\n' + test.get('stderr', '')
    name, result = test['name'].split(' / ')[-1], test['result']
    bad = result not in ('OK', 'SKIP', 'EXPECTEDFAIL')
    cases = {}
    for verdict, case in CASE.findall(out):
        # a failed case is listed again at the end: its first verdict stands unless a worse one follows
        if cases.get(case) not in FAILURES:
            cases[case] = verdict
    if cases:
        passed = sum(v == 'OK' for v in cases.values())
        failed = [f'{name}: {c}{FAILURES[v]}' for c, v in cases.items() if v in FAILURES]
        skipped = [f'{name}: {c}' for c, v in cases.items() if v == 'SKIPPED']
        if bad and not failed:
            died = '' if DONE.search(out) else ' before its last case'
            failed = [f'{name}: ended with {result}{died}, status {test.get("returncode")}']
        return passed, failed, skipped
    python = UNITTEST.search(out)
    if python:
        # a test fails once, however many of its parts do
        failed = sorted({f'{name}: {c}' for c in re.findall(r'^(?:FAIL|ERROR): (\w+)', out, re.M)})
        skipped = re.search(r'skipped=(\d+)', python.group(3) or '')
        skipped = [f'{name}: a case'] * int(skipped.group(1)) if skipped else []
        if bad and not failed:
            failed = [f'{name}: {result}']
        return max(int(python.group(1)) - len(failed) - len(skipped), 0), failed, skipped
    own = OWN.search(out)
    if own:
        p, f, s = map(int, own.groups())
        failed = [f'{name}: {f} cases'] * f or ([f'{name}: {result}'] if bad else [])
        return p, failed, [f'{name}: a case'] * s
    if result == 'SKIP':
        last = [line for line in out.splitlines() if line.strip()]
        return 0, [], [f'{name}: {last[-1] if last else "no reason given"}']
    if bad:
        return 0, [f'{name}: {result}'], []
    return 1, [], []


def reasons(test):
    """What a failed test printed, as far as it is news: errors first, no cases of cmocka's that passed."""
    out = test.get('stdout', '').splitlines()
    passed = {case for verdict, case in CASE.findall('\n'.join(out)) if verdict == 'OK'}
    news = [line for line in out if not NO_NEWS.match(line) and not (
        line.startswith('[ RUN ') and line.split()[-1] in passed)]
    lines = test.get('stderr', '').splitlines() + news
    if len(lines) > LINES:
        lines[LINES // 2:-LINES // 2] = [f'... {len(lines) - LINES} lines ...']
    return '\n'.join(lines)


def lane(name):
    """Totals of a lane, and the output of what failed."""
    for state in ('broken', 'skipped'):
        try:
            with open(f'build/{name}.{state}', encoding='utf-8') as f:
                why = [f.read().strip()]
            return (0, why, [], '', 0, 0) if state == 'broken' else (0, [], why, '', 0, 0)
        except FileNotFoundError:
            pass
    passed, failed, skipped, outputs, programs, seconds = 0, [], [], [], 0, 0.0
    path = f'build/{name}/meson-logs/testlog.json'
    if not os.path.exists(path):
        return 0, [f'{name}: ran no test'], [], '', 0, 0
    with open(path, encoding='utf-8') as f:
        for line in f:
            test = json.loads(line)
            p, bad, skip = count(test)
            programs += 1
            seconds += test.get('duration', 0)
            passed += p
            failed += bad
            skipped += skip
            if bad:
                outputs.append(f'---- {name}: {test["name"]}, {test["result"]}\n{reasons(test)}')
    if not programs:
        failed = [f'{name}: ran no test']
    return passed, failed, skipped, '\n'.join(outputs), programs, seconds


def main():
    seconds, lanes = int(sys.argv[1]), sys.argv[2:]
    totals = [0, 0, 0]
    rows, reports, skips, fails = [], [], [], []
    for name in lanes:
        p, bad, skip, output, programs, took = lane(name)
        totals[0] += p
        totals[1] += len(bad)
        totals[2] += len(skip)
        rows.append(f'{name}: {p} passed, {len(bad)} failed, {len(skip)} skipped'
                    f' ({programs} programs, {took:.0f} s)')
        reports += [output] if output else []
        fails += [f'failed  {name}  {b}' for b in bad]
        skips += [f'skipped {name}  {s}' for s in skip]
    print()
    for text in reports + skips + fails + rows:
        print(text)
    print(f'{seconds // 60} min {seconds % 60} s')
    print(f'{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped')
    return 0 if totals[0] and not totals[1] else 1


if __name__ == '__main__':
    sys.exit(main())
