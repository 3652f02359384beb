# SPDX-License-Identifier: MIT
"""gdb commands for Octavo, on a live program or a core file; they call nothing in it.

    (gdb) source scripts/gdb/octavo-gdb.py
    (gdb) octavo-page 0x1234         what frame 0x1234 is; a struct page * will do too
    (gdb) octavo-folio folio         a folio's fields, and whether its words name it
    (gdb) octavo-zones               the zones, their spans and free frames
    (gdb) octavo-regions [FIRST LAST] runs of frames with the same type of word
    $octavo_page(pfn), $octavo_pfn(page)   for expressions

Needs the debugging information of the core (-g), nothing else.
"""
import gdb

POINTER_TYPES = {'MEMDESC_FILE': 'folio', 'MEMDESC_ANON': 'folio', 'MEMDESC_SLAB': 'slab',
                 'MEMDESC_PTDESC': 'ptdesc', 'MEMDESC_MANAGED': 'mgdesc', 'MEMDESC_MOVABLE': 'movable'}


def enum(name):
    """value -> name of an enum of the core."""
    return {f.enumval: f.name for f in gdb.lookup_type('enum ' + name).fields()}


def state():
    return gdb.parse_and_eval('octavo_state')


def frame():
    return state()['frame']


def page_of(pfn):
    return frame()['vmemmap'] + pfn


def word(pfn):
    return int(page_of(pfn)['memdesc']['v'])


def pfn_of(value):
    """A pfn from a number or from a struct page *."""
    if value.type.strip_typedefs().code == gdb.TYPE_CODE_PTR:
        return int(value - frame()['vmemmap'])
    return int(value)


def section_order():
    # an enum or macro is not in the debugging information of every build: 16 MiB sections unless told
    try:
        return int(gdb.parse_and_eval('$octavo_section_order'))
    except (gdb.error, ValueError):
        return 12


def section(pfn):
    """(present, zone, node) of a frame, None beyond the memory map."""
    f = frame()
    if not int(f['vmemmap']) or not 0 <= pfn < int(f['max_pfn']):
        return None
    s = int(f['section'][pfn >> section_order()])
    return bool(s & 0x8000), s & 7, s >> 3 & 0x3f


def type_name(md):
    return enum('memdesc_type').get(md & 15, '?')


def describe(md):
    """What a word says, in a line."""
    name = type_name(md)
    short = name.replace('MEMDESC_', '').lower()
    if name == 'MEMDESC_MISC':
        subtype = enum('misc_subtype').get(md >> 4 & 0x7f, '?').replace('MISC_', '').lower()
        count = 'frozen' if md >> 42 & 1 else f'count {md >> 18 & 0xffffff}'
        mappable = ', mappable' if md >> 11 & 1 else ''
        owner = f', owner bits {md >> 43:#x}' if md >> 43 else ''
        return f'{short} {subtype}, order {md >> 12 & 0x3f}, {count}{mappable}{owner}'
    if name in POINTER_TYPES:
        return f'{short}, struct {POINTER_TYPES[name]} {md & ~15:#x}'
    return short if not md & ~15 else f'{short}, with payload {md:#x}: malformed'


def folio_place(folio):
    v = int(folio['pfn_order_group'])
    return v & (1 << 40) - 1, v >> 40 & 0x3f, v >> 46


class Command(gdb.Command):
    """A command that takes an expression, or several without spaces in them."""
    SEVERAL = False

    def __init__(self):
        super().__init__(self.NAME, gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        parts = gdb.string_to_argv(argument) if self.SEVERAL else [argument] if argument else []
        self.run([gdb.parse_and_eval(a) for a in parts])


class Page(Command):
    """octavo-page PFN|PAGE: what a frame is."""
    NAME = 'octavo-page'

    def run(self, args):
        if len(args) != 1:
            raise gdb.GdbError('octavo-page PFN|PAGE')
        pfn = pfn_of(args[0])
        where = section(pfn)
        if not where or not where[0]:
            print(f'pfn {pfn:#x}: no such frame')
            return
        md = word(pfn)
        zone = enum('zone_type').get(where[1], '?')
        print(f'pfn {pfn:#x} (node {where[2]}, {zone}): word {md:#018x}, {describe(md)}')
        if type_name(md) == 'MEMDESC_MISC':
            head = pfn & ~((1 << (md >> 12 & 0x3f)) - 1)
            if head != pfn:
                print(f'  page {pfn - head} of the allocation at pfn {head:#x}: {describe(word(head))}')
        elif POINTER_TYPES.get(type_name(md)) == 'folio':
            folio(gdb.Value(md & ~15).cast(gdb.lookup_type('struct folio').pointer()), pfn)


def folio(f, pfn=None):
    first, order, group = folio_place(f)
    flags = int(f['flags'])
    names = [n.replace('PG_', '') for bit, n in sorted(enum('folio_flag').items())
             if n.startswith('PG_') and flags >> bit & 1]
    print(f'  folio {int(f):#x}: pfn {first:#x}, order {order}, group {group}, count {int(f["refcount"])},'
          f' mapcount {int(f["mapcount"])}, flags {flags:#x} ({" ".join(names) or "none"})')
    print(f'  mapping {int(f["mapping"]):#x}, index {int(f["index"])}, private {int(f["private"]):#x}')
    if pfn is not None and not first <= pfn < first + (1 << order):
        print('  does not contain the page: a word in transition, or a stale one')
    wrong = [p for p in range(first, first + (1 << order)) if word(p) & ~15 != int(f)]
    if wrong:
        print(f'  {len(wrong)} of its words do not name it, the first is that of pfn {wrong[0]:#x}')


class Folio(Command):
    """octavo-folio FOLIO: its fields, and whether its words name it."""
    NAME = 'octavo-folio'

    def run(self, args):
        if len(args) != 1:
            raise gdb.GdbError('octavo-folio FOLIO')
        folio(args[0].cast(gdb.lookup_type('struct folio').pointer()))


class Zones(Command):
    """octavo-zones: each zone with its spans."""
    NAME = 'octavo-zones'

    def run(self, args):
        f = frame()
        for i in range(int(f['nr_zones_made'])):
            z = f['zones'][i]
            kind = enum('zone_type').get(int(z['type']), '?')
            print(f'node {int(z["node"])} {kind}: {int(z["present"])} present, {int(z["managed"])} managed,'
                  f' {int(z["free"])} free (less what CPUs keep)')
            for s in range(int(z['nr_spans'])):
                span = z['span'][s]
                first = int(span['first']) << section_order()
                last = first + (int(span['nr']) << section_order()) - 1
                print(f'  pfn {first:#x} to {last:#x}')


class Regions(Command):
    """octavo-regions [FIRST LAST]: runs of frames with the same type of word."""
    NAME = 'octavo-regions'
    SEVERAL = True

    def run(self, args):
        first = pfn_of(args[0]) if args else 0
        last = pfn_of(args[1]) + 1 if len(args) > 1 else int(frame()['max_pfn'])
        run, kind = first, None
        for pfn in range(first, last + 1):
            where = section(pfn) if pfn < last else None
            now = None if pfn == last else \
                type_name(word(pfn)).replace('MEMDESC_', '').lower() if where and where[0] else 'hole'
            if now != kind:
                if kind:
                    print(f'pfn {run:#x} to {pfn - 1:#x}: {kind}')
                run, kind = pfn, now


class PageFunction(gdb.Function):
    """$octavo_page(pfn): its struct page *."""

    def __init__(self):
        super().__init__('octavo_page')

    def invoke(self, pfn):
        return page_of(int(pfn))


class PfnFunction(gdb.Function):
    """$octavo_pfn(page): its pfn."""

    def __init__(self):
        super().__init__('octavo_pfn')

    def invoke(self, page):
        return pfn_of(page)


for c in (Page, Folio, Zones, Regions, PageFunction, PfnFunction):
    c()
