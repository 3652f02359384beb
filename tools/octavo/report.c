/* SPDX-License-Identifier: MIT */
#include "report.h"

#include "json.h"
#include "tool.h"

static double percent(u64 part, u64 of)
{
	return of ? 100.0 * (double)part / (double)of : 0;
}

static double each(u64 bytes, u64 n)
{
	return n ? (double)bytes / (double)n : 0;
}

/* ---- the table ---- */

static void line(FILE *f, const char *name, u64 bytes, u64 frames)
{
	char size[32];

	fprintf(f, "  %-38s %12s %10.2f\n", name, tool_size(size, bytes), each(bytes, frames));
}

static void totals(const struct footprint *fp, FILE *f)
{
	s64 saved = footprint_saved(fp);
	char size[32];

	fprintf(f, "\n  %-38s %12s %10s\n", "metadata", "bytes", "a frame");
	line(f, "memory map today, 64 B a frame", fp->linux_memmap, fp->frames);
	line(f, "with Octavo", footprint_total(fp), fp->frames);
	line(f, "  page words, 8 B a frame", fp->words, fp->frames);
	line(f, "  descriptors", fp->descriptors, fp->frames);
	line(f, "  frame allocator, a bit a frame", fp->bitmaps, fp->frames);
	line(f, "  per CPU and zone", fp->fixed, fp->frames);
	if (saved >= 0)
		fprintf(f, "  %-38s %12s %9.1f%%\n", "saved", tool_size(size, (u64)saved),
			percent((u64)saved, fp->linux_memmap));
	else
		fprintf(f, "  %-38s %12s\n", "costs more, by", tool_size(size, (u64)-saved));
	fprintf(f, "  %-38s %12s\n", "touched: words, bitmaps of used memory",
		tool_size(size, fp->resident));
}

static void types(const struct machine *m, const struct footprint *fp, FILE *f)
{
	char frames[32], allocs[32], bytes[32];

	fprintf(f, "\n  %-24s %15s %7s %13s %12s\n", "what the frames are", "frames", "share",
		"allocations", "descriptors");
	for (int t = 0; t < POP_NR; t++) {
		const struct pop_total *n = &m->pop.total[t];
		bool counted = t == POP_ANON || t == POP_FILE || t == POP_SLAB ||
			       t == POP_PGTABLE || t == POP_ZERO;

		if (t == POP_HOLE || !n->frames)
			continue;
		fprintf(f, "  %-24s %15s %6.2f%% %13s %12s\n", pop_type_title((enum pop_type)t),
			tool_count(frames, n->frames), percent(n->frames, fp->frames),
			counted ? tool_count(allocs, n->allocs) : "",
			fp->by_type[t] ? tool_size(bytes, fp->by_type[t]) : "none");
	}
	fprintf(f, "  %-24s %15s %7s %13s %12s\n", "(caches' own)", "", "", "",
		tool_size(bytes, fp->caches));
	fprintf(f, "  %-24s %15s\n", "all", tool_count(frames, fp->frames));
}

static void orders(const struct machine *m, const struct footprint *fp, FILE *f)
{
	u64 all = 0;
	char n[32], size[32], bytes[32];

	if (!fp->folio_frames)
		return;
	fprintf(f, "\n  %-8s %14s %12s %9s %14s %10s\n", "folios", "number", "memory", "share",
		"descriptors", "B a page");
	for (unsigned int o = 0; o <= POP_MAX_ORDER; o++) {
		u64 nr = m->pop.folios[o];

		if (!nr)
			continue;
		all += nr;
		fprintf(f, "  order %-2u %14s %12s %8.2f%% %14s %10.2f\n", o, tool_count(n, nr),
			tool_size(size, (nr << o) * PAGE_SIZE), percent(nr << o, fp->folio_frames),
			tool_size(bytes, fp->by_order[o]), each(fp->by_order[o], nr << o));
	}
	fprintf(f, "  mean size %.2f pages\n", each(fp->folio_frames, all));
	fprintf(f, "\n  %-34s %12s %10s %9s\n", "if every folio were of one order", "all metadata",
		"a frame", "B a page");
	for (int i = 0; i < WHAT_IF_ORDERS; i++)
		fprintf(f, "  order %-28u %12s %10.2f %9.2f\n", fp->what_if[i].order,
			tool_size(size, fp->what_if[i].total),
			each(fp->what_if[i].total, fp->frames), fp->what_if[i].bytes_a_page);
	fputs("  (B a page: descriptors alone, weighed on 1 GiB of such folios and scaled)\n", f);
}

void report_table(const struct machine *m, const struct footprint *fp, FILE *f)
{
	char size[32], frames[32], n[32];

	fprintf(f, "octavo footprint: %s%s%s%s\n", m->source, *m->label ? " (" : "", m->label,
		*m->label ? ")" : "");
	fprintf(f, "  %s in %s frames\n", tool_size(size, fp->frames * PAGE_SIZE),
		tool_count(frames, fp->frames));
	totals(fp, f);
	types(m, fp, f);
	orders(m, fp, f);
	if (m->pop.pcp_free)
		fprintf(f,
			"\n  Of the other kernel pages %s are free, on lists of a CPU; which ones "
			"can't be seen.\n",
			tool_count(n, m->pop.pcp_free));
	if (m->pop.total[POP_SLAB].frames)
		fprintf(f,
			"%s  A slab is charged 64 B, the most it can cost: its descriptor often "
			"fits in for nothing.\n",
			m->pop.pcp_free ? "" : "\n");
	if (m->pop.irregular)
		fprintf(f, "  %s frames of compound pages changed while they were read.\n",
			tool_count(n, m->pop.irregular));
}

/* ---- JSON ---- */

static void json_types(struct json *j, const struct machine *m, const struct footprint *fp)
{
	json_object(j, "by_type");
	for (int t = 0; t < POP_NR; t++) {
		const struct pop_total *n = &m->pop.total[t];

		if (t == POP_HOLE)
			continue;
		json_object(j, pop_type_name((enum pop_type)t));
		json_u64(j, "frames", n->frames);
		if (t == POP_ANON || t == POP_FILE || t == POP_SLAB || t == POP_PGTABLE)
			json_u64(j, "allocations", n->allocs);
		if (n->mapped)
			json_u64(j, "mapped_frames", n->mapped);
		json_u64(j, "descriptor_bytes", fp->by_type[t]);
		json_end(j, '}');
	}
	json_end(j, '}');
}

static void json_orders(struct json *j, const struct machine *m, const struct footprint *fp)
{
	json_array(j, "by_order");
	for (unsigned int o = 0; o <= POP_MAX_ORDER; o++) {
		u64 nr = m->pop.folios[o];

		if (!nr)
			continue;
		json_object(j, NULL);
		json_u64(j, "order", o);
		json_u64(j, "folios", nr);
		json_u64(j, "frames", nr << o);
		json_u64(j, "descriptor_bytes", fp->by_order[o]);
		json_double(j, "descriptor_bytes_per_page", each(fp->by_order[o], nr << o), 3);
		json_end(j, '}');
	}
	json_end(j, ']');
	json_array(j, "if_every_folio_were");
	for (int i = 0; i < WHAT_IF_ORDERS; i++) {
		json_object(j, NULL);
		json_u64(j, "order", fp->what_if[i].order);
		json_u64(j, "total_bytes", fp->what_if[i].total);
		json_double(j, "descriptor_bytes_per_page", fp->what_if[i].bytes_a_page, 3);
		json_end(j, '}');
	}
	json_end(j, ']');
}

void report_json(const struct machine *m, const struct footprint *fp, bool synthetic, FILE *f)
{
	struct json j;

	json_init(&j, f, true);
	json_object(&j, NULL);
	json_string(&j, "source", m->source);
	if (*m->label)
		json_string(&j, "system", m->label);
	json_u64(&j, "frames", fp->frames);
	json_u64(&j, "hole_frames", m->pop.total[POP_HOLE].frames);
	json_u64(&j, "linux_memmap_bytes", fp->linux_memmap);
	json_u64(&j, "octavo_word_bytes", fp->words);
	json_u64(&j, "octavo_descriptor_bytes", fp->descriptors);
	json_u64(&j, "octavo_allocator_bytes", fp->bitmaps + fp->fixed);
	json_u64(&j, "octavo_total_bytes", footprint_total(fp));
	json_s64(&j, "saved_bytes", footprint_saved(fp));
	json_u64(&j, "octavo_touched_bytes", fp->resident);
	if (synthetic)
		json_double(&j, "bytes_per_page", each(footprint_total(fp), fp->frames), 3);
	json_types(&j, m, fp);
	json_orders(&j, m, fp);
	json_u64(&j, "cache_bytes", fp->caches);
	json_u64(&j, "pcp_free_frames", m->pop.pcp_free);
	json_u64(&j, "irregular_frames", m->pop.irregular);
	json_end(&j, '}');
}
