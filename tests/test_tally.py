#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""scripts/tally.py: a failure, a crash, a lane that did not build or ran nothing is never a pass."""
import json
import os
import subprocess
import sys
import tempfile

TALLY = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'scripts', 'tally.py')

GOOD = '''[==========] x: Running 2 test(s).
[ RUN      ] test_a
[       OK ] test_a
[ RUN      ] test_b
[       OK ] test_b
[==========] x: 2 test(s) run.
[  PASSED  ] 2 test(s).
'''
BAD = '''[==========] Running 3 test(s).
[ RUN      ] test_a
[       OK ] test_a
[ RUN      ] test_b
[  ERROR   ] --- 1 != 2
[  FAILED  ] test_b
[ RUN      ] test_c
[  SKIPPED ] test_c
[==========] 3 test(s) run.
[  PASSED  ] 1 test(s).
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] test_c
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] test_b
'''
CRASH = '[ RUN      ] test_a\n[       OK ] test_a\n[ RUN      ] test_b\n'

# how cmocka says that a teardown failed: on stderr, and not in its list of failures
TEARDOWN = ('[==========] Running 2 test(s).\n[ RUN      ] test_a\n[       OK ] test_a\n[ RUN      ] test_b\n'
            '[==========] 2 test(s) run.\n[  PASSED  ] 1 test(s).\n',
            'Could not run test: 0x3 != 0\n[   LINE   ] --- x.c:8: error: Failure!Test teardown failed\n'
            '[  ERROR   ] test_b\n')

results = []


def case(name, lanes, last, status, says=''):
    """@lanes: name -> list of (result, stdout or a pair of it and stderr), or a string: it is broken or skipped."""
    with tempfile.TemporaryDirectory() as tmp:
        for lane, tests in lanes.items():
            logs = os.path.join(tmp, 'build', lane, 'meson-logs')
            os.makedirs(logs)
            if isinstance(tests, str):
                with open(os.path.join(tmp, 'build', f'{lane}.{tests}'), 'w', encoding='utf-8') as f:
                    f.write('a reason\n')
            elif tests is not None:
                with open(os.path.join(logs, 'testlog.json'), 'w', encoding='utf-8') as f:
                    for i, (result, out) in enumerate(tests):
                        out, err = out if isinstance(out, tuple) else (out, '')
                        f.write(json.dumps({'name': f'octavo:unit / t{i}', 'stdout': out, 'stderr': err,
                                            'result': result, 'duration': 1, 'returncode': 0}) + '\n')
        r = subprocess.run([sys.executable, TALLY, '75', *lanes], cwd=tmp, text=True, capture_output=True,
                           check=False)
        got = r.stdout.rstrip('\n').split('\n')[-1]
        ok = got == last and r.returncode == status and says in r.stdout
        results.append(ok)
        if not ok:
            print(f'{name}: "{got}", status {r.returncode}, not "{last}", {status}\n{r.stdout}{r.stderr}')


case('cases are counted, not programs', {'gcc': [('OK', GOOD), ('OK', GOOD)]}, '4 passed, 0 failed, 0 skipped', 0)
case('lanes add up', {'gcc': [('OK', GOOD)], 'clang': [('OK', GOOD)]}, '4 passed, 0 failed, 0 skipped', 0)
case('a failed and a skipped case', {'gcc': [('FAIL', BAD)]}, '1 passed, 1 failed, 1 skipped', 1)
case('what failed is said without what passed', {'gcc': [('FAIL', BAD)]}, '1 passed, 1 failed, 1 skipped', 1,
     says='t0, FAIL\n[ RUN      ] test_b\n[  ERROR   ] --- 1 != 2\n[  FAILED  ] test_b\n')
case('a teardown that fails', {'gcc': [('FAIL', TEARDOWN)]}, '1 passed, 1 failed, 0 skipped', 1,
     says=TEARDOWN[1] + '[ RUN      ] test_b\nfailed  gcc  t0: test_b, in its setup or teardown\n')
case('much output is cut in the middle', {'gcc': [('FAIL', CRASH + 'x\n' * 100 + 'the end\n')]},
     '1 passed, 1 failed, 0 skipped', 1, says='x\n... 62 lines ...\nx')
case('a crash is a failure', {'gcc': [('FAIL', CRASH)]}, '1 passed, 1 failed, 0 skipped', 1)
case('a timeout is a failure', {'gcc': [('TIMEOUT', GOOD)]}, '2 passed, 1 failed, 0 skipped', 1)
case('a script is one case', {'gcc': [('OK', 'fine\n')]}, '1 passed, 0 failed, 0 skipped', 0)
case('a script that counts', {'gcc': [('OK', '7 passed, 0 failed, 0 skipped\n')]}, '7 passed, 0 failed, 0 skipped', 0)
case('a script that fails', {'gcc': [('FAIL', 'no\n'), ('OK', GOOD)]}, '2 passed, 1 failed, 0 skipped', 1)
case('a script that says it passed and failed', {'gcc': [('FAIL', '7 passed, 0 failed, 0 skipped\n')]},
     '7 passed, 1 failed, 0 skipped', 1)
case('unittest', {'gcc': [('OK', 'x\nRan 19 tests in 7.5s\n\nOK (skipped=2)\n')]}, '17 passed, 0 failed, 2 skipped', 0)
case('unittest that fails', {'gcc': [('FAIL', 'FAIL: test_a (x) (i=1)\nFAIL: test_a (x) (i=2)\nERROR: test_b (x)\n'
                                     '\nRan 9 tests in 7.5s\n\nFAILED (failures=2, errors=1)\n')]},
     '7 passed, 2 failed, 0 skipped', 1)
case('a skipped script', {'gcc': [('SKIP', 'no permission\n'), ('OK', GOOD)]}, '2 passed, 0 failed, 1 skipped', 0)
case('a lane that does not build', {'gcc': [('OK', GOOD)], 'clang': 'broken'}, '2 passed, 1 failed, 0 skipped', 1)
case('a lane that cannot run here', {'gcc': [('OK', GOOD)], 'tsan': 'skipped'}, '2 passed, 0 failed, 1 skipped', 0)
case('a lane without tests', {'gcc': []}, '0 passed, 1 failed, 0 skipped', 1)
case('a lane without a log', {'gcc': None}, '0 passed, 1 failed, 0 skipped', 1)
case('all skipped is no pass', {'tsan': 'skipped'}, '0 passed, 0 failed, 1 skipped', 1)

print(f'{sum(results)} passed, {len(results) - sum(results)} failed, 0 skipped')
sys.exit(0 if all(results) else 1)
