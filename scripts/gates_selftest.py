#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every gate fails on a seeded violation and passes without it.

usage: gates_selftest.py [CC]
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gates  # noqa: E402

SPDX = '/* SPDX-License-Identifier: MIT */\n'
CC = sys.argv[1] if len(sys.argv) > 1 else 'gcc'
results = []


class Tree:
    """A small source tree that breaks no rule."""

    def __init__(self, tmp):
        self.root = tmp
        self.write('include/octavo/frame.h', SPDX + '''#ifndef F_H
#define F_H
/* A frame. */
long frame_alloc(int order);
#endif
''')
        self.write('include/octavo/page.h', SPDX + '#ifndef P_H\n#define P_H\n#include <stdint.h>\n#endif\n')
        self.write('include/octavo/folio.h', SPDX + '''#ifndef O_H
#define O_H
#include <octavo/page.h>
/**
 * folio_get() - another reference
 * @order: of the folio
 */
long folio_get(int order);
long folio_put(int order);
#endif
''')
        self.write('lib/a.c', SPDX + '#include <stddef.h>\n'
                   'int octavo_state __attribute__((section(".octavo_state")));\nint lib_a(void);\n'
                   'int lib_a(void)\n{\n\treturn octavo_state;\n}\n')
        self.write('mm/frame/f.c', SPDX + '#include <octavo/frame.h>\nint lib_a(void);\n'
                   'void octavo_port_relax(void);\n'
                   'long frame_alloc(int order)\n{\n\toctavo_port_relax();\n\treturn lib_a() + order;\n}\n')
        self.write('mm/desc/o.c', SPDX + '#include <octavo/folio.h>\n#include <octavo/frame.h>\n'
                   'long folio_get(int order)\n{\n\treturn frame_alloc(order);\n}\n\n'
                   'long folio_put(int order)\n{\n\treturn order;\n}\n')
        self.write('.clang-format', 'BasedOnStyle: LLVM\nIndentWidth: 8\nUseTab: Always\n'
                   'BreakBeforeBraces: Linux\nColumnLimit: 100\nSortIncludes: false\n')
        subprocess.run(['clang-format', '-i', *gates.Gate(tmp).files('.')], cwd=tmp, check=True)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w', encoding='utf-8') as f:
            f.write(text)

    def append(self, path, text):
        with open(os.path.join(self.root, path), 'a', encoding='utf-8') as f:
            f.write(text)

    def prepend(self, path, text):
        with open(os.path.join(self.root, path), encoding='utf-8') as f:
            old = f.read()
        self.write(path, SPDX + text + old[len(SPDX):])

    def archive(self):
        lib = os.path.join(self.root, 'lib.a')
        objects = []
        for d, _, names in os.walk(self.root):
            for n in names:
                if n.endswith('.c'):
                    src = os.path.join(d, n)
                    obj = os.path.join(self.root, os.path.relpath(src, self.root).replace('/', '_') + '.o')
                    subprocess.run([CC, '-ffreestanding', '-fno-stack-protector', '-fno-pic', '-O1', '-c',
                                    '-I', os.path.join(self.root, 'include'), src, '-o', obj], check=True)
                    objects.append(obj)
        subprocess.run(['ar', 'rcs', lib, *objects], check=True)
        return lib


def case(name, gate, seed, expect, args=lambda t: ()):
    """@gate passes on a clean tree, and on one with @seed fails with a line that has @expect."""
    for seeded in (False, True):
        with tempfile.TemporaryDirectory() as tmp:
            t = Tree(tmp)
            if seeded:
                seed(t)
            g = gates.Gate(tmp)
            getattr(gates, 'gate_' + gate)(g, *args(t))
            ok = any(expect in b for b in g.bad) if seeded else not g.bad and g.looked
            results.append(bool(ok))
            if not ok:
                print(f'{name}: {"seeded" if seeded else "clean"}: {g.bad}, looked at {g.looked}')


def archive(t):
    return (t.archive(),)


def compilers(t):
    return (CC,)


case('a lower layer includes an upper one', 'includes',
     lambda t: t.prepend('mm/frame/f.c', '#include <octavo/folio.h>\n'), 'a layer above')
case('a private header of an upper layer', 'includes',
     lambda t: (t.write('mm/desc/desc.h', SPDX), t.prepend('mm/frame/f.c', '#include "../desc/desc.h"\n')),
     'a layer above')
case('a public header includes one of an upper layer', 'includes',
     lambda t: t.prepend('include/octavo/page.h', '#include <octavo/folio.h>\n'), 'a layer above')
case('a header of the C library', 'includes',
     lambda t: t.prepend('lib/a.c', '#include <stdio.h>\n'), 'not freestanding')
case('a call up', 'symbols',
     lambda t: t.append('mm/frame/f.c', 'long folio_get(int);\nlong up(void);\n'
                        'long up(void)\n{\n\treturn folio_get(1);\n}\n'), 'a layer above', archive)
case('a call out', 'symbols',
     lambda t: t.append('lib/a.c', 'void *malloc(unsigned long);\nvoid *out(void);\n'
                        'void *out(void)\n{\n\treturn malloc(8);\n}\n'), 'needs malloc', archive)
case('a file of no layer', 'symbols',
     lambda t: t.write('other/x.c', SPDX + 'int x(void);\nint x(void)\n{\n\treturn 1;\n}\n'), 'of no layer',
     archive)
case('a writable global', 'state', lambda t: t.append('lib/a.c', 'int more = 7;\n'), 'writable', archive)
case('a zeroed global', 'state', lambda t: t.append('lib/a.c', 'int more;\n'), 'writable', archive)
case('a static local', 'state',
     lambda t: t.append('mm/desc/o.c', 'int count(void);\nint count(void)\n{\n\tstatic int n;\n'
                        '\treturn n++;\n}\n'), 'writable', archive)
case('a thread-local', 'state', lambda t: t.append('lib/a.c', '__thread int more;\n'), 'thread-local', archive)
case('no state at all', 'state', lambda t: t.write('lib/a.c', SPDX + 'int lib_a(void) { return 0; }\n'),
     'sections .octavo_state', archive)
case('volatile', 'atomics', lambda t: t.append('lib/a.c', 'extern volatile int v;\n'), 'volatile')
case('a builtin', 'atomics',
     lambda t: t.append('mm/desc/o.c', 'int a(int *p)\n{\n\treturn __atomic_load_n(p, 0);\n}\n'), 'an atomic')
case('assembly', 'atomics', lambda t: t.append('lib/a.c', '__asm__("nop");\n'), 'assembly')
case('no licence line', 'style', lambda t: t.write('lib/b.c', 'int b;\n'), 'SPDX')
case('no licence line in a build file', 'style', lambda t: t.write('lib/meson.build', "x = 1\n"), 'SPDX')
case('formatted by hand', 'style', lambda t: t.append('lib/a.c', 'int  f( void );\n'), 'clang-format')
case('clang-format off', 'style',
     lambda t: t.append('lib/a.c', '/* clang-format off */\nint  f( void );\n'), 'clang-format off')
case('no comment', 'docs',
     lambda t: t.append('include/octavo/frame.h', '\nvoid frame_free(long pfn);\n'), 'frame_free() has no comment')
case('a comment too far above', 'docs',
     lambda t: t.append('include/octavo/frame.h', '/* About something. */\n\nvoid frame_free(long pfn);\n'),
     'frame_free() has no comment')
case('a long inline without a comment', 'docs',
     lambda t: t.append('include/octavo/frame.h', '\nstatic inline int f(int a)\n{\n\ta++;\n\ta--;\n'
                        '\treturn a;\n}\n'), 'f() has no comment')
case('a parameter that is not there', 'docs',
     lambda t: t.append('include/octavo/frame.h', '/**\n * frame_free() - give back\n * @page: first\n */\n'
                        'void frame_free(long pfn);\n'), 'no parameter page')
case('kernel-doc of nothing', 'docs',
     lambda t: t.append('include/octavo/frame.h', '/**\n * frame_gone() - was here once\n */\n'
                        'void frame_free(long pfn);\n'), 'which is not there')
case('declared and not defined', 'defined',
     lambda t: t.append('include/octavo/frame.h', 'void frame_free(long pfn);\n'), 'nowhere defined', archive)
case('a header that needs another', 'headers',
     lambda t: t.append('include/octavo/frame.h', 'u64 frame_count(void);\n'), 'does not compile alone', compilers)
case('a header of the C library in a public one', 'headers',
     lambda t: t.append('include/octavo/frame.h', '#include <stdio.h>\n'), 'does not compile alone', compilers)
case('floating point', 'freestanding',
     lambda t: t.append('lib/a.c', 'double d(double x);\ndouble d(double x)\n{\n\treturn x * 2;\n}\n'), 'a.c',
     compilers)
case('a hidden call to the C library', 'freestanding',
     lambda t: t.append('lib/a.c', 'unsigned __int128 q(unsigned __int128 a, unsigned __int128 b);\n'
                        'unsigned __int128 q(unsigned __int128 a, unsigned __int128 b)\n{\n\treturn a / b;\n}\n'),
     'needs __udivti3', compilers)

# A gate that is pointed at nothing has not passed.
with tempfile.TemporaryDirectory() as empty:
    for gate in ('includes', 'atomics', 'style', 'docs', 'headers'):
        r = subprocess.run([sys.executable, gates.__file__, '--root', empty, gate, CC][:5 + (gate == 'headers')],
                           capture_output=True, check=False)
        results.append(r.returncode == 1)
        if r.returncode != 1:
            print(f'{gate}: passes on an empty tree')

print(f'{sum(results)} passed, {len(results) - sum(results)} failed, 0 skipped')
sys.exit(0 if all(results) else 1)
