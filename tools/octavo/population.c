/* SPDX-License-Identifier: MIT */
#include "population.h"

#include <stdlib.h>
#include <string.h>

#include <octavo/compiler.h>

static const struct {
	const char *name, *title;
} types[POP_NR + 1] = {
	[POP_HOLE] = { "hole", "holes" },
	[POP_FREE] = { "free", "free" },
	[POP_ANON] = { "anon", "anonymous folios" },
	[POP_FILE] = { "file", "file and shmem folios" },
	[POP_SLAB] = { "slab", "slab" },
	[POP_PGTABLE] = { "pgtable", "page tables" },
	[POP_KERNEL] = { "kernel", "other kernel" },
	[POP_RESERVED] = { "reserved", "reserved" },
	[POP_ZERO] = { "zero", "zero page" },
	[POP_OFFLINE] = { "offline", "offline" },
	[POP_UNMANAGED] = { "unmanaged", "not in use yet" },
	[POP_HWPOISON] = { "hwpoison", "bad memory" },
	[POP_UNFLAGGED] = { "unflagged", "unflagged" },
};

const char *pop_type_name(enum pop_type type)
{
	return types[type].name;
}

const char *pop_type_title(enum pop_type type)
{
	return types[type].title;
}

void pop_init(struct population *pop)
{
	memset(pop, 0, sizeof(*pop));
}

void pop_free(struct population *pop)
{
	free(pop->run);
	pop_init(pop);
}

static struct pop_run *new_run(struct population *pop)
{
	if (pop->nr_runs == pop->capacity) {
		u64 n = pop->capacity ? pop->capacity * 2 : 1024;
		struct pop_run *run = realloc(pop->run, n * sizeof(*run));

		if (!run) {
			pop->failed = true;
			return NULL;
		}
		pop->run = run;
		pop->capacity = n;
	}
	return &pop->run[pop->nr_runs++];
}

static void account(struct population *pop, const struct pop_run *r)
{
	struct pop_total *t = &pop->total[r->type];

	t->frames += (u64)r->repeat << r->order;
	t->allocs += r->repeat;
	if (r->type == POP_ANON || r->type == POP_FILE)
		pop->folios[r->order] += r->repeat;
}

void pop_add(struct population *pop, enum pop_type type, unsigned int order, u64 repeat, u64 mapped)
{
	struct pop_run *last = pop->nr_runs ? &pop->run[pop->nr_runs - 1] : NULL;
	bool user = type == POP_KERNEL && mapped;

	pop->total[type].mapped += mapped;
	while (repeat) {
		u32 n = (u32)min(repeat, (u64)1 << 30);
		struct pop_run add = { .pfn = pop->end,
				       .repeat = n,
				       .type = (u8)type,
				       .order = (u8)order,
				       .mapped = user };

		if (last && last->type == type && last->order == order && last->mapped == user &&
		    last->repeat <= ~0u - n) {
			last->repeat += n;
		} else {
			last = new_run(pop);
			if (!last)
				return;
			*last = add;
		}
		account(pop, &add);
		pop->end += (u64)n << order;
		repeat -= n;
	}
}

u64 pop_frames(const struct population *pop)
{
	return pop->end - pop->total[POP_HOLE].frames;
}

u64 pop_sections(const struct population *pop, unsigned int order)
{
	u64 n = 0, next = 0; /* first section not yet looked at */

	for (u64 i = 0; i < pop->nr_runs; i++) {
		const struct pop_run *r = &pop->run[i];
		u64 first = r->pfn >> order;
		u64 last = (r->pfn + ((u64)r->repeat << r->order) - 1) >> order;

		if (r->type == POP_HOLE)
			continue;
		first = max(first, next);
		if (last >= first) {
			n += last - first + 1;
			next = last + 1;
		}
	}
	return n;
}
