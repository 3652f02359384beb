/* SPDX-License-Identifier: MIT */
/*
 * poison.c - memory_failure() against freeing, allocating and splitting: a bad frame is never
 * handed on.
 */
#include <octavo/octavo.h>

#include "check.h"

enum { FRAMES = 16 };

static SHARED struct {
	struct folio *folio, *other;
	struct page *page;
	unsigned long pfn;
	long taken[4]; /* 1 + what was allocated after the failure returned; 0: nothing */
	int ret;
	u32 failed;
} s;

static void setup_folio(void)
{
	s.folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	CHECK(s.folio);
	s.pfn = folio_pfn(s.folio);
}

static void failure(void)
{
	s.ret = memory_failure(s.pfn);
	CHECK(s.ret == MF_RECOVERED || s.ret == MF_DELAYED);
	/* release: who allocates after this must not get it */
	smp_store_release(&s.failed, 1u);
}

static void owner_puts(void)
{
	folio_put(s.folio);
}

/* Who knows that memory_failure() has returned never gets the frame. */
static void allocator(void)
{
	u32 failed = smp_load_acquire(&s.failed);
	long pfn = frame_alloc(GFP_NOWAIT, 0, NUMA_NO_NODE);

	if (pfn < 0)
		return;
	if (failed)
		CHECK((unsigned long)pfn != s.pfn);
	frame_free((unsigned long)pfn, 0);
}

static unsigned int type_of_it(void)
{
	return memdesc_type(page_memdesc(pfn_to_page(s.pfn)));
}

/* Whatever this CPU can have: not the bad frame. */
static void take_all(void)
{
	long pfn[FRAMES];
	u32 nr = 0;

	while (nr < FRAMES && (pfn[nr] = frame_alloc(GFP_NOWAIT, 0, NUMA_NO_NODE)) >= 0)
		CHECK((unsigned long)pfn[nr++] != s.pfn);
	while (nr--)
		frame_free((unsigned long)pfn[nr], 0);
}

/* All is freed: the bad frame is out, and no other. */
static void kept_out(void)
{
	CHECK(type_of_it() == MEMDESC_HWPOISON);
	CHECK(nr_poisoned() == 1);
}

/*
 * The same where one that was on its way into the allocator or out of it whenever memory_failure() tried may be there, and goes
 * out with the next allocation that would get it.
 */
static void kept_out_later(void)
{
	for (u32 cpu = 0; type_of_it() == MEMDESC_FREE && cpu < 3; cpu++) {
		CHECK(s.ret == MF_DELAYED);
		check_set_cpu(cpu);
		take_all();
	}
	kept_out();
}

#define POISON .frames = FRAMES, .flags = SC_VALIDATE, .stale = 1
SCENARIO(poison_put) = { SCENARIO_NAME(poison_put),
			 .finish = kept_out,
			 POISON,
			 .about = "memory_failure() against the last put and an allocation",
			 .setup = setup_folio,
			 .threads = { failure, owner_puts, allocator },
			 .roles = { "memory failure", "owner", "allocator" } };

/* Two that are put in one call, the bad one last: one barrier and one look are for both. */
static void setup_two(void)
{
	s.other = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	CHECK(s.other);
	setup_folio();
}

static void owner_puts_two(void)
{
	struct folio *both[] = { s.other, s.folio };

	folios_put_refs(both, NULL, 2);
}

SCENARIO(poison_puts) = { SCENARIO_NAME(poison_puts),
			  .finish = kept_out,
			  POISON,
			  .about = "memory_failure() against last puts of two in one call",
			  .setup = setup_two,
			  .threads = { failure, owner_puts_two, allocator },
			  .roles = { "memory failure", "owner", "allocator" } };

/* A plain page has no reference that a failure could hold: it looks at the word once. */
static void setup_page(void)
{
	s.page = alloc_pages(GFP_KERNEL, 0);
	CHECK(s.page);
	s.pfn = page_to_pfn(s.page);
}

static void page_owner(void)
{
	__free_pages(s.page, 0);
}

SCENARIO(poison_plain) = {
	SCENARIO_NAME(poison_plain),
	POISON,
	.about = "memory_failure() of a plain page against its free and an allocation",
	.setup = setup_page,
	.threads = { failure, page_owner, allocator },
	.roles = { "memory failure", "owner", "allocator" },
	.finish = kept_out_later
};

/* With nobody else there is no such way: either sees the other. */
SCENARIO(poison_plain_free) = { SCENARIO_NAME(poison_plain_free),
				POISON,
				.about = "memory_failure() of a plain page against its free",
				.setup = setup_page,
				.threads = { failure, page_owner },
				.roles = { "memory failure", "owner" },
				.finish = kept_out };

static void setup_free(void)
{
	setup_folio();
	folio_put(s.folio);
}

SCENARIO(poison_free) = { SCENARIO_NAME(poison_free),
			  .finish = kept_out,
			  POISON,
			  .about = "memory_failure() of a free frame against two allocators",
			  .setup = setup_free,
			  .threads = { allocator, failure, allocator },
			  .roles = { "allocator", "memory failure", "allocator" } };

static void setup_split(void)
{
	s.folio = folio_alloc(GFP_KERNEL, 1, FOLIO_ANON);
	CHECK(s.folio);
	s.pfn = folio_pfn(s.folio) + 1;
	folio_lock(s.folio);
}

static void splitter(void)
{
	(void)!folio_split(s.folio, 0, 0, GFP_NOWAIT);
}

static void split_done(void)
{
	struct folio *folio = page_folio(pfn_to_page(s.pfn));

	CHECK(folio && folio_test_flag(folio, PG_hwpoison));
	if (folio != s.folio) {
		CHECK(!folio_test_flag(s.folio, PG_hwpoison));
		folio_unlock(folio);
		folio_put(folio);
	}
	folio_unlock(s.folio);
	folio_put(s.folio);
	kept_out();
}

SCENARIO(poison_split) = { SCENARIO_NAME(poison_split),
			   .about = "memory_failure() against a split: the right piece is marked",
			   .frames = FRAMES,
			   .flags = SC_VALIDATE,
			   .stale = 1,
			   .setup = setup_split,
			   .threads = { failure, splitter },
			   .roles = { "memory failure", "splitter" },
			   .finish = split_done };
