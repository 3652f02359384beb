#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""octavo footprint from the outside: every kind of page, every kind of wrong file, every option.

usage: footprint.py OCTAVO [unittest arguments]
"""
import array
import filecmp
import json
import os
import pathlib
import pty
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

OCTAVO = None
SECTION = 1 << 15
NOBODY = 65534

LRU, SLAB, BUDDY, MMAP, ANON, SWAPBACKED = (1 << b for b in (5, 7, 10, 11, 12, 14))
HEAD, TAIL, HUGE, HWPOISON, NOPAGE = (1 << b for b in (15, 16, 17, 19, 20))
THP, OFFLINE, ZERO, PGTABLE, RESERVED = (1 << b for b in (22, 23, 24, 26, 32))
UPTODATE = 1 << 3


def octavo(*args, user=None, stdout=subprocess.PIPE):
    """Run the tool; stdin closed, not a terminal."""
    def drop():
        if user is not None:
            os.setgid(user)
            os.setuid(user)
    return subprocess.run([OCTAVO, *args], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                          preexec_fn=drop, timeout=600)


def compound(flags, order, count=0):
    """A compound page."""
    return [(flags | HEAD, count)] + [(flags | TAIL, count)] * ((1 << order) - 1)


class Machine:
    """The kernel's three files, made up."""

    def __init__(self):
        self.frames = []
        self.expect = {}
        self.zones = None

    def add(self, kind, frames):
        """@frames: (flags, count) of each."""
        self.frames += frames
        self.expect[kind] = self.expect.get(kind, 0) + len(frames)
        return self

    def align(self, order):
        """Free frames up to the next multiple."""
        rest = -len(self.frames) % (1 << order)
        return self.add("free", [(BUDDY, 0)] * rest)

    def zoneinfo(self):
        total = len(self.frames)
        zones = self.zones or [("Normal", 0, total, total, total, 0)]
        free = sum(1 for flags, _ in self.frames if flags & BUDDY)
        text = ""
        for name, start, spanned, present, managed, pcp in zones:
            text += (f"Node 0, zone {name:>8}\n  pages free     {free}\n        boost    0\n        min      1\n"
                     f"        spanned  {spanned}\n        present  {present}\n        managed  {managed}\n"
                     f"  pagesets\n    cpu: 0\n              count:    {pcp}\n              high:     378\n"
                     f"  node_unreclaimable:  0\n  start_pfn:           {start}\n")
        return text

    def write(self, where):
        os.makedirs(where, exist_ok=True)
        for name, column in (("kpageflags", 0), ("kpagecount", 1)):
            with open(os.path.join(where, name), "wb") as f:
                array.array("Q", [frame[column] for frame in self.frames]).tofile(f)
        with open(os.path.join(where, "zoneinfo"), "w") as f:
            f.write(self.zoneinfo())
        return where


def every_type():
    m = Machine()
    m.add("reserved", [(RESERVED, 0)] * 300)
    m.add("zero", [(RESERVED | ZERO, 0)])
    m.add("kernel", [(MMAP, 1)] * 5 + [(0, 0)] * 6 + [(UPTODATE, 0)])
    m.add("pgtable", [(PGTABLE, 0)] * 9)
    m.add("hwpoison", [(HWPOISON, 0)] * 2)
    m.add("offline", [(OFFLINE, 0)] * 13)
    m.add("anon", [(LRU | ANON | MMAP | SWAPBACKED | UPTODATE, 1)] * 1000)
    m.add("file", [(LRU | UPTODATE, 0)] * 2000)
    m.add("slab", [(SLAB, 0)] * 20 + [(SLAB | ANON | 1 << 21, 0)] * 3)
    m.align(9)
    m.add("anon", compound(LRU | ANON | MMAP | THP | SWAPBACKED, 9, 1) * 2)
    m.add("file", compound(LRU | UPTODATE, 4) * 8)
    m.add("slab", compound(SLAB, 3) * 5)
    m.add("kernel", compound(0, 2) * 3)
    m.align(9)
    m.add("file", compound(HUGE, 9))
    m.align(15)
    return m


class Footprint(unittest.TestCase):
    def setUp(self):
        # Readable by the user that some tests become.
        self.dir = tempfile.mkdtemp(prefix="octavo-footprint-")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, *name):
        return os.path.join(self.dir, *name)

    def json(self, *args):
        r = octavo("footprint", "--json", *args)
        self.assertEqual(r.returncode, 0, r.stderr)
        return json.loads(r.stdout)

    def refuses(self, *args, says=None, user=None):
        """Status 2, a message, and nothing written anywhere."""
        before = sorted(os.walk(self.dir))
        svg, record = self.path("no.svg"), self.path("no.machine")
        r = octavo("footprint", "--svg", svg, "--record", record, "--json", *args, user=user)
        self.assertEqual(r.returncode, 2, (args, r.stdout[:100], r.stderr))
        self.assertEqual(r.stdout, b"")
        self.assertNotEqual(r.stderr, b"")
        if says:
            self.assertIn(says, r.stderr.decode())
        self.assertEqual(sorted(os.walk(self.dir)), before)

    def adds_up(self, j):
        self.assertEqual(sum(t["frames"] for t in j["by_type"].values()), j["frames"])
        total = j["octavo_word_bytes"] + j["octavo_descriptor_bytes"] + j["octavo_allocator_bytes"]
        self.assertEqual(j["octavo_total_bytes"], total)
        self.assertEqual(j["saved_bytes"], j["linux_memmap_bytes"] - total)
        self.assertEqual(sum(t["descriptor_bytes"] for t in j["by_type"].values()) + j["cache_bytes"],
                         j["octavo_descriptor_bytes"])
        folios = sum(o["frames"] for o in j["by_order"])
        self.assertEqual(folios, j["by_type"]["anon"]["frames"] + j["by_type"]["file"]["frames"])
        for o in j["by_order"]:
            self.assertEqual(o["frames"], o["folios"] << o["order"])

    # ---- what it says ----

    def test_every_type(self):
        m = every_type()
        j = self.json("--from", m.write(self.path("m")))
        self.adds_up(j)
        self.assertEqual({k: v["frames"] for k, v in j["by_type"].items() if v["frames"]}, m.expect)
        self.assertEqual(j["frames"], len(m.frames))
        self.assertEqual(j["hole_frames"], 0)
        self.assertEqual(j["linux_memmap_bytes"], len(m.frames) * 64)
        self.assertEqual(j["octavo_word_bytes"], len(m.frames) * 8)
        self.assertEqual({o["order"]: o["folios"] for o in j["by_order"]}, {0: 3000, 4: 8, 9: 3})
        self.assertEqual(j["by_type"]["slab"]["allocations"], 28)
        self.assertEqual(j["by_type"]["pgtable"]["allocations"], 9)
        self.assertEqual(j["by_type"]["anon"]["mapped_frames"], 2024)
        for kind in ("anon", "file", "slab", "pgtable"):
            self.assertGreater(j["by_type"][kind]["descriptor_bytes"], 0)
        for kind in ("free", "kernel", "reserved", "zero", "offline", "hwpoison"):
            self.assertEqual(j["by_type"][kind]["descriptor_bytes"], 0)

    def test_holes_and_memory_not_in_use(self):
        m = Machine()
        m.frames = ([(BUDDY, 0)] * SECTION + [(0, 0)] * SECTION + [(BUDDY, 0)] * SECTION + [(0, 0)] * SECTION)
        m.zones = [("DMA32", 0, 2 * SECTION, SECTION, SECTION, 0),
                   ("Normal", 2 * SECTION, 2 * SECTION, 2 * SECTION, SECTION, 0)]
        j = self.json("--from", m.write(self.path("m")))
        self.adds_up(j)
        self.assertEqual(j["hole_frames"], SECTION)
        self.assertEqual(j["frames"], 3 * SECTION)
        self.assertEqual(j["by_type"]["unmanaged"]["frames"], SECTION)
        self.assertEqual(j["linux_memmap_bytes"], 3 * SECTION * 64)
        self.assertEqual(j["octavo_word_bytes"], 3 * SECTION * 8)

    def test_torn_compound_pages(self):
        m = Machine()
        m.add("file", [(LRU | TAIL, 0), (LRU | HEAD, 0)] + [(LRU | TAIL, 0)] * 4).align(15)
        j = self.json("--from", m.write(self.path("m")))
        self.adds_up(j)
        self.assertEqual(j["by_type"]["file"]["frames"], 6)
        self.assertEqual(j["irregular_frames"], 6)

    def test_table(self):
        m = every_type().write(self.path("m"))
        r = octavo("footprint", "--from", m)
        self.assertEqual(r.returncode, 0, r.stderr)
        text = r.stdout.decode()
        for word in ("memory map today", "with Octavo", "page words", "descriptors", "saved", "anonymous folios",
                     "page tables", "order 9", "if every folio were of one order"):
            self.assertIn(word, text)
        # Not a terminal: no colour, no bar, nothing but text.
        self.assertNotIn(b"\x1b", r.stdout + r.stderr)
        self.assertNotIn(b"\r", r.stdout + r.stderr)
        self.assertEqual(r.stderr, b"")

    def test_same_input_same_output(self):
        m = every_type().write(self.path("m"))
        runs = []
        for i in range(2):
            svg = self.path(f"{i}.svg")
            runs.append((octavo("footprint", "--json", "--from", m, "--svg", svg).stdout,
                         octavo("footprint", "--from", m).stdout, pathlib.Path(svg).read_bytes()))
        self.assertEqual(runs[0], runs[1])

    # ---- files ----

    def test_svg(self):
        m = Machine()
        m.add("anon", [(LRU | ANON, 0)] * 100).add("reserved", [(RESERVED, 0)] * 30).align(15)
        m.frames += [(NOPAGE, 0)] * SECTION + [(BUDDY, 0)] * SECTION
        svg = self.path("map.svg")
        self.json("--from", m.write(self.path("m<&>")), "--svg", svg)
        root = ElementTree.parse(svg).getroot()
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        text = "\n".join(t.text or "" for t in root.iter("{http://www.w3.org/2000/svg}text"))
        self.assertIn("Page map: 256.0 MiB", text)
        self.assertIn("m<&>", text)
        self.assertIn("anonymous folios", text)
        self.assertIn("reserved", text)
        self.assertNotIn("slab", text)
        self.assertEqual(os.stat(svg).st_mode & 0o777, 0o666 & ~os.umask(os.umask(0o22)))

    def test_record_gives_the_same_answer(self):
        m = every_type().write(self.path("m"))
        record = self.path("x.machine")
        a = self.json("--from", m, "--record", record)
        b = self.json("--from", record)
        for j in (a, b):
            j.pop("source")
        self.assertEqual(a, b)
        again = self.path("y.machine")
        self.json("--from", record, "--record", again)
        self.assertTrue(filecmp.cmp(record, again, shallow=False))

    def live(self):
        if octavo("footprint").returncode == 2:
            self.skipTest("this machine's page flags cannot be read")

    def test_save_gives_the_same_answer(self):
        self.live()
        copy = self.path("copy")
        a = self.json("--save", copy)
        b = self.json("--from", copy)
        self.assertEqual(sorted(os.listdir(copy)), ["kpagecount", "kpageflags", "zoneinfo"])
        self.assertEqual(os.listdir(self.dir), ["copy"])
        for j in (a, b):
            j.pop("source")
            j.pop("system", None)
            self.adds_up(j)
        self.assertEqual(a, b)
        before = os.stat(os.path.join(copy, "zoneinfo")).st_mtime_ns
        r = octavo("footprint", "--save", copy)
        self.assertEqual(r.returncode, 2)
        self.assertIn(b"nothing is overwritten", r.stderr)
        self.assertEqual(before, os.stat(os.path.join(copy, "zoneinfo")).st_mtime_ns)
        self.assertEqual(os.listdir(self.dir), ["copy"])

    def test_unwritable_output(self):
        m = every_type().write(self.path("m"))
        r = octavo("footprint", "--from", m, "--svg", self.path("none", "x.svg"))
        self.assertEqual(r.returncode, 1)
        self.assertEqual(r.stdout, b"")
        self.assertEqual(os.listdir(self.dir), ["m"])
        with open("/dev/full", "w") as full:
            r = octavo("footprint", "--from", m, stdout=full)
        self.assertEqual(r.returncode, 1)
        self.assertIn(b"cannot write", r.stderr)

    # ---- wrong input ----

    def test_truncated_files(self):
        for file, keep, says in (("kpageflags", -4, "no multiple of 8"), ("kpageflags", -8, "truncated"),
                                 ("kpageflags", SECTION * 4, "truncated"), ("kpageflags", 0, "truncated"),
                                 ("kpagecount", -8, "truncated"), ("kpagecount", -1, "no multiple of 8"),
                                 ("kpagecount", 0, "truncated"), ("zoneinfo", 0, "zoneinfo"),
                                 ("zoneinfo", 30, "zoneinfo")):
            with self.subTest(file=file, keep=keep):
                m = every_type().write(self.path("m"))
                f = os.path.join(m, file)
                os.truncate(f, keep if keep >= 0 else os.path.getsize(f) + keep)
                self.refuses("--from", m, says=says)

    def test_foreign_files(self):
        m = every_type()
        size = len(m.frames) * 8
        text = (b"The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]
        noise = bytes((i * 167 + (i >> 8) * 59 + 13) & 0xff for i in range(size))
        for file, content in (("kpageflags", text), ("kpageflags", noise), ("kpageflags", bytes(size)),
                              ("kpagecount", text), ("kpagecount", noise), ("zoneinfo", text),
                              ("zoneinfo", noise), ("zoneinfo", b"Node 0, zone Normal\n spanned x\n")):
            with self.subTest(file=file, start=content[:8]):
                where = m.write(self.path("m"))
                with open(os.path.join(where, file), "wb") as f:
                    f.write(content)
                self.refuses("--from", where)

    def test_exchanged_and_longer_files(self):
        m = every_type()
        where = m.write(self.path("m"))
        flags, count = (os.path.join(where, f) for f in ("kpageflags", "kpagecount"))
        with open(count, "ab") as f:
            f.write(bytes(80))
        self.refuses("--from", where, says="as many frames")
        m.write(where)
        os.rename(flags, flags + "2")
        os.rename(count, flags)
        os.rename(flags + "2", count)
        self.refuses("--from", where)

    def test_missing_input(self):
        self.refuses("--from", self.path("nothing"), says="No such file")
        for file in ("kpageflags", "kpagecount", "zoneinfo"):
            m = every_type().write(self.path("m"))
            os.unlink(os.path.join(m, file))
            self.refuses("--from", m, says=file)
        with open(self.path("empty"), "w"):
            pass
        self.refuses("--from", self.path("empty"), says="not a recorded machine")
        with open(self.path("text"), "w") as f:
            f.write("hello\n")
        self.refuses("--from", self.path("text"), says="not a recorded machine")
        self.refuses("--from", OCTAVO, says="not a recorded machine")

    def test_without_permission(self):
        m = every_type().write(self.path("m"))
        os.chmod(os.path.join(m, "kpageflags"), 0)
        user = NOBODY if os.getuid() == 0 else None
        if user:
            # Could that user run the tool at all?
            try:
                octavo("--version", user=user)
            except PermissionError:
                self.skipTest("the tool lies where only root can reach it")
        self.refuses("--from", m, says="ermission denied", user=user)
        self.refuses(says="only root", user=user)
        r = octavo("footprint", "--save", self.path("copy"), user=user)
        self.assertEqual(r.returncode, 2)
        self.assertFalse(os.path.exists(self.path("copy")))
        r = octavo("footprint", "--live-or-recorded", "--json", user=user)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn(b"recorded machine", r.stderr)
        j = json.loads(r.stdout)
        self.assertIn("recorded", j["source"])
        self.adds_up(j)

    def test_bad_arguments(self):
        for args in (["--nothing"], ["extra"], ["--from"], ["--mix", "0:5"], ["--ram", "1G", "--from", "/proc"],
                     ["--ram", "0"], ["--ram", "x"], ["--ram", "-1G"], ["--ram", "1M"], ["--ram", "99P"],
                     ["--ram", "1G", "--mix", "0:60,1:41"], ["--ram", "1G", "--mix", "77:1"],
                     ["--ram", "1G", "--mix", ""], ["--ram", "1G", "--mix", "0:5,0:6"],
                     ["--save", "x", "--ram", "1G"], ["--live-or-recorded", "--ram", "1G"]):
            with self.subTest(args=args):
                self.refuses(*args)
        for args in ([], ["nothing"], ["--nothing"]):
            r = octavo(*args)
            self.assertEqual(r.returncode, 2)
            self.assertEqual(r.stdout, b"")
            self.assertNotEqual(r.stderr, b"")
        for args in (["--help"], ["--version"], ["footprint", "--help"]):
            r = octavo(*args)
            self.assertEqual(r.returncode, 0)
            self.assertEqual(r.stderr, b"")
            self.assertNotEqual(r.stdout, b"")

    # ---- synthetic machines ----

    def test_synthetic(self):
        j = self.json("--ram", "1G", "--mix", "0:60,4:30,9:10")
        self.adds_up(j)
        frames = 1 << 18
        self.assertEqual(j["frames"], frames)
        self.assertEqual({o["order"]: o["folios"] for o in j["by_order"]},
                         {0: frames * 60 // 100, 4: frames * 30 // 100 >> 4, 9: frames * 10 // 100 >> 9})
        self.assertAlmostEqual(j["bytes_per_page"], j["octavo_total_bytes"] / frames, places=2)

    def test_bytes_a_page(self):
        self.assertLessEqual(self.json("--ram", "8G", "--mix", "0:100")["bytes_per_page"], 57.5)
        self.assertLessEqual(self.json("--ram", "8G", "--mix", "4:100")["bytes_per_page"], 14.5)
        self.assertLessEqual(self.json("--ram", "8G", "--mix", "9:100")["bytes_per_page"], 8.5)

    def test_idle_16_tib(self):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        j = self.json("--ram", "16T", "--mix", "none")
        self.assertEqual(j["frames"], 1 << 32)
        self.adds_up(j)
        # The largest of all children so far: tells something only if it was small before. KiB.
        if before < 1 << 20:
            self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 1 << 20)

    # ---- on a terminal ----

    def test_progress_on_a_terminal(self):
        m = Machine()
        m.add("anon", [(LRU | ANON, 0)] * (4 * SECTION))
        where = m.write(self.path("m"))
        try:
            master, slave = pty.openpty()
        except OSError as e:
            self.skipTest(f"no terminal to be had: {e}")
        p = subprocess.Popen([OCTAVO, "footprint", "--from", where, "--json"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=slave, env={**os.environ, "TERM": "xterm"})
        os.close(slave)
        seen = b""
        try:
            while chunk := os.read(master, 65536):
                seen += chunk
        except OSError:
            pass  # the other end is closed
        out = p.communicate()[0]
        os.close(master)
        self.assertEqual(p.returncode, 0)
        json.loads(out)
        self.assertIn(b"rebuilding", seen)
        # It is gone when the work is done.
        self.assertEqual(seen.rstrip(b" \r").rpartition(b"\r")[2].strip(b"# \r[]%0123456789").strip(), b"rebuilding")
        self.assertTrue(seen.endswith(b"\r"))


if __name__ == "__main__":
    OCTAVO = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=0)
