/* SPDX-License-Identifier: MIT */
/*
 * runs.c - what an area keeps of its pages: runs of frames, eight bytes each.
 *
 * An array of pointers takes eight bytes a page; so does this when no two pages are neighbours, and 8 bytes for
 * 64 GiB when all are. The first runs are in the area itself, the others in blocks that grow with their number.
 */
#include "kmap.h"

#define FIRST_BLOCK_BYTES 64u
#define MAX_BLOCK_BYTES	  4096u

static u64 *last_run(struct vm_runs *r)
{
	if (r->last)
		return &r->last->run[r->last->nr - 1];
	return r->nr ? &r->first[r->nr - 1] : NULL;
}

/* A block with room is the last one. Return: false: no memory. */
static bool add_block(struct vm_runs *r, gfp_t gfp)
{
	const size_t bytes = r->last ? min((size_t)MAX_BLOCK_BYTES,
					   2 * (sizeof(*r->last) + r->last->max * sizeof(u64)))
				     : FIRST_BLOCK_BYTES;
	struct vm_run_block *b = kmalloc(bytes, gfp);

	if (!b)
		return false;
	b->nr = 0;
	b->max = (u32)((bytes - sizeof(*b)) / sizeof(u64));
	b->next = r->last ? r->last->next : b;
	if (r->last)
		r->last->next = b;
	r->last = b;
	return true;
}

int vm_runs_add(struct vm_runs *r, unsigned long pfn, unsigned long nr, gfp_t gfp)
{
	u64 *last = last_run(r);

	VM_BUG_ON(!nr || nr > VM_RUN_MAX);
	if (last && vm_run_pfn(*last) + vm_run_nr(*last) == pfn &&
	    vm_run_nr(*last) + nr <= VM_RUN_MAX) {
		*last = vm_run_pack(vm_run_pfn(*last), vm_run_nr(*last) + nr);
		return 0;
	}
	if (r->nr < VM_RUNS_INLINE) {
		r->first[r->nr++] = vm_run_pack(pfn, nr);
		return 0;
	}
	if ((!r->last || r->last->nr == r->last->max) && !add_block(r, gfp))
		return -ENOMEM;
	r->last->run[r->last->nr++] = vm_run_pack(pfn, nr);
	r->nr++;
	return 0;
}

void vm_runs_clear(struct vm_runs *r)
{
	struct vm_run_block *b = r->last ? r->last->next : NULL;

	while (b) {
		struct vm_run_block *next = b == r->last ? NULL : b->next;

		kfree(b);
		b = next;
	}
	r->last = NULL;
	r->nr = 0;
}

unsigned long vm_runs_bytes(const struct vm_runs *r)
{
	const struct vm_run_block *b = r->last;
	unsigned long bytes = 0;

	if (!b)
		return 0;
	do {
		bytes += sizeof(*b) + b->max * sizeof(u64);
		b = b->next;
	} while (b != r->last);
	return bytes;
}

bool vm_run_next(struct vm_run_iter *it, unsigned long *pfn, unsigned long *nr)
{
	u64 run;

	if (it->done == it->r->nr)
		return false;
	if (it->done < VM_RUNS_INLINE) {
		run = it->r->first[it->done];
	} else {
		if (it->in_block == it->block->nr) {
			it->block = it->block->next;
			it->in_block = 0;
		}
		run = it->block->run[it->in_block++];
	}
	it->done++;
	*pfn = vm_run_pfn(run);
	*nr = vm_run_nr(run);
	return true;
}

void vm_area_for_each_run(const struct vm_struct *area,
			  bool (*fn)(unsigned long pfn, unsigned long nr,
				     const struct folio_subrange *sr, void *arg),
			  void *arg)
{
	struct vm_run_iter it;
	unsigned long pfn, nr;

	vm_run_iter(&it, &area->runs);
	while (vm_run_next(&it, &pfn, &nr))
		while (nr) {
			struct folio *folio = page_folio(pfn_to_page(pfn));
			struct folio_subrange sr;
			unsigned long n = nr;

			if (folio) {
				unsigned long at = pfn - folio_pfn(folio);

				n = min(nr, folio_nr_pages(folio) - at);
				sr = folio_subrange(folio, at, n);
			} else {
				for (n = 1; n < nr && !page_folio(pfn_to_page(pfn + n)); n++)
					;
			}
			if (!fn(pfn, n, folio ? &sr : NULL, arg))
				return;
			pfn += n;
			nr -= n;
		}
}
