#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""scripts/conformance: what it prints, and that it fails on rows and tests that do not fit."""
import os
import subprocess
import sys
import tempfile

CONFORMANCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'scripts', 'conformance')

TABLE = '''| id | requirement | state | note |
|---|---|---|---|
| S0.1 | One thing. | applies | foundation |
| S0.2 | Another. | replaced | by this |
| SX.3 | A third. | moot | for a reason |
'''
TEST = 'COVERS("S0.1");\nstatic void test_a(void **state)\n{\n}\n'
BODY = TEST.split('\n', 1)[1]
results = []


def case(name, table, test, status, *lines):
    with tempfile.TemporaryDirectory() as tmp:
        for path, text in (('docs/requirements.md', table), ('tests/test_x.c', test)):
            os.makedirs(os.path.join(tmp, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(tmp, path), 'w', encoding='utf-8') as f:
                f.write(text)
        r = subprocess.run([sys.executable, CONFORMANCE, '--root', tmp], text=True, capture_output=True,
                           check=False)
        said = (r.stdout + r.stderr).splitlines()
        ok = r.returncode == status and all(any(want in s for s in said) for want in lines)
        results.append(ok)
        if not ok:
            print(f'{name}: status {r.returncode}\n{r.stdout}{r.stderr}')


case('rows and their tests', TABLE, TEST, 0, 'S0.1 test_a', 'S0.2 none', 'SX.3 moot: for a reason',
     '3 rows: 1 of 1 that apply have tests, 0 of 1 replaced, 1 moot')
case('several rows, several lines', TABLE, 'COVERS("S0.1 S0.2");\nCOVERS("SX.3");\n' + BODY, 0,
     'S0.1 test_a', 'S0.2 test_a', 'SX.3 test_a')
case('a row broken over two strings', TABLE, 'COVERS("S0.1 "\n       "S0.2");\n' + BODY, 0, 'S0.2 test_a')
case('a row that there is not', TABLE, TEST.replace('S0.1', 'S0.9'), 1, 'names S0.9, which is no row')
case('above no test', TABLE, TEST.replace('test_a', 'helper'), 1, 'stands above no test')
case('a row twice', TABLE + '| S0.1 | Again. | applies | |\n', TEST, 1, 'S0.1 twice')
case('an unknown state', TABLE.replace('moot', 'later'), TEST, 1, 'not a row')
case('moot without a reason', TABLE.replace('for a reason', ''), TEST, 1, 'without a reason')
case('no table', 'Nothing.\n', '', 1, 'no rows')

print(f'{sum(results)} passed, {len(results) - sum(results)} failed, 0 skipped')
sys.exit(0 if all(results) else 1)
