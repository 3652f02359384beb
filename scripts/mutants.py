#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mutants.py - does each seeded bug of port/check/mutants.txt make its test fail?

The sources stay clean: a copy of the tree is changed so that every bug is in it, each behind a switch that
the environment sets when a program starts. So one build has them all. The bugs are then switched on one after the
other, and the tests that are named for each must fail. A snippet that is no longer in its file is an error: the table is kept
up with the code.

usage: mutants.py [-j N] [NAME...]
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = 'port/check/mutants.txt'
WORK = os.path.join(ROOT, 'build', 'mutants')
SRC, BUILD = os.path.join(WORK, 'src'), os.path.join(WORK, 'build')
TIMEOUT = 150
PROBLEMS = []

HEADER = '''/* Made by scripts/mutants.py: in front of every file of the changed copy. */
#ifndef OCTAVO_MUTANTS_H
#define OCTAVO_MUTANTS_H
enum {{ MUTANT_none, {names} }};
__attribute__((weak)) unsigned int octavo_mutant;
__attribute__((weak)) void octavo_mutant_choose(void);
char *getenv(const char *);
__attribute__((weak, constructor, no_sanitize("thread"))) void octavo_mutant_choose(void)
{{
	const char *s = getenv("OCTAVO_MUTANT");
	unsigned int n = 0;

	while (s && *s)
		n = n * 10 + (unsigned int)(*s++ - '0');
	octavo_mutant = n;
}}
#define MUTANT(name) __builtin_expect(octavo_mutant == MUTANT_##name, 0)
#endif
'''


class Mutant:
    def __init__(self, name, path):
        self.name, self.path = name, path
        self.what, self.kill, self.changes, self.after = '', [], [], None


def die(message):
    sys.exit(f'mutants: {message}')


def parse(path):
    mutants, m = [], None
    for n, line in enumerate(open(path), 1):
        line = line.rstrip('\n')
        if not line.strip() or line.startswith('#'):
            continue
        head = re.match(r'\[(\w+)\]\s+(\S+)$', line)
        if head:
            m = Mutant(*head.groups())
            mutants.append(m)
            continue
        key, _, rest = line.partition(' ')
        if key == 'what':
            m.what = rest
        elif key == 'kill':
            m.kill.append(rest.split())
        elif key == 'after':
            m.after = rest
        elif re.match(r'[esr]-$', key):
            m.changes.append([key[0], rest, None, m.after])
        elif re.match(r'[esr]\+$', key):
            m.changes[-1][2] = rest
        else:
            die(f'{path}:{n}: {line}')
    for m in mutants:
        if not m.what or not m.kill or not m.changes or any(c[2] is None for c in m.changes):
            die(f'{m.name} is not complete')
    if len({m.name for m in mutants}) != len(mutants):
        die('a name is there twice')
    return mutants


def pattern(snippet):
    return r'\s+'.join(re.escape(w) for w in snippet.split())


def change(text, m, kind, old, new, after):
    start = 0
    if after:
        at = list(re.finditer(pattern(after), text))
        if not at:
            PROBLEMS.append(f'{m.name}: {m.path} has no "{after}"')
            return text
        start = at[0].end()
    found = [x for x in re.finditer(pattern(old), text) if x.start() >= start]
    if not found or (len(found) > 1 and not after):
        PROBLEMS.append(f'{m.name}: {m.path} has "{old}" {len(found)} times')
        return text
    x = found[0]
    was = x.group(0)
    if kind == 'e':
        put = f'(MUTANT({m.name}) ? ({new}) : ({was}))'
    elif kind == 's':
        put = f'{{ if (MUTANT({m.name})) {{ {new} }} else {{ {was} }} }}'
    else:
        put = new
    return text[:x.start()] + put + text[x.end():]


def write_if_changed(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.exists(path) and open(path, 'rb').read() == data:
        return
    with open(path, 'wb') as f:
        f.write(data)


def copy_tree(mutants):
    files = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split('\n')
    by_path = {}
    for m in mutants:
        by_path.setdefault(m.path, []).append(m)
    for path in filter(None, files):
        full = os.path.join(ROOT, path)
        if not os.path.isfile(full):
            continue
        data = open(full, 'rb').read()
        mode = os.stat(full).st_mode
        if path in by_path:
            text = data.decode()
            for m in by_path.pop(path):
                for c in m.changes:
                    text = change(text, m, *c)
            data = text.encode()
        write_if_changed(os.path.join(SRC, path), data)
        os.chmod(os.path.join(SRC, path), mode)
    PROBLEMS.extend('no such file: ' + p for p in by_path)
    if PROBLEMS:
        die('the table does not fit the code\n' + '\n'.join(PROBLEMS))
    names = ', '.join('MUTANT_' + m.name for m in mutants)
    write_if_changed(os.path.join(WORK, 'mutants.h'), HEADER.format(names=names).encode())


# A scenario without a bug in it is not explored to the end: make test does that.
def program(kill, number=1):
    if kill[0] == 'race':
        return (os.path.join(BUILD, 'port/check/octavo-race'),
                kill[1:] + ['--quiet', '--seconds', '120' if number else '5'])
    if kill[0] == 'test':
        return os.path.join(BUILD, 'tests/test_' + kill[1].replace('-', '_')), kill[2:]
    if kill[0] == 'race-corpus':
        return os.path.join(BUILD, 'fuzz/race_corpus'), [os.path.join(ROOT, 'fuzz/corpus/race')] + kill[1:]
    die('kill: race SCENARIO..., test NAME-VARIANT, or race-corpus NUMBER')


def build(mutants):
    targets = sorted({os.path.relpath(program(k)[0], BUILD) for m in mutants for k in m.kill})
    if not os.path.exists(os.path.join(BUILD, 'build.ninja')):
        subprocess.run(['meson', 'setup', BUILD, SRC, '-Dwerror=false', '-Dwarning_level=0',
                        f'-Dc_args=-include {WORK}/mutants.h'], check=True, stdout=subprocess.DEVNULL)
    r = subprocess.run(['ninja', '-C', BUILD, '--quiet'] + targets, capture_output=True, text=True)
    if r.returncode:
        die('the changed copy does not build\n' + r.stdout[-4000:])


def fails(kill, number, limit=TIMEOUT):
    """How it fails, None: it passes; and how long that took."""
    began = time.time()
    prog, args = program(kill, number)
    env = dict(os.environ, OCTAVO_MUTANT=str(number), CMOCKA_MESSAGE_OUTPUT='STDOUT')
    try:
        r = subprocess.run([prog] + args, env=env, timeout=limit, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return 'no end', limit
    return None if r.returncode == 0 else f'status {r.returncode}', time.time() - began


def main():
    args, jobs, names = sys.argv[1:], os.cpu_count() or 1, []
    while args:
        a = args.pop(0)
        if a == '-j' and args:
            jobs = int(args.pop(0))
        elif a.startswith('-'):
            sys.exit(__doc__)
        else:
            names.append(a)
    table = parse(os.path.join(ROOT, TABLE))
    unknown = set(names) - {m.name for m in table}
    if unknown:
        die('no such bug: ' + ' '.join(sorted(unknown)))
    todo = [m for m in table if not names or m.name in names]
    copy_tree(table)
    build(todo)
    start, survived = time.time(), []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        clean = {' '.join(k): pool.submit(fails, k, 0) for m in todo for k in m.kill}
        broken = [k for k, f in clean.items() if f.result()[0]]
        if broken:
            die('fails without any bug: ' + ', '.join(broken))
        # what hangs with a bug in it is found out soon; races may need longer with one than without
        runs = {m.name: [pool.submit(fails, k, table.index(m) + 1,
                                     TIMEOUT if k[0] == 'race' else 20 + 10 * clean[' '.join(k)].result()[1])
                         for k in m.kill] for m in todo}
        for m in todo:
            results = [f.result()[0] for f in runs[m.name]]
            alive = [' '.join(k) for k, r in zip(m.kill, results) if not r]
            if alive:
                survived.append(m)
                print(f'survived  {m.name}: {m.what}\n          not found by {", ".join(alive)}')
            else:
                print(f'killed    {m.name}: {m.what} ({", ".join(" ".join(k) for k in m.kill)})')
            sys.stdout.flush()
    print(f'{time.time() - start:.0f} s')
    print(f'{len(todo) - len(survived)} killed, {len(survived)} survived')
    sys.exit(1 if survived else 0)


if __name__ == '__main__':
    main()
