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
SCENARIO = 'SCENARIO(two_walkers) = { SCENARIO_NAME(two_walkers),\n\t.rows = "S0.1",\n\t.about = "x" };\n'
results = []


def case(name, table, test, status, *lines, race=SCENARIO, file='test_x.c'):
    with tempfile.TemporaryDirectory() as tmp:
        for path, text in (('docs/requirements.md', table), (f'tests/{file}', test),
                           ('port/check/scenarios/x.c', race)):
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


case('rows and their tests', TABLE, TEST, 0, 'S0.1 test_a race two_walkers', 'S0.2 none', 'SX.3 moot: for a reason',
     '3 rows: 1 of 1 that apply have tests, 0 of 1 replaced, 1 moot')
case('several rows, several lines', TABLE, 'COVERS("S0.1 S0.2");\nCOVERS("SX.3");\n' + BODY, 0,
     'S0.1 test_a', 'S0.2 test_a', 'SX.3 test_a')
case('a row broken over two strings', TABLE, 'COVERS("S0.1 "\n       "S0.2");\n' + BODY, 0, 'S0.2 test_a')
case('a test in Python', TABLE, '# COVERS("S0.1 S0.2")\ndef test_b():\n    pass\n', 0, 'S0.1 test_b race', 'S0.2 test_b',
     file='x.py')
case('a row that there is not', TABLE, TEST.replace('S0.1', 'S0.9'), 1, 'names S0.9, which is no row')
case('above no test', TABLE, TEST.replace('test_a', 'helper'), 1, 'stands above no test')
case('a row twice', TABLE + '| S0.1 | Again. | applies | |\n', TEST, 1, 'S0.1 twice')
case('an unknown state', TABLE.replace('moot', 'later'), TEST, 1, 'not a row')
case('moot without a reason', TABLE.replace('for a reason', ''), TEST, 1, 'without a reason')
case('no table', 'Nothing.\n', '', 1, 'no rows')
case('a scenario alone', TABLE, '', 0, 'S0.1 race two_walkers', '1 of 1 that apply')
case('several rows of a scenario', TABLE, '', 0, 'S0.1 race two_walkers', 'S0.2 race two_walkers',
     race=SCENARIO.replace('"S0.1"', '"S0.1 "\n\t"S0.2"'))
SHARED = '#define BOTH .frames = 16, \\\n\t.rows = "S0.1"\n'
case('rows of a macro', TABLE, '', 0, 'S0.1 race one race two', 'S0.2 race three',
     race=SHARED + 'SCENARIO(one) = { BOTH };\nSCENARIO(two) = {\n\tBOTH,\n};\n'
     'SCENARIO(three) = { BOTH, .rows = "S0.2" };\n')
case('a macro that makes scenarios', TABLE, '', 0, 'S0.1 race one race two',
     race='#define MAKE(id, ...) SCENARIO(id) = { .rows = "S0.1", \\\n\t__VA_ARGS__ }\n'
     'MAKE(one, "text");\nMAKE(two,\n     "text");\n')
case('a scenario names a row that there is not', TABLE, TEST, 1, 'x.c:1: two_walkers names S0.9, which is no row',
     race=SCENARIO.replace('S0.1', 'S0.9'))
case('rows of a scenario that must fail', TABLE, TEST, 1, 'x.c:1: .rows of no scenario that must pass',
     race=SCENARIO.replace('.about', '.expects = EXPECT_VIOLATION, .about'))
case('rows outside', TABLE, TEST, 1, 'x.c:4: .rows of no scenario', race=SCENARIO + 'x = { .rows = "S0.1" };\n')
case('a macro that nobody uses', TABLE, TEST, 1, 'x.c:4: .rows of no scenario', race=SCENARIO + '#define X .rows = "S0.1"\n')
case('rows in a comment', TABLE, '', 0, 'S0.2 none', race=SCENARIO + '/* .rows = "S0.2" */\n')
case('no scenarios', TABLE, TEST, 1, 'no scenario names a row', race='')

print(f'{sum(results)} passed, {len(results) - sum(results)} failed, 0 skipped')
sys.exit(0 if all(results) else 1)
