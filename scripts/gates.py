#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Rules of the project that a script can check. scripts/gates_selftest.py shows that each can fail.

usage: gates.py [--root DIR] GATE [ARGUMENT...]

  includes                  layer order and freestanding headers, by #include
  symbols ARCHIVE           layer order and undefined symbols, by nm
  state ARCHIVE             nothing writable outside section .octavo_state, nothing thread-local
  atomics                   no atomics, volatile or assembly outside atomic*.h
  style                     licence lines, clang-format
  docs                      every function in include/octavo has a comment that fits it
  defined ARCHIVE...        every function in include/octavo is defined in one of these
  headers CC...             each header in include/octavo compiles alone, without a C library
  freestanding CC           the core compiles as a kernel would compile it, and is linkable as one

Prints one line for each thing that is wrong and exits 1; else one line with how much it looked at, because
a check that looked at nothing has not passed.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

# Lowest first. A layer may use itself and those before it.
LAYERS = ['lib', 'mm/frame', 'mm/desc', 'mm/swap', 'mm/table', 'mm/rmap', 'mm/space', 'mm/reclaim', 'mm/device', 'mm/kmap', 'mm']

# Public headers that belong to a layer; all others are types and macros that any layer may include.
HEADER_LAYER = {
    'page.h': 'mm/frame', 'plain.h': 'mm/frame', 'frame.h': 'mm/frame', 'hwpoison.h': 'mm/frame',
    'folio.h': 'mm/desc', 'slab.h': 'mm/desc', 'desc.h': 'mm/desc', 'pfnwalk.h': 'mm/desc',
    'pgtable.h': 'mm/table', 'tlb.h': 'mm/table', 'mmu_notifier.h': 'mm/table',
    'rmap.h': 'mm/rmap', 'mm.h': 'mm/space', 'gup.h': 'mm/space', 'migrate.h': 'mm/rmap',
    'vmalloc.h': 'mm/kmap', 'swap.h': 'mm/swap', 'zpool.h': 'mm/swap', 'reclaim.h': 'mm/reclaim', 'memcontrol.h': 'mm/reclaim', 'memremap.h': 'mm/device', 'hmm.h': 'mm/device',
    'octavo.h': 'mm',
}

# Each layer defines there how it comes up and goes down; what it calls, the symbols say.
SHARED = {'mm/init.h'}

FREESTANDING = {'float.h', 'iso646.h', 'limits.h', 'stdalign.h', 'stdarg.h', 'stdatomic.h', 'stdbool.h',
                'stddef.h', 'stdint.h', 'stdnoreturn.h'}

# What the embedder supplies.
LIBC = {'memcpy', 'memset', 'memmove', 'memcmp'}
PORT = 'octavo_port_'

# clang-format may be off here only: tables.
FORMAT_OFF = {'include/octavo/atomic.h', 'tests/test_matrix.c'}

# Declared for somebody who is not in any archive: the C library, the interleaving checker.
DEFINED_ELSEWHERE = {'string.h', 'atomic_check.h'}


class Gate:
    """Collects what is wrong and counts what was looked at."""

    def __init__(self, root):
        self.root = root
        self.bad = []
        self.looked = 0

    def fail(self, where, what):
        self.bad.append(f'{where}: {what}')

    def files(self, *tops, ext=('.c', '.h')):
        """Sorted paths below @tops, relative to the root."""
        found = []
        for top in tops:
            for d, dirs, names in os.walk(os.path.join(self.root, top)):
                dirs[:] = [x for x in dirs if not x.startswith(('build', '.'))]
                found += [os.path.relpath(os.path.join(d, n), self.root) for n in names
                          if n.endswith(ext)]
        return sorted(found)

    def read(self, path):
        with open(os.path.join(self.root, path), encoding='utf-8') as f:
            return f.read()


def run(*argv, ok=True, **kw):
    r = subprocess.run(argv, text=True, capture_output=True, **kw)
    if ok and r.returncode:
        sys.exit(f'{" ".join(argv[:3])} ...: status {r.returncode}\n{r.stdout}{r.stderr}')
    return r


def no_comments(text):
    """@text with comments blanked out, lines kept."""
    return re.sub(r'/\*.*?\*/|//[^\n]*', lambda m: re.sub(r'[^\n]', ' ', m.group()), text, flags=re.S)


def layer_of_path(path):
    d = os.path.dirname(path)
    while d and d not in LAYERS:
        d = os.path.dirname(d)
    return d or None


def above(a, b):
    """Is layer @a above layer @b?"""
    return LAYERS.index(a) > LAYERS.index(b)


# ---- by source ----

def gate_includes(g):
    headers = [f for f in g.files('include/octavo')]
    for path in g.files('lib', 'mm') + headers:
        name = os.path.basename(path)
        layer = HEADER_LAYER.get(name) if path in headers else layer_of_path(path)
        for n, line in enumerate(no_comments(g.read(path)).splitlines(), 1):
            m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if not m:
                continue
            g.looked += 1
            where, inc = f'{path}:{n}', m.group(2)
            if m.group(1) == '"':
                target = os.path.normpath(os.path.join(os.path.dirname(path), inc))
                if not os.path.exists(os.path.join(g.root, target)):
                    target = inc
                its = layer_of_path(target)
                if target in SHARED:
                    continue
                if path in headers or its is None:
                    g.fail(where, f'"{inc}" is not a private header of a layer')
                elif above(its, layer):
                    g.fail(where, f'{layer} includes {inc} of {its}, a layer above')
            elif inc.startswith('octavo/'):
                its = HEADER_LAYER.get(os.path.basename(inc))
                if its and (layer is None or above(its, layer)):
                    g.fail(where, f'{layer or "a common header"} includes {inc} of {its}, a layer above')
            elif inc not in FREESTANDING:
                g.fail(where, f'<{inc}> is not freestanding')
    return 'includes'


def gate_atomics(g):
    rules = [
        (r'\bvolatile\b', 'volatile'),
        (r'\b__(atomic|sync)_\w+|\b_Atomic\b|\bstdatomic\.h\b', 'an atomic'),
        (r'\b(__)?asm(__)?\b', 'assembly'),
        (r'\b(__thread|_Thread_local)\b', 'thread-local storage'),
    ]
    for path in g.files('lib', 'mm', 'include/octavo'):
        name = os.path.basename(path)
        if path.startswith('include/') and (name.startswith('atomic') or name == 'compiler.h'):
            continue
        g.looked += 1
        for n, line in enumerate(no_comments(g.read(path)).splitlines(), 1):
            for pattern, what in rules:
                if re.search(pattern, line):
                    g.fail(f'{path}:{n}', f'{what} outside atomic*.h')
    return 'files'


MESON = ('meson.build', 'meson_options.txt')


def tracked(g):
    r = subprocess.run(['git', '-C', g.root, 'ls-files', '-co', '--exclude-standard'], text=True,
                       capture_output=True)
    if r.returncode == 0:
        return [f for f in r.stdout.splitlines() if os.path.isfile(os.path.join(g.root, f))]
    return g.files('.', ext=('.c', '.h', '.py', '.sh') + MESON)


def gate_style(g):
    files = tracked(g)
    for path in files:
        name = os.path.basename(path)
        script = path.startswith(('scripts/', '.ci/')) or name == 'Makefile'
        if not (name.endswith(('.c', '.h', '.py', '.sh')) or name in MESON or script):
            continue
        g.looked += 1
        text = g.read(path)
        if not any('SPDX-License-Identifier: MIT' in line for line in text.splitlines()[:2]):
            g.fail(f'{path}:1', 'no SPDX-License-Identifier: MIT')
        if not name.endswith(('.c', '.h')):
            continue
        if 'clang-format off' in text and path not in FORMAT_OFF:
            g.fail(path, 'clang-format off')
    c = [f for f in files if f.endswith(('.c', '.h'))]
    if c:
        r = run('clang-format', '--dry-run', '-Werror', *c, ok=False, cwd=g.root)
        wrong = sorted(set(re.findall(r'^(\S+?):\d+:\d+: error: code should', r.stderr, re.M)))
        for path in wrong:
            g.fail(path, 'is not as clang-format would have it (make format)')
        if r.returncode and not wrong:
            g.fail('clang-format', r.stderr.strip()[:400])
    return 'files'


class Function:
    """A function declared or defined in a header."""

    def __init__(self, name, params, comment, inline, line, statements):
        self.name, self.params, self.comment = name, params, comment
        self.inline, self.line, self.statements = inline, line, statements


ITEM = re.compile(r'\s*(/\*.*?\*/|#[^\n]*(?:\\\n[^\n]*)*|[;{}]|"(?:[^"\\]|\\.)*"|[^\s;{}/#"]+|/)', re.S)


def functions(text):
    """The functions of a header, each with the comment that speaks of it.

    A comment speaks of what follows it without an empty line, and so on down the run.
    """
    text = text.replace('\r', '')
    # preprocessor lines away, lines kept; a run does not end at one
    text = re.sub(r'^[ \t]*#[^\n]*(?:\\\n[^\n]*)*',
                  lambda m: '\n'.join('/**/' for _ in m.group().split('\n')), text, flags=re.M)
    out = []
    comment, decl, depth, start, end = None, '', 0, 0, 0
    body = ''
    for m in ITEM.finditer(text):
        tok = m.group(1)
        at = m.start(1)
        if tok == '/**/':
            end = m.end() if not decl else end
            continue
        if tok.startswith('/*'):
            if depth == 0 and not decl.strip():
                comment, end = tok, m.end()
            continue
        if depth == 0 and not decl:
            if text[end:at].count('\n') > 1:
                comment = None
            start = at
        if tok == '{':
            depth += 1
            body += ' '
        elif tok == '}':
            depth -= 1
            if depth == 0 and is_function(decl):
                out.append(make(decl, comment, text, start, body))
                decl, body, end = '', '', m.end()
        elif tok == ';' and depth == 0:
            if is_function(decl) and not body:
                out.append(make(decl, comment, text, start, None))
            decl, body, end = '', '', m.end()
        elif depth == 0:
            decl += (' ' if text[m.start():at] else '') + tok
        else:
            body += tok
            continue
        if depth and tok == ';':
            body += ';'
    return out


def is_function(decl):
    d = decl.strip()
    return bool(re.match(r'[\w\s*]+\(', d)) and not re.match(
        r'(typedef|_Static_assert|BUILD_BUG_ON|extern\s+struct\s+\w+\s+\w+$)\b', d) and '=' not in d


def make(decl, comment, text, start, body):
    m = re.match(r'([\w\s*]+?)(\w+)\s*\((.*)', decl.strip(), re.S)
    depth, params, part = 1, [], ''
    for ch in m.group(3):
        depth += (ch == '(') - (ch == ')')
        if depth == 0:
            break
        if ch == ',' and depth == 1:
            params.append(part)
            part = ''
        else:
            part += ch
    params.append(part)
    names = set()
    for p in params:
        inner = re.search(r'\(\s*\*\s*(\w+)\s*\)', p)
        ids = re.findall(r'\w+', re.sub(r'\[.*', '', p))
        names.add(inner.group(1) if inner else ids[-1] if ids else '...')
    return Function(m.group(2), names, comment, body is not None, text.count('\n', 0, start) + 1,
                    0 if body is None else body.count(';'))


def header_functions(g):
    for path in g.files('include/octavo'):
        for f in functions(g.read(path)):
            yield path, f


def gate_docs(g):
    for path, f in header_functions(g):
        if os.path.basename(path) in DEFINED_ELSEWHERE:
            continue
        g.looked += 1
        where = f'{path}:{f.line}'
        if not f.comment:
            # a getter or setter of a statement or two says itself what it does; a name with __ is not
            # for others
            if f.statements > 2 or not (f.inline or f.name.startswith('__')):
                g.fail(where, f'{f.name}() has no comment')
            continue
        m = re.match(r'/\*\*\s*\n\s*\*\s*(?:struct\s+)?(\w+)(\(\))? - ', f.comment)
        if f.comment.startswith('/**') and not m:
            g.fail(where, f'{f.name}(): a kernel-doc comment starts with "name() - "')
        elif m and m.group(2) and m.group(1) == f.name:
            for p in re.findall(r'^\s*\*\s*@(\w+|\.\.\.):', f.comment, re.M):
                if p not in f.params:
                    g.fail(where, f'{f.name}() has no parameter {p}')
    seen = {f.name for _, f in header_functions(g)}
    for path in g.files('include/octavo'):
        for m in re.finditer(r'^/\*\*\s*\n\s*\*\s*(\w+)\(\) - ', g.read(path), re.M):
            defined = re.search(r'#define ' + m.group(1) + r'\b', g.read(path))
            if m.group(1) not in seen and not defined:
                g.fail(path, f'kernel-doc of {m.group(1)}(), which is not there')
    return 'functions'


def gate_headers(g, *compilers):
    warn = ['-Wall', '-Wextra', '-Wundef', '-Wno-unused-parameter', '-Werror', '-pedantic',
            '-Wno-gnu-statement-expression', '-Wno-language-extension-token',
            '-Wno-gnu-zero-variadic-macro-arguments', '-Wno-empty-translation-unit']
    for cc in compilers:
        own = run(cc, '-print-file-name=include').stdout.strip()
        if not os.path.isdir(own):
            own = run(cc, '-print-resource-dir').stdout.strip() + '/include'
        # gcc calls every statement expression pedantic and can't be told otherwise
        clang = 'clang' in run(cc, '--version').stdout
        flags = [w for w in warn if clang or w != '-pedantic']
        for path in g.files('include/octavo', ext=('.h',)):
            for back_end in ('0', '1', '2'):
                # the back ends are parts of atomic.h
                if os.path.basename(path).startswith('atomic_'):
                    continue
                g.looked += 1
                src = f'#include <octavo/{os.path.relpath(path, os.path.join("include", "octavo"))}>\n'
                r = run(cc, '-std=gnu11', '-ffreestanding', '-nostdinc', '-isystem', own, *flags,
                        f'-DOCTAVO_ATOMIC={back_end}', '-I', os.path.join(g.root, 'include'),
                        '-fsyntax-only', '-x', 'c', '-', ok=False, input=src)
                if r.returncode:
                    g.fail(path, f'does not compile alone ({cc}, OCTAVO_ATOMIC={back_end}): '
                           + next((x for x in r.stderr.splitlines() if 'error' in x), r.stderr[:200]))
    return 'compilations'


# ---- by object file ----

def nm(archive):
    """member -> (defined global symbols, undefined symbols)"""
    out = {}
    for line in run('nm', '-A', '-P', archive).stdout.splitlines():
        m = re.match(r'.*?\[([^\]]*)\]: (\S+) (\S)', line)
        if not m:
            continue
        defined, undefined = out.setdefault(os.path.basename(m.group(1)), (set(), set()))
        if m.group(3) in 'Uvw':
            undefined.add(m.group(2))
        elif m.group(3).isupper() or m.group(3) == 'u':
            defined.add(m.group(2))
    return out


def layer_of_member(member):
    for layer in sorted(LAYERS, key=len, reverse=True):
        if member.startswith(layer.replace('/', '_') + '_'):
            return layer
    return None


def check_symbols(g, members, prefix=''):
    home = {s: m for m, (defined, _) in members.items() for s in defined}
    for member, (_, undefined) in sorted(members.items()):
        mine = layer_of_member(member)
        if mine is None:
            g.fail(member, 'is of no layer')
            continue
        for s in sorted(undefined):
            g.looked += 1
            if s in home:
                its = layer_of_member(home[s])
                if its and above(its, mine):
                    g.fail(member, f'{mine} calls {s} of {its}, a layer above')
            elif s not in LIBC and not s.startswith(PORT):
                g.fail(member, f'needs {s}, which no embedder has to have')


def gate_symbols(g, archive):
    check_symbols(g, nm(archive))
    return 'references'


def gate_state(g, archive):
    member, states = '?', 0
    for line in run('readelf', '-SW', archive).stdout.splitlines():
        m = re.match(r'File: .*\((.*)\)', line)
        if m:
            member = m.group(1)
            continue
        m = re.match(r'\s*\[\s*\d+\] (\S+)\s+\S+\s+[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) \S+\s+(\w+)\s', line)
        if not m:
            continue
        name, size, flags = m.group(1), int(m.group(2), 16), m.group(3)
        if not size or 'A' not in flags:
            continue
        g.looked += 1
        if 'T' in flags:
            g.fail(member, f'{name} is thread-local')
        elif name == '.octavo_state':
            states += 1
        elif 'W' in flags and not name.startswith('.data.rel.ro'):
            g.fail(member, f'{name} has {size} writable bytes')
    for line in run('nm', '-A', '-P', archive).stdout.splitlines():
        m = re.match(r'.*?\[([^\]]*)\]: (\S+) C', line)
        if m:
            g.fail(os.path.basename(m.group(1)), f'{m.group(2)} is a common symbol')
    if states != 1:
        g.fail(archive, f'{states} sections .octavo_state, not 1')
    return 'sections'


def gate_defined(g, *archives):
    have = set()
    for a in archives:
        for defined, _ in nm(a).values():
            have |= defined
    for path, f in header_functions(g):
        if f.inline or os.path.basename(path) in DEFINED_ELSEWHERE:
            continue
        g.looked += 1
        if f.name not in have:
            g.fail(f'{path}:{f.line}', f'{f.name}() is declared and nowhere defined')
    return 'functions'


KERNEL = ['-std=gnu11', '-O2', '-ffreestanding', '-nostdlib', '-fno-stack-protector', '-fno-pic', '-fno-pie',
          '-mcmodel=kernel', '-mno-red-zone', '-mgeneral-regs-only', '-fno-strict-aliasing', '-Wall',
          '-Wextra', '-Wno-unused-parameter', '-Werror']


def gate_freestanding(g, cc):
    own = run(cc, '-print-file-name=include').stdout.strip()
    if not os.path.isdir(own):
        own = run(cc, '-print-resource-dir').stdout.strip() + '/include'
    inc = ['-nostdinc', '-isystem', own, '-I', os.path.join(g.root, 'include')]
    with tempfile.TemporaryDirectory() as tmp:
        objects, members = [], {}
        for path in g.files('lib', 'mm', ext=('.c',)):
            obj = os.path.join(tmp, path.replace('/', '_') + '.o')
            r = run(cc, *KERNEL, *inc, '-c', os.path.join(g.root, path), '-o', obj, ok=False)
            if r.returncode:
                g.fail(path, next((x for x in r.stderr.splitlines() if 'error' in x), r.stderr[:200]))
                continue
            g.looked += 1
            objects.append(obj)
            if re.search(r'%[xyz]mm|%st\b', run('objdump', '-d', obj).stdout):
                g.fail(path, 'uses vector or floating-point registers')
        if objects:
            lib = os.path.join(tmp, 'lib.a')
            run('ar', 'rcs', lib, *objects)
            looked = g.looked
            check_symbols(g, nm(lib))
            g.looked = looked
    return 'files'


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--root', default=os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
    p.add_argument('gate')
    p.add_argument('arguments', nargs='*')
    args = p.parse_args()
    gate = globals().get('gate_' + args.gate)
    if not gate:
        p.error(f'no gate {args.gate}')
    g = Gate(os.path.abspath(args.root))
    what = gate(g, *args.arguments)
    if not g.looked and not g.bad:
        g.fail(args.gate, 'looked at nothing')
    for line in g.bad:
        print(line)
    print(f'{args.gate}: {g.looked} {what}, {len(g.bad)} wrong')
    return 1 if g.bad else 0


if __name__ == '__main__':
    sys.exit(main())
