/* SPDX-License-Identifier: MIT */
#include "synth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <octavo/mmzone.h>

#include "tool.h"

/* What an address space of 47 bits holds besides everything else. */
#define MAX_RAM (64ull << 40)

/*
 * One "ORDER:PERCENT", with a fraction if wanted ("0:12.5"), to hundredths of a percent. Return: what follows it; NULL:
 * malformed.
 */
static const char *parse_part(const char *s, unsigned long *order, u64 *hundredths)
{
	unsigned long digits = 0;
	char *end;

	if (*s < '0' || *s > '9')
		return NULL;
	*order = strtoul(s, &end, 10);
	if (*order > MAX_FOLIO_ORDER || *end++ != ':' || *end < '0' || *end > '9')
		return NULL;
	*hundredths = strtoull(end, &end, 10);
	if (*hundredths > 100)
		return NULL;
	*hundredths *= 100;
	if (*end == '.') {
		for (end++; *end >= '0' && *end <= '9'; end++, digits++)
			if (digits < 2)
				*hundredths += (u64)(*end - '0') * (digits ? 1 : 10);
		if (!digits)
			return NULL;
	}
	return *end == ',' || !*end ? end : NULL;
}

static int parse_mix(const char *mix, u64 share[NR_ORDERS])
{
	const char *s = mix;
	u64 sum = 0;

	memset(share, 0, NR_ORDERS * sizeof(*share));
	if (!strcmp(mix, "none"))
		return 0;
	for (;;) {
		unsigned long order;
		u64 hundredths;

		s = parse_part(s, &order, &hundredths);
		if (!s) {
			tool_error("--mix %s: not 'none' or a list like 0:60,4:30,9:10 "
				   "(order:percent, orders 0 to %d)",
				   mix, MAX_FOLIO_ORDER);
			return -EINVAL;
		}
		if (share[order]) {
			tool_error("--mix %s: order %lu twice", mix, order);
			return -EINVAL;
		}
		share[order] = hundredths;
		sum += hundredths;
		if (!*s++)
			break;
	}
	if (sum > 10000) {
		tool_error("--mix %s: more than 100 percent", mix);
		return -EINVAL;
	}
	return 0;
}

int synth_machine(struct machine *m, u64 ram, const char *mix)
{
	u64 share[NR_ORDERS], frames = ram >> PAGE_SHIFT, left = frames;
	char size[32];
	int err;

	memset(m, 0, sizeof(*m));
	err = parse_mix(mix, share);
	if (err)
		return err;
	if (ram < SECTION_SIZE || ram > MAX_RAM || ram % SECTION_SIZE) {
		tool_error("--ram: from 16M to 64T, a multiple of 16M");
		return -EINVAL;
	}
	/* Largest first, so that all are aligned. */
	for (int o = MAX_FOLIO_ORDER; o >= 0; o--) {
		u64 n = (frames / 10000 * share[o] + frames % 10000 * share[o] / 10000) >> o;

		n = min(n, left >> o);
		pop_add(&m->pop, POP_ANON, (unsigned int)o, n, 0);
		left -= n << o;
	}
	pop_add(&m->pop, POP_FREE, 0, left, 0);
	if (m->pop.failed) {
		tool_error("out of memory");
		machine_free(m);
		return -ENOMEM;
	}
	snprintf(m->source, sizeof(m->source), "a synthetic machine of %s, mix %s",
		 tool_size(size, ram), mix);
	return 0;
}
