/* SPDX-License-Identifier: MIT */
/*
 * Anything at all as flags, zones and recorded machines. Whatever comes in, a population that comes out describes every
 * frame once, keeps folios aligned, survives being recorded, and can be drawn.
 *
 * First byte: 0 to 127, what follows is a recorded machine; else flags, as pairs of a number into a table of likely flags and a
 * length, with zones made of the bytes in front.
 */
#include <stdlib.h>
#include <string.h>

#include "classify.h"
#include "machine.h"
#include "report.h"

/* The fuzzer stops at an abort. */
#define CHECK(c)                 \
	do {                     \
		if (!(c))        \
			abort(); \
	} while (0)

static void check_population(const struct population *pop)
{
	u64 frames = 0, folios = 0, at = 0;

	for (u64 i = 0; i < pop->nr_runs; i++) {
		const struct pop_run *r = &pop->run[i];

		CHECK(r->pfn == at && r->repeat && r->type < POP_NR && r->order <= POP_MAX_ORDER);
		CHECK(!(r->pfn & ((1ull << r->order) - 1)));
		at += (u64)r->repeat << r->order;
	}
	CHECK(at == pop->end);
	for (int t = 0; t < POP_NR; t++)
		frames += pop->total[t].frames;
	CHECK(frames == pop->end);
	for (unsigned int o = 0; o <= POP_MAX_ORDER; o++)
		folios += pop->folios[o] << o;
	CHECK(folios == pop->total[POP_ANON].frames + pop->total[POP_FILE].frames);
	CHECK(pop_sections(pop, LINUX_SECTION_ORDER) << LINUX_SECTION_ORDER >= pop_frames(pop));
}

static void check_machine(const struct machine *m)
{
	struct footprint fp = { .frames = pop_frames(&m->pop) };
	char *text = NULL, *drawn = NULL;
	struct machine again;
	size_t size;
	FILE *f;

	check_population(&m->pop);
	f = open_memstream(&text, &size);
	record_write(m, f);
	fclose(f);
	f = fmemopen(text, size, "r");
	/* A machine of nothing but holes is not worth recording, and refused. */
	if (!record_read(&again, f, "again")) {
		CHECK(again.pop.nr_runs == m->pop.nr_runs &&
		      !memcmp(again.pop.run, m->pop.run, m->pop.nr_runs * sizeof(*m->pop.run)));
		CHECK(!memcmp(again.pop.total, m->pop.total, sizeof(m->pop.total)));
		machine_free(&again);
	} else {
		CHECK(!fp.frames);
	}
	fclose(f);
	free(text);
	/* A map of very sparse memory is large for good reasons, and slow. */
	if (m->pop.end >> 26)
		return;
	f = open_memstream(&drawn, &size);
	report_svg(m, &fp, f);
	report_json(m, &fp, true, f);
	report_table(m, &fp, f);
	fclose(f);
	free(drawn);
}

static void fuzz_record(const u8 *data, size_t size)
{
	struct machine m;
	FILE *f;

	if (!size)
		return;
	f = fmemopen((void *)(unsigned long)data, size, "r");
	if (!record_read(&m, f, "fuzz")) {
		check_machine(&m);
		machine_free(&m);
	}
	fclose(f);
}

static void fuzz_flags(const u8 *data, size_t size)
{
	static const u64 likely[] = {
		0,
		KPF(BUDDY),
		KPF(LRU),
		KPF(ANON) | KPF(LRU),
		KPF(SLAB),
		KPF(PGTABLE),
		KPF(RESERVED),
		KPF(NOPAGE),
		KPF(COMPOUND_HEAD),
		KPF(COMPOUND_TAIL),
		KPF(COMPOUND_HEAD) | KPF(LRU),
		KPF(COMPOUND_TAIL) | KPF(LRU),
		KPF(COMPOUND_HEAD) | KPF(COMPOUND_TAIL),
		KPF(MMAP),
		KPF(HWPOISON),
		~0ull,
	};
	struct zone_line zones[3] = { { 0 } };
	struct machine m = { .label = "fuzz" };
	struct classifier c;
	u64 at = 0;

	if (size < 15)
		return;
	for (int z = 0; z < 3; z++, data += 5, size -= 5) {
		at += data[0] * 256u;
		zones[z] = (struct zone_line){ .start = at,
					       .spanned = data[1] * 1024u,
					       .pcp = data[4] };
		/* also zones that claim more than they span: live files are not proof against that */
		zones[z].present = data[2] * 1024u;
		zones[z].managed = data[3] * 1024u;
		at += zones[z].spanned;
	}
	classify_init(&c, &m.pop);
	for (; size >= 2; data += 2, size -= 2) {
		/* up to 2^15 frames alike */
		for (u32 i = 0; i < 1u << (data[1] & 15); i++)
			classify_feed(&c, likely[data[0] & 15], data[0] >> 7);
	}
	classify_finish(&c);
	resolve_unflagged(&m.pop, zones, 3);
	check_machine(&m);
	machine_free(&m);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] < 128)
		fuzz_record(data + 1, size - 1);
	else
		fuzz_flags(data + 1, size - 1);
	return 0;
}
