#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""race.py - the command octavo-race from the outside: statuses, replay, JSON, HTML, interruption."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

RACE = sys.argv[1]
FAILED = []


def run(*args):
    return subprocess.run([RACE, *args], capture_output=True, text=True)


def check(what, good):
    if not good:
        FAILED.append(what)
        print('failed:', what)


def one(*args):
    r = run(*args, '--json')
    return r.returncode, json.loads(r.stdout)


def test_replay_repeats_bit_for_bit():
    for name in 'litmus_sb_acq_rel', 'k1_tg_relaxed', 'litmus_livelock', 'k5_walker_adds':
        status, found = one(name)
        check(f'{name} is found', status == 0 and found['outcome'] == 'violation')
        status, again = one(name, '--replay', found['schedule'])
        check(f'{name} is replayed with status 1', status == 1)
        check(f'{name} is the same again', again['why'] == found['why'] and again['trace'] == found['trace'])


def test_random_modes_find_and_shrink():
    for mode in 'pct', 'random':
        status, found = one('k1_no_reread', '--mode', mode, '--executions', '20000', '--seed', '7')
        check(f'{mode} finds', status == 0 and found['outcome'] == 'violation')
        status, again = one('k1_no_reread', '--replay', found['schedule'])
        check(f'{mode} shrinks to a schedule that fails', status == 1 and len(found['schedule'].split('.')) <= 6)


def test_cutting_short_loses_no_end():
    for name in 'folio_put_walk', 'plain_reuse_walk', 'movable_reuse', 'frame_two':
        _, cut = one(name)
        _, all_ = one(name, '--no-cut')
        check(f'{name}: as many ends', cut['ends'] == all_['ends'] and cut['complete'] and all_['complete'])
        check(f'{name}: fewer executions', 0 < cut['executions'] - cut['cut'] < all_['executions'])


def test_interleavings_alone_miss_orders():
    status, r = one('litmus_sb_acq_rel', '--stale', '0')
    check('without stale reads store buffering is not seen', status == 1 and r['outcome'] == 'clean')


def test_statuses():
    check('clean is 0', run('litmus_corr').returncode == 0)
    check('unknown scenario is 2', run('no_such_scenario').returncode == 2)
    check('unknown option is 2', run('--no-such-option').returncode == 2)
    check('a number is a number', run('litmus_corr', '--bound', 'x').returncode == 2)
    check('a broken schedule is 2', run('litmus_corr', '--replay', '3x1').returncode == 2)
    check('a schedule of something else is 2', run('litmus_corr', '--replay', '999p1').returncode == 2)
    check('a schedule needs one scenario', run('litmus', '--replay', '-').returncode == 2)
    check('help is 0', run('--help').returncode == 0)
    check('list lists', 'folio_put_walk' in run('--list').stdout)
    check('list is sorted and picks', run('--list', 'litmus_mp').stdout.count('\n') == 5)


def test_html():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'trace.html')
        run('k1_no_reread', '--html', path)
        page = open(path).read()
        check('the page has a column a thread', page.count('<th') == 3 and '<script' not in page)
        check('and the schedule', '--replay' in page)


def test_record():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'record')
        with open(path, 'w') as f:
            f.write('litmus_corr 100000\n')
        r = run('litmus_corr', '--record', path)
        check('fewer executions than recorded is 1', r.returncode == 1 and 'FEWER' in r.stdout)


def catches(pid, sig):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        caught = next(line.split()[1] for line in f if line.startswith('SigCgt:'))
    return int(caught, 16) >> (sig - 1) & 1


def test_interrupted():
    p = subprocess.Popen([RACE, 'frame_three', '--bound', '4'], stdout=subprocess.PIPE, text=True)
    # not before it catches the signal, however late it gets to run
    while p.poll() is None and not catches(p.pid, signal.SIGINT):
        time.sleep(0.01)
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate()
    check('says where it was', 'INTERRUPTED at' in out)


for name, fn in list(globals().items()):
    if name.startswith('test_'):
        fn()
sys.exit(bool(FAILED))
