/* SPDX-License-Identifier: MIT */
/*
 * What the tool makes of the kernel's files and of its own, without building anything: classification, the recorded form, synthetic
 * machines, JSON. tests/footprint.py drives the whole command.
 */
#include <math.h>
#include <unistd.h>

#include "test.h"

#include "classify.h"
#include "json.h"
#include "machine.h"
#include "report.h"
#include "synth.h"
#include "tool.h"

/* ---- helpers ---- */

struct feed {
	u64 flags, count, repeat;
};

static void classify(struct population *pop, const struct feed *f, size_t n,
		     const struct zone_line *zones, u32 nr_zones)
{
	struct classifier c;

	pop_init(pop);
	classify_init(&c, pop);
	for (size_t i = 0; i < n; i++)
		for (u64 k = 0; k < f[i].repeat; k++)
			classify_feed(&c, f[i].flags, f[i].count);
	classify_finish(&c);
	resolve_unflagged(pop, zones, nr_zones);
	assert_false(pop->failed);
}
#define CLASSIFY(pop, f, zones, nr) classify(pop, f, ARRAY_SIZE(f), zones, nr)

static u64 sum_of_types(const struct population *pop)
{
	u64 n = 0;

	for (int t = 0; t < POP_NR; t++)
		n += pop->total[t].frames;
	return n;
}

/* ---- flags ---- */

static void test_footprint_flag_precedence(void **state)
{
	static const struct {
		u64 flags;
		enum pop_type type;
	} cases[] = {
		{ 0, POP_UNFLAGGED },
		{ KPF(NOPAGE), POP_HOLE },
		{ KPF(BUDDY), POP_FREE },
		{ KPF(BUDDY) | KPF(UPTODATE), POP_FREE },
		{ KPF(LRU) | KPF(UPTODATE), POP_FILE },
		{ KPF(LRU) | KPF(ANON) | KPF(SWAPBACKED) | KPF(MMAP), POP_ANON },
		{ KPF(UPTODATE) | KPF(ANON) | KPF(SWAPBACKED), POP_ANON },
		{ KPF(LRU) | KPF(SWAPBACKED) | KPF(DIRTY), POP_FILE },
		{ KPF(ANON) | KPF(KSM) | KPF(MMAP), POP_ANON },
		{ KPF(HUGE), POP_FILE },
		{ KPF(SLAB), POP_SLAB },
		/* stray bits of the field that slabs use otherwise */
		{ KPF(SLAB) | KPF(ANON) | KPF(KSM), POP_SLAB },
		{ KPF(PGTABLE) | KPF(REFERENCED), POP_PGTABLE },
		{ KPF(RESERVED), POP_RESERVED },
		{ KPF(RESERVED) | KPF(MMAP), POP_RESERVED },
		{ KPF(RESERVED) | KPF(ZERO_PAGE), POP_ZERO },
		{ KPF(ZERO_PAGE) | KPF(THP), POP_ZERO },
		{ KPF(OFFLINE), POP_OFFLINE },
		{ KPF(HWPOISON), POP_HWPOISON },
		{ KPF(HWPOISON) | KPF(LRU), POP_FILE },
		{ KPF(MMAP), POP_KERNEL },
		{ KPF(UPTODATE), POP_KERNEL },
		{ KPF(REFERENCED), POP_KERNEL },
		{ 1ull << 35, POP_KERNEL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (classify_flags(cases[i].flags) != cases[i].type)
			fail_msg("flags %#lx: %s", (unsigned long)cases[i].flags,
				 pop_type_name(classify_flags(cases[i].flags)));
}

static void test_footprint_impossible_flags(void **state)
{
	assert_true(flags_possible(0));
	assert_true(flags_possible(KPF(NOPAGE)));
	assert_true(flags_possible(KPF(LRU) | KPF(COMPOUND_TAIL) | 1ull << 42));
	assert_true(flags_possible(KPF(BUDDY) | KPF(UPTODATE)));
	assert_false(flags_possible(1ull << 27));
	assert_false(flags_possible(1ull << 31));
	assert_false(flags_possible(1ull << 48));
	assert_false(flags_possible(1ull << 63));
	assert_false(flags_possible(KPF(NOPAGE) | KPF(LRU)));
	assert_false(flags_possible(KPF(BUDDY) | KPF(SLAB)));
	assert_false(flags_possible(KPF(COMPOUND_HEAD) | KPF(COMPOUND_TAIL)));
}

static void test_footprint_orders_from_compound_pages(void **state)
{
	const u64 lru = KPF(LRU) | KPF(THP), head = KPF(COMPOUND_HEAD), tail = KPF(COMPOUND_TAIL);
	const struct feed f[] = {
		{ lru | head, 1, 1 },
		{ lru | tail, 1, 1 }, /* order 1 at 0 */
		{ KPF(LRU), 0, 2 },   /* two of order 0 */
		{ lru | head, 0, 1 },
		{ lru | tail, 0, 3 }, /* order 2 at 4 */
		{ KPF(SLAB) | head, 0, 1 },
		{ KPF(SLAB) | tail, 0, 7 }, /* order 3 at 8 */
		/* some kernels flag the head alone */
		{ KPF(SLAB) | head, 0, 1 },
		{ tail, 0, 1 }, /* order 1 at 16 */
		{ head, 0, 1 },
		{ tail, 0, 1 }, /* plain order 1 at 18 */
	};
	const struct zone_line zone = { .spanned = 20, .present = 20, .managed = 20 };
	struct population pop;

	CLASSIFY(&pop, f, &zone, 1);
	assert_int_equal(pop.end, 20);
	assert_int_equal(sum_of_types(&pop), 20);
	assert_int_equal(pop.folios[0], 2);
	assert_int_equal(pop.folios[1], 1);
	assert_int_equal(pop.folios[2], 1);
	assert_int_equal(pop.total[POP_FILE].mapped, 2);
	assert_int_equal(pop.total[POP_SLAB].allocs, 2);
	assert_int_equal(pop.total[POP_SLAB].frames, 10);
	assert_int_equal(pop.total[POP_KERNEL].frames, 2);
	assert_int_equal(pop.total[POP_KERNEL].allocs, 1);
	assert_int_equal(pop.irregular, 0);
	pop_free(&pop);
}

/* Pages that changed between two reads: kept, in aligned pieces, and counted. */
static void test_footprint_torn_compound_pages(void **state)
{
	const u64 lru = KPF(LRU), head = KPF(COMPOUND_HEAD), tail = KPF(COMPOUND_TAIL);
	const struct feed f[] = {
		{ lru | tail, 0, 1 },			    /* no head */
		{ lru | head, 0, 1 }, { lru | tail, 0, 5 }, /* 6 frames from 1 on */
		{ lru, 0, 1 },				    /* whole */
		{ lru | head, 0, 1 },			    /* a head alone */
	};
	const struct zone_line zone = { .spanned = 9, .present = 9, .managed = 9 };
	struct population pop;

	CLASSIFY(&pop, f, &zone, 1);
	assert_int_equal(pop.end, 9);
	assert_int_equal(pop.total[POP_FILE].frames, 9);
	assert_int_equal(pop.irregular, 7);
	for (u64 i = 0; i < pop.nr_runs; i++)
		assert_int_equal(pop.run[i].pfn & ((1ull << pop.run[i].order) - 1), 0);
	pop_free(&pop);
}

/* ---- frames without a flag ---- */

static void test_footprint_unflagged_by_zone(void **state)
{
	enum { SECTION = 1 << LINUX_SECTION_ORDER };
	const struct zone_line zones[] = {
		{ .start = 16,
		  .spanned = 2 * SECTION - 16,
		  .present = SECTION - 16,
		  .managed = 900 },
		{ .start = 3 * SECTION,
		  .spanned = SECTION,
		  .present = SECTION,
		  .managed = 5000,
		  .pcp = 30 },
	};
	const struct feed f[] = {
		{ KPF(RESERVED), 0, 1 }, /* before the first zone */
		{ 0, 0, 15 },		 /* outside all zones: holes */
		{ KPF(RESERVED), 0, SECTION - 16 - 900 },
		{ KPF(BUDDY), 0, 880 },
		{ 0, 0, 20 },	   /* short: kernel */
		{ 0, 0, SECTION }, /* present says that it isn't there */
		{ 0, 0, SECTION }, /* between the zones */
		{ KPF(BUDDY), 0, 4900 },
		{ 0, 0, SECTION - 4900 }, /* 100 kernel, the rest never managed */
	};
	struct population pop;

	CLASSIFY(&pop, f, zones, 2);
	assert_int_equal(pop.end, 4 * SECTION);
	assert_int_equal(sum_of_types(&pop), 4 * SECTION);
	assert_int_equal(pop.total[POP_HOLE].frames, 15 + 2 * SECTION);
	/* whole pieces only: what is less than 2048 frames stays "other kernel" */
	assert_int_equal(pop.total[POP_UNMANAGED].frames, (SECTION - 5000) & ~2047ull);
	assert_int_equal(pop.total[POP_KERNEL].frames,
			 20 + SECTION - 4900 - pop.total[POP_UNMANAGED].frames);
	assert_int_equal(pop.pcp_free, 30);
	assert_int_equal(pop_sections(&pop, LINUX_SECTION_ORDER), 2);
	pop_free(&pop);
}

/* ---- the recorded form ---- */

static void some_machine(struct machine *m)
{
	memset(m, 0, sizeof(*m));
	strcpy(m->label, "Linux 6.18.0 x86_64");
	pop_add(&m->pop, POP_RESERVED, 0, 16, 0);
	pop_add(&m->pop, POP_ANON, 4, 3, 20);
	pop_add(&m->pop, POP_FILE, 0, 64, 10);
	pop_add(&m->pop, POP_KERNEL, 1, 2, 4);
	pop_add(&m->pop, POP_KERNEL, 0, 4, 0);
	pop_add(&m->pop, POP_SLAB, 3, 2, 0);
	pop_add(&m->pop, POP_PGTABLE, 0, 5, 0);
	pop_add(&m->pop, POP_FREE, 0, 4096, 0);
	m->pop.pcp_free = 3;
	m->pop.irregular = 2;
}

static void assert_same(const struct population *a, const struct population *b)
{
	assert_int_equal(a->nr_runs, b->nr_runs);
	assert_memory_equal(a->run, b->run, a->nr_runs * sizeof(*a->run));
	assert_memory_equal(a->total, b->total, sizeof(a->total));
	assert_memory_equal(a->folios, b->folios, sizeof(a->folios));
	assert_int_equal(a->end, b->end);
	assert_int_equal(a->pcp_free, b->pcp_free);
	assert_int_equal(a->irregular, b->irregular);
}

static void test_footprint_record_round_trip(void **state)
{
	struct machine a, b;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	some_machine(&a);
	record_write(&a, f);
	fclose(f);
	f = fmemopen(text, size, "r");
	assert_int_equal(record_read(&b, f, "x"), 0);
	fclose(f);
	assert_same(&a.pop, &b.pop);
	assert_string_equal(a.label, b.label);
	machine_free(&a);
	machine_free(&b);
	free(text);
}

/* stderr is for people: kept out of the way while messages are expected. */
static int quiet_fd = -1;

static void quiet(bool on)
{
	fflush(stderr);
	if (on) {
		quiet_fd = dup(STDERR_FILENO);
		assert_non_null(freopen("/dev/null", "w", stderr));
	} else {
		dup2(quiet_fd, STDERR_FILENO);
		close(quiet_fd);
	}
}

static int read_text(const char *text)
{
	FILE *f = fmemopen((void *)(unsigned long)text, strlen(text), "r");
	struct machine m;
	int err = record_read(&m, f, "x");

	fclose(f);
	if (!err)
		machine_free(&m);
	return err;
}

static void test_footprint_record_refuses(void **state)
{
	static const char *const bad[] = {
		"octavo-machine 2\nruns\nfree 1\nend 1\n",
		"octavo-machine 1\npage-size 65536\nruns\nfree 1\nend 1\n",
		"octavo-machine 1\nruns\nfree 1\n",	   /* no end */
		"octavo-machine 1\nruns\nfree 1\nend 2\n", /* not all of it */
		"octavo-machine 1\nruns\nfree 0\nend 0\n",
		"octavo-machine 1\nruns\nfoo 1\nend 1\n",
		"octavo-machine 1\nruns\nfree -1\nend 1\n",
		"octavo-machine 1\nruns\nfree 1x\nend 1\n",
		"octavo-machine 1\nruns\nfree+ 1\nend 1\n", /* free and mapped */
		"octavo-machine 1\nruns\nanon/31 1\nend 2147483648\n",
		"octavo-machine 1\nruns\nfree 1\nanon/1 1\nend 3\n", /* not aligned */
		"octavo-machine 1\nruns\nfree 99999999999999\nend 99999999999999\n",
		"octavo-machine 1\nruns\nfree 1\nend 1\nfree 1\n",
		"octavo-machine 1\nmapped hole\nruns\nfree 1\nend 1\n",
		"octavo-machine 1\nruns\nhole 10\nend 10\n", /* nothing there */
		"something else\n",
	};

	quiet(true);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int err = read_text(bad[i]);

		if (err != -EINVAL) {
			quiet(false);
			fail_msg("case %zu: %d", i, err);
		}
	}
	quiet(false);
	assert_int_equal(read_text("octavo-machine 1\n# note\n\nruns\nfree 1\nend 1\n"), 0);
}

static void test_footprint_record_label_is_only_text(void **state)
{
	static const char text[] = "octavo-machine 1\nlabel a\x1b[2Jb\nruns\nfree 1\nend 1\n";
	FILE *f = fmemopen((void *)(unsigned long)text, strlen(text), "r");
	struct machine m;

	assert_int_equal(record_read(&m, f, "x"), 0);
	fclose(f);
	assert_string_equal(m.label, "a?[2Jb");
	machine_free(&m);
}

/* Every prefix of a recorded machine is refused: none passes for a smaller machine. */
static void test_footprint_record_truncated(void **state)
{
	struct machine a;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	some_machine(&a);
	record_write(&a, f);
	fclose(f);
	quiet(true);
	/* the last line's newline is not needed */
	for (size_t n = 1; n + 1 < size; n++) {
		char *part = strndup(text, n);
		int err = read_text(part);

		free(part);
		if (err != -EINVAL) {
			quiet(false);
			fail_msg("%zu bytes: %d", n, err);
		}
	}
	quiet(false);
	machine_free(&a);
	free(text);
}

/* ---- synthetic machines ---- */

static void test_footprint_synth_mix(void **state)
{
	const u64 frames = (64ull << 30) >> PAGE_SHIFT;
	struct machine m;

	assert_int_equal(synth_machine(&m, 64ull << 30, "0:60,4:30,9:10"), 0);
	assert_int_equal(pop_frames(&m.pop), frames);
	assert_int_equal(sum_of_types(&m.pop), frames);
	assert_int_equal(m.pop.folios[0], frames * 60 / 100);
	assert_int_equal(m.pop.folios[4], frames * 30 / 100 >> 4);
	assert_int_equal(m.pop.folios[9], frames * 10 / 100 >> 9);
	for (u64 i = 0; i < m.pop.nr_runs; i++)
		assert_int_equal(m.pop.run[i].pfn & ((1ull << m.pop.run[i].order) - 1), 0);
	machine_free(&m);
	assert_int_equal(synth_machine(&m, 16ull << 40, "none"), 0);
	assert_int_equal(m.pop.total[POP_FREE].frames, (16ull << 40) >> PAGE_SHIFT);
	machine_free(&m);
	assert_int_equal(synth_machine(&m, 1ull << 30, "0:12.5"), 0);
	assert_int_equal(m.pop.folios[0], (1 << 18) / 8);
	machine_free(&m);
}

static void test_footprint_synth_refuses(void **state)
{
	static const char *const bad[] = { "",	    "0",       "0:",	":5",
					   "0:50,", "0:50,4",  "0:101", "0:60,1:41",
					   "99:1",  "0:5,0:5", "a:5",	"0:5%",
					   "0:-1",  "-1:5",    "0:1.",	"none,0:5" };
	struct machine m;

	quiet(true);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (synth_machine(&m, 1ull << 30, bad[i]) != -EINVAL) {
			quiet(false);
			fail_msg("mix \"%s\" accepted", bad[i]);
		}
	assert_int_equal(synth_machine(&m, 4096, "none"), -EINVAL);
	assert_int_equal(synth_machine(&m, 1ull << 50, "none"), -EINVAL);
	quiet(false);
}

static void test_footprint_sizes(void **state)
{
	static const struct {
		const char *text;
		u64 bytes;
	} good[] = { { "0", 0 },
		     { "4096", 4096 },
		     { "64G", 64ull << 30 },
		     { "64g", 64ull << 30 },
		     { "16T", 16ull << 40 },
		     { "512MiB", 512ull << 20 },
		     { "1kB", 1024 },
		     { "15P", 15ull << 50 },
		     { "18446744073709551615", ~0ull } };
	static const char *const bad[] = { "",	     "G",
					   "-1",     "1X",
					   "1GG",    "1.5G",
					   "1Gi",    "18446744073709551616",
					   "16384P", "99999999999999999999G" };
	char buf[32];
	u64 v;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(tool_parse_size(good[i].text, &v), 0);
		assert_true(v == good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!tool_parse_size(bad[i], &v))
			fail_msg("\"%s\" accepted", bad[i]);
	assert_string_equal(tool_size(buf, 0), "0 B");
	assert_string_equal(tool_size(buf, 1023), "1023 B");
	assert_string_equal(tool_size(buf, 1 << 20), "1.00 MiB");
	assert_string_equal(tool_size(buf, 24ull << 30), "24.0 GiB");
	assert_string_equal(tool_count(buf, 0), "0");
	assert_string_equal(tool_count(buf, 999), "999");
	assert_string_equal(tool_count(buf, 1234567), "1,234,567");
	assert_string_equal(tool_count(buf, ~0ull), "18,446,744,073,709,551,615");
}

/* ---- JSON ---- */

static char *written(void (*fn)(struct json *j))
{
	struct json j;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	json_init(&j, f, false);
	fn(&j);
	fclose(f);
	return text;
}

static void write_nested(struct json *j)
{
	json_object(j, NULL);
	json_u64(j, "max", ~0ull);
	json_s64(j, "min", INT64_MIN);
	json_array(j, "a");
	json_end(j, ']');
	json_array(j, "b");
	json_bool(j, NULL, true);
	json_null(j, NULL);
	json_double(j, NULL, 1.25, 2);
	json_double(j, NULL, NAN, 2);
	json_double(j, NULL, INFINITY, 2);
	json_end(j, ']');
	json_object(j, "o");
	json_end(j, '}');
	json_string(j, "none", NULL);
	json_end(j, '}');
}

static void test_footprint_json_nesting(void **state)
{
	char *s = written(write_nested);

	assert_string_equal(
		s, "{\"max\": 18446744073709551615, \"min\": -9223372036854775808, \"a\": [], "
		   "\"b\": [true, null, 1.25, null, null], \"o\": {}, \"none\": null}\n");
	free(s);
}

static void write_strings(struct json *j)
{
	json_array(j, NULL);
	json_string(j, NULL, "a\"b\\c\n\t\x01\x7f");
	json_string(j, NULL, "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"); /* good UTF-8 */
	json_string(j, NULL,
		    "\xff|\xc0\x80|\xe0\x80\x80|\xed\xa0\x80|\xf4\x90\x80\x80|\xc3"); /* bad */
	json_end(j, ']');
}

static void test_footprint_json_strings(void **state)
{
	char *s = written(write_strings);

	assert_string_equal(s,
			    "[\"a\\\"b\\\\c\\u000a\\u0009\\u0001\\u007f\", "
			    "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\", "
			    "\"\\ufffd|\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd|"
			    "\\ufffd\\ufffd\\ufffd\\ufffd|\\ufffd\"]\n");
	free(s);
}

/* ---- output files ---- */

static void test_footprint_files_are_whole_or_absent(void **state)
{
	char dir[] = "/tmp/octavo-test-XXXXXX", path[64];
	struct out_file out;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	assert_int_equal(out_open(&out, path), 0);
	fputs("x", out.f);
	assert_int_equal(access(path, F_OK), -1);
	out_discard(&out);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(out_open(&out, path), 0);
	fputs("y", out.f);
	assert_int_equal(out_commit(&out), 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(unlink(path), 0);
	/* nothing else was left beside it */
	assert_int_equal(rmdir(dir), 0);
	quiet(true);
	assert_int_equal(out_open(&out, path), -ENOENT);
	quiet(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_footprint_flag_precedence),
		cmocka_unit_test(test_footprint_impossible_flags),
		cmocka_unit_test(test_footprint_orders_from_compound_pages),
		cmocka_unit_test(test_footprint_torn_compound_pages),
		cmocka_unit_test(test_footprint_unflagged_by_zone),
		cmocka_unit_test(test_footprint_record_round_trip),
		cmocka_unit_test(test_footprint_record_refuses),
		cmocka_unit_test(test_footprint_record_label_is_only_text),
		cmocka_unit_test(test_footprint_record_truncated),
		cmocka_unit_test(test_footprint_synth_mix),
		cmocka_unit_test(test_footprint_synth_refuses),
		cmocka_unit_test(test_footprint_sizes),
		cmocka_unit_test(test_footprint_json_nesting),
		cmocka_unit_test(test_footprint_json_strings),
		cmocka_unit_test(test_footprint_files_are_whole_or_absent),
	};

	return cmocka_run_group_tests_name("footprint", tests, NULL, NULL);
}
