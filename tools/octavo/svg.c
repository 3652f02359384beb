/* SPDX-License-Identifier: MIT */
/*
 * svg.c - the page map: memory from left to right and from top to bottom, one cell for a power of two of frames.
 *
 * A cell is filled in proportion to what is in it, in the order of the legend, so a single page table in 2 MiB of free
 * memory is a hairline, not invisible and not the whole cell. Many rows of one kind become one band that says what and how
 * much it is, holes a thin line; the cells are as fine as the rows that are left allow.
 * Neighbours of one colour are one rectangle.
 */
#include <stdlib.h>
#include <string.h>

#include <octavo/errno.h>

#include "report.h"
#include "tool.h"

enum {
	COLUMNS = 128,
	MAX_ROWS = 112,
	CELL = 7,
	BAND = 4,	     /* rows of one colour that are drawn as one, and its height */
	FINEST = 4,	     /* 64 KiB a cell */
	MAX_CELLS = 1 << 20, /* to start from */
	LEFT = 92,
	TOP = 104,
	LEGEND = 262,
	GAP = 10, /* height of a stretch of holes */
};

/* From the bottom of a cell to its top, and down the legend. Chosen to be told apart by colour-blind readers too. */
static const struct {
	enum pop_type type;
	const char *colour;
	bool dark; /* writing on it is white */
} palette[] = {
	{ POP_ANON, "#d1495b", true },	   { POP_FILE, "#2e86ab", true },
	{ POP_SLAB, "#f2a541", false },	   { POP_PGTABLE, "#6a3d9a", true },
	{ POP_KERNEL, "#8d6e63", true },   { POP_RESERVED, "#4a4e57", true },
	{ POP_ZERO, "#000000", true },	   { POP_OFFLINE, "#b0a8c0", false },
	{ POP_HWPOISON, "#ff00aa", true }, { POP_UNMANAGED, "#c9d1d9", false },
	{ POP_FREE, "#e9f3e4", false },
};

struct map {
	const struct population *pop;
	unsigned int cell_order;
	u64 cells;
	/* Frames of each type in a cell, but for holes: they are what is missing, and cost nothing however large. */
	u32 (*count)[POP_NR];
	u32 rows;
	struct row *row;
	u32 drawn; /* height in rows, holes aside */
	bool bands;
	double height;
};

struct row {
	double y;
	u32 nr; /* rows of one colour that are one band here; 1: a row by itself; 0: part of a band above */
};

static u64 cell_total(const u32 *n)
{
	u64 all = 0;

	for (int t = 0; t < POP_NR; t++)
		all += n[t];
	return all;
}

/* The only colour of a cell, COLOUR_HOLE if nothing is there; -1: it has several. */
#define COLOUR_HOLE ((int)ARRAY_SIZE(palette))

static int cell_colour(const struct map *m, const u32 *n)
{
	u64 all = cell_total(n);

	if (!all)
		return COLOUR_HOLE;
	for (unsigned int i = 0; i < ARRAY_SIZE(palette); i++)
		if (n[palette[i].type] == 1ull << m->cell_order)
			return (int)i;
	return -1;
}

static void count_cells(struct map *m)
{
	for (u64 i = 0; i < m->pop->nr_runs; i++) {
		const struct pop_run *r = &m->pop->run[i];
		u64 pfn = r->pfn, end = r->pfn + ((u64)r->repeat << r->order);

		if (r->type == POP_HOLE)
			continue;
		while (pfn < end) {
			u64 cell = pfn >> m->cell_order;
			u64 to = min(end, (cell + 1) << m->cell_order);

			m->count[cell][r->type] += (u32)(to - pfn);
			pfn = to;
		}
	}
}

/* The colour of all of a row; -1: it has several. */
static int row_colour(const struct map *m, u32 row)
{
	const u32(*n)[POP_NR] = (const u32(*)[POP_NR]) & m->count[(u64)row * COLUMNS];
	int colour = cell_colour(m, n[0]);

	for (u32 c = 1; c < COLUMNS && colour >= 0; c++)
		if (cell_colour(m, n[c]) != colour)
			colour = -1;
	return colour;
}

static void place_rows(struct map *m)
{
	u32 row = 0, nr;
	double y = TOP;

	m->rows = (u32)((m->cells + COLUMNS - 1) / COLUMNS);
	m->drawn = 0;
	for (; row < m->rows; row += nr) {
		int colour = row_colour(m, row);

		nr = 1;
		while (colour >= 0 && row + nr < m->rows && row_colour(m, row + nr) == colour)
			m->row[row + nr++].nr = 0;
		if ((nr < BAND || !m->bands) && colour != COLOUR_HOLE) {
			for (u32 i = 0; i < nr; i++, y += CELL)
				m->row[row + i] = (struct row){ y, 1 };
			m->drawn += nr;
			continue;
		}
		m->row[row] = (struct row){ y, nr };
		y += colour == COLOUR_HOLE ? GAP : BAND * CELL;
		m->drawn += BAND;
	}
	m->height = y;
}

/* Two cells become one. */
static void coarsen(struct map *m)
{
	u64 cells = (m->cells + 1) / 2;

	for (u64 c = 0; c < cells; c++)
		for (int t = 0; t < POP_NR; t++)
			m->count[c][t] = m->count[2 * c][t] + m->count[2 * c + 1][t];
	/* the rest of the last row is empty */
	memset(m->count[cells], 0, (m->cells - cells) * sizeof(*m->count));
	m->cells = cells;
	m->cell_order++;
}

static int make_map(struct map *m)
{
	u64 room;

	m->cell_order = FINEST;
	while ((pop_frames(m->pop) >> m->cell_order) > MAX_CELLS)
		m->cell_order++;
	m->cells = (m->pop->end + (1ull << m->cell_order) - 1) >> m->cell_order;
	room = ALIGN(m->cells, (u64)COLUMNS) + COLUMNS;
	m->count = calloc(room, sizeof(*m->count));
	m->row = calloc(room / COLUMNS + 1, sizeof(*m->row));
	if (!m->count || !m->row) {
		tool_error("out of memory");
		return -ENOMEM;
	}
	count_cells(m);
	/* Bands are there to leave room for what is not alike. Where nearly all is, a plain map says more. */
	m->bands = true;
	place_rows(m);
	m->bands = m->drawn >= MAX_ROWS / 4;
	for (place_rows(m); m->drawn > MAX_ROWS; place_rows(m))
		coarsen(m);
	return 0;
}

static void rect(FILE *f, double x, double y, double w, double h, unsigned int colour)
{
	fprintf(f, "<path class=\"c%u\" d=\"M%g %.2fh%gv%.2fh%gz\"/>\n", colour, x, y, w, h, -w);
}

/* Several kinds in one cell: stacked, each at least a hairline; what is missing stays paper. */
static void mixed_cell(FILE *f, const struct map *m, const u32 *n, double x, double y)
{
	const double least = 0.35;
	double cell = (double)(1ull << m->cell_order);
	double hole = CELL * (cell - (double)cell_total(n)) / cell;
	double sum = 0, at = y + CELL;

	for (unsigned int i = 0; i < ARRAY_SIZE(palette); i++)
		if (n[palette[i].type])
			sum += max(least, CELL * (double)n[palette[i].type] / cell);
	for (unsigned int i = 0; i < ARRAY_SIZE(palette); i++) {
		double h = CELL * (double)n[palette[i].type] / cell;

		if (!n[palette[i].type])
			continue;
		h = max(h, least) * (CELL - hole) / sum;
		at -= h;
		rect(f, x, at, CELL, h, i);
	}
}

static void draw_row(FILE *f, const struct map *m, u32 row)
{
	u64 first = (u64)row * COLUMNS;
	u32 c = 0;

	while (c < COLUMNS) {
		int colour = cell_colour(m, m->count[first + c]);
		u32 from = c++;

		if (colour < 0) {
			mixed_cell(f, m, m->count[first + from], LEFT + from * CELL, m->row[row].y);
			continue;
		}
		while (c < COLUMNS && cell_colour(m, m->count[first + c]) == colour)
			c++;
		if (colour != COLOUR_HOLE)
			rect(f, LEFT + from * CELL, m->row[row].y, (c - from) * CELL, CELL,
			     (unsigned int)colour);
	}
}

static void draw_band(FILE *f, const struct map *m, u32 row)
{
	u64 bytes = ((u64)m->row[row].nr * COLUMNS << m->cell_order) * PAGE_SIZE;
	int colour = row_colour(m, row);
	double y = m->row[row].y;
	char size[32];

	if (colour == COLOUR_HOLE) {
		fprintf(f, "<path d=\"M%d %gh%d\" stroke=\"#8c959f\" stroke-dasharray=\"3 3\"/>\n",
			LEFT, y + GAP / 2.0, COLUMNS * CELL);
		return;
	}
	rect(f, LEFT, y, COLUMNS * CELL, BAND * CELL, (unsigned int)colour);
	fprintf(f, "<text class=\"m\" x=\"%d\" y=\"%g\"%s>%s %s</text>\n",
		LEFT + COLUMNS * CELL / 2, y + BAND * CELL / 2.0 + 5,
		palette[colour].dark ? " style=\"fill:#ffffff\"" : "", tool_size(size, bytes),
		pop_type_title(palette[colour].type));
}

/* XML takes no control characters, and these three not as they are. */
static void text(FILE *f, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '&')
			fputs("&amp;", f);
		else if (c == '<')
			fputs("&lt;", f);
		else if (c == '>')
			fputs("&gt;", f);
		else
			fputc(c < 0x20 || c >= 0x7f ? '?' : c, f);
	}
}

static void head(FILE *f, const struct map *m, const struct machine *mc, const struct footprint *fp,
		 double height)
{
	char a[32], b[32], c[32];
	s64 saved = footprint_saved(fp);
	int width = LEFT + COLUMNS * CELL + 28 + LEGEND;

	fprintf(f,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%g\" viewBox=\"0 "
		"0 %d %g\">\n<style>\n"
		"text{font-family:'DejaVu "
		"Sans',Helvetica,Arial,sans-serif;font-size:13px;fill:#24292f}\n"
		".t{font-size:22px;font-weight:bold}.s{font-size:14px}.a{font-size:11px;fill:#"
		"57606a}\n"
		".n{text-anchor:end}.m{text-anchor:middle}\n",
		width, height, width, height);
	for (unsigned int i = 0; i < ARRAY_SIZE(palette); i++)
		fprintf(f, ".c%u{fill:%s}\n", i, palette[i].colour);
	fprintf(f, "</style>\n<rect width=\"%d\" height=\"%g\" fill=\"#ffffff\"/>\n", width,
		height);
	fprintf(f,
		"<text class=\"t\" x=\"%d\" y=\"36\">Page map: %s of memory, one cell for "
		"%s</text>\n",
		LEFT, tool_size(a, fp->frames * PAGE_SIZE),
		tool_size(b, PAGE_SIZE << m->cell_order));
	fprintf(f, "<text class=\"s\" x=\"%d\" y=\"60\">", LEFT);
	text(f, mc->source);
	if (*mc->label) {
		fputs(", ", f);
		text(f, mc->label);
	}
	fprintf(f,
		"</text>\n<text class=\"s\" x=\"%d\" y=\"82\">Memory map today %s, with Octavo %s: "
		"%s %s (%.1f %%)</text>\n",
		LEFT, tool_size(a, fp->linux_memmap), tool_size(b, footprint_total(fp)),
		saved < 0 ? "costs more," : "saves",
		tool_size(c, (u64)(saved < 0 ? -saved : saved)),
		fp->linux_memmap
			? 100.0 * (double)(saved < 0 ? -saved : saved) / (double)fp->linux_memmap
			: 0);
}

static void legend(FILE *f, const struct machine *m, const struct footprint *fp)
{
	int x = LEFT + COLUMNS * CELL + 28, y = TOP;
	double share;
	char size[32];

	for (unsigned int i = 0; i < ARRAY_SIZE(palette); i++) {
		u64 n = m->pop.total[palette[i].type].frames;

		if (!n)
			continue;
		fprintf(f,
			"<rect class=\"c%u\" x=\"%d\" y=\"%d\" width=\"16\" height=\"16\" "
			"stroke=\"#8c959f\" stroke-width=\"0.5\"/>\n",
			i, x, y);
		fprintf(f, "<text x=\"%d\" y=\"%d\">%s</text>\n", x + 24, y + 13,
			pop_type_title(palette[i].type));
		share = 100.0 * (double)n / (double)fp->frames;
		fprintf(f,
			share < 0.01 ? "<text class=\"a\" x=\"%d\" y=\"%d\">%s</text>\n"
				     : "<text class=\"a\" x=\"%d\" y=\"%d\">%s, %.2f %%</text>\n",
			x + 24, y + 29, tool_size(size, n * PAGE_SIZE), share);
		y += 42;
	}
}

/* Addresses beside every sixteenth row, every band, and where memory goes on behind one. */
static void axis(FILE *f, const struct map *m)
{
	double last = 0;
	u32 nr;

	for (u32 row = 0; row < m->rows; row += nr) {
		u64 addr = ((u64)row * COLUMNS << m->cell_order) * PAGE_SIZE;
		double y = m->row[row].y;
		char size[32];

		nr = m->row[row].nr;
		if (nr > 1 && row_colour(m, row) == COLOUR_HOLE) {
			last = 0;
			continue;
		}
		if (last && nr == 1 && y < last + 16 * CELL)
			continue;
		/* two labels need 12 apart */
		if (!last || y >= last + 12)
			fprintf(f, "<text class=\"a n\" x=\"%d\" y=\"%g\">%s</text>\n", LEFT - 8,
				y + 9, tool_size(size, addr));
		last = y;
	}
}

int report_svg(const struct machine *mc, const struct footprint *fp, FILE *f)
{
	struct map m = { .pop = &mc->pop };
	int kinds = 0, err = make_map(&m);
	u32 nr;

	if (!err) {
		for (int t = 0; t < POP_NR; t++)
			kinds += t != POP_HOLE && mc->pop.total[t].frames;
		head(f, &m, mc, fp, max(m.height, (double)(TOP + kinds * 42)) + 24);
		legend(f, mc, fp);
		axis(f, &m);
		for (u32 row = 0; row < m.rows; row += nr) {
			nr = m.row[row].nr;
			if (nr == 1 && row_colour(&m, row) != COLOUR_HOLE)
				draw_row(f, &m, row);
			else
				draw_band(f, &m, row);
		}
		fputs("</svg>\n", f);
	}
	free(m.count);
	free(m.row);
	return err;
}
