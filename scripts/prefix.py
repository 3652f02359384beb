#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Give every global symbol of an archive a prefix, and write the header that maps the names.

usage: prefix.py PREFIX IN.a OUT.a OUT.h

The port's functions and memcpy, memset, memmove and memcmp, which the embedder has, keep their names: the
archive does not define them.
"""
import os
import re
import subprocess
import sys
import tempfile

HEADER = '''/* SPDX-License-Identifier: MIT */
/*
 * prefix.h - this build's symbols begin with "{prefix}"; the headers' names are mapped to them here.
 */
#ifndef OCTAVO_PREFIX_H
#define OCTAVO_PREFIX_H

#define OCTAVO_SYMBOL_PREFIX "{prefix}"

{lines}
#endif /* OCTAVO_PREFIX_H */
'''


def run(*argv, **kw):
    return subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE, **kw).stdout


def members(archive, tmp):
    """Paths of the objects of an archive, thin or not."""
    with open(archive, 'rb') as f:
        thin = f.read(8) == b'!<thin>\n'
    names = run('ar', 't', archive).split('\n')[:-1]
    if thin:
        # binutils prints members of a thin archive relative to where we are, or to the archive
        here = os.path.dirname(archive)
        return [n if os.path.exists(n) else os.path.join(here, n) for n in names]
    run('ar', 'x', os.path.abspath(archive), cwd=tmp)
    return [os.path.join(tmp, n) for n in names]


def main():
    if len(sys.argv) != 5 or not re.fullmatch(r'[A-Za-z_]\w*', sys.argv[1]):
        sys.exit(__doc__.strip())
    prefix, source, target, header = sys.argv[1:]
    nm, objcopy = os.environ.get('NM', 'nm'), os.environ.get('OBJCOPY', 'objcopy')
    names = sorted({line.split()[0] for line in
                    run(nm, '-P', '--defined-only', '--extern-only', source).splitlines()
                    if len(line.split()) > 1})
    if not names:
        sys.exit(f'{source} defines nothing')
    with tempfile.TemporaryDirectory() as tmp:
        table = os.path.join(tmp, 'symbols')
        with open(table, 'w', encoding='utf-8') as f:
            f.writelines(f'{n} {prefix}{n}\n' for n in names)
        objects = []
        for i, path in enumerate(members(source, tmp)):
            out = os.path.join(tmp, 'out', str(i), os.path.basename(path))
            os.makedirs(os.path.dirname(out))
            run(objcopy, f'--redefine-syms={table}', path, out)
            objects.append(out)
        if os.path.exists(target):
            os.remove(target)
        run('ar', 'rcsD', target, *objects)
    with open(header, 'w', encoding='utf-8') as f:
        f.write(HEADER.format(prefix=prefix, lines=''.join(f'#define {n} {prefix}{n}\n' for n in names)))


if __name__ == '__main__':
    main()
