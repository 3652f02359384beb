/* SPDX-License-Identifier: MIT */
/*
 * device.c - memory of devices: who takes some of it, gives it back and uses it again, against memunmap_pages(), walkers
 * and bad frames.
 *
 * "resource" is what the driver takes down when memunmap_pages() is over: plain, so an access that is not ordered before
 * that is a race.
 */
#include <octavo/hwpoison.h>
#include <octavo/memremap.h>
#include <octavo/octavo.h>

#include "check.h"

/* The section where memory with physical addresses is. */
#define AT 8ul

static SHARED struct {
	struct dev_pagemap pgmap;
	struct page *page; /* its first */
	struct folio *folio, *again;
	u64 resource[2];
	u32 frees, idle, gone, failed;
	int ret;
} s;

static void freed(struct folio *folio)
{
	CHECK(!s.gone);
	CHECK(folio_ref_count(folio) == 0);
	/* relaxed: counted by whoever drops the last reference */
	fetch_add_relaxed(&s.frees, 1u);
	/* release: the driver's own: from here on it may use the memory again */
	smp_store_release(&s.idle, 1u);
}

static u32 touched(struct vm_fault *vmf)
{
	return 0;
}

static const struct dev_pagemap_ops ops = { .folio_free = freed, .migrate_to_ram = touched };

/* Each CPU has a descriptor of each class at hand. */
static void warm(void)
{
	for (unsigned int cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++) {
		check_set_cpu(cpu);
		for (unsigned int order = 0; order < 2; order++) {
			int err;
			struct folio *folio = zone_device_folio_init(s.page, &s.pgmap, order, &err);

			CHECK(folio);
			folio_unlock(folio);
			folio_put(folio);
		}
	}
	check_set_cpu(0);
	rcu_barrier();
	s.frees = s.idle = 0;
}

static void setup_map(enum memory_type type)
{
	s.pgmap = (struct dev_pagemap){ .type = type, .pfn = AT, .nr = 8, .ops = &ops };
	if (type != MEMORY_DEVICE_PRIVATE)
		CHECK(!octavo_remove_memory(AT << PAGE_SHIFT, SECTION_SIZE));
	CHECK(!memremap_pages(&s.pgmap));
	s.page = s.pgmap.words;
	warm();
}

static void setup_private(void)
{
	setup_map(MEMORY_DEVICE_PRIVATE);
}

static struct folio *make(unsigned int order)
{
	int err;
	struct folio *folio = zone_device_folio_init(s.page, &s.pgmap, order, &err);

	CHECK(folio);
	folio_unlock(folio);
	return folio;
}

static void setup_owned(void)
{
	setup_private();
	s.folio = make(1);
}

/* ---- against memunmap_pages() ---- */

static void use_one(unsigned long n)
{
	int err;
	struct folio *folio = zone_device_folio_init(s.page + n, &s.pgmap, 0, &err);

	if (!folio) {
		CHECK(err == -ENODEV);
		return;
	}
	s.resource[n]++;
	folio_unlock(folio);
	folio_put(folio);
}

static void allocator(void)
{
	use_one(0);
}

static void other_allocator(void)
{
	use_one(1);
}

static void unmapper(void)
{
	memunmap_pages(&s.pgmap);
	s.gone = 1;
	s.resource[0] = s.resource[1] = ~0ul;
	/* the driver frees it */
	s.pgmap.ops = NULL;
	s.pgmap.words = NULL;
}

static void unmapped(void)
{
	CHECK(s.gone && s.resource[0] == ~0ul);
	CHECK(s.pgmap.ref == 1ull << 63);
}

#define UNMAP .frames = 64, .finish = unmapped, .flags = SC_VALIDATE, .stale = 1
SCENARIO(device_memunmap_init) = { SCENARIO_NAME(device_memunmap_init),
				   UNMAP,
				   .about = "two take device memory while it goes",
				   .rows = "S1.5 S1.6 S1.7",
				   .setup = setup_private,
				   .threads = { allocator, unmapper, other_allocator },
				   .roles = { "driver", "unmapper", "driver" } };

/* On page 0, and it still has it. */
static void owner_puts(void)
{
	s.resource[0]++;
	folio_put(s.folio);
}

static void setup_owned_one(void)
{
	setup_private();
	s.folio = make(0);
}

SCENARIO(device_memunmap_put) = { SCENARIO_NAME(device_memunmap_put),
				  UNMAP,
				  .about = "the last reference goes, and another takes some, "
					   "while device memory goes",
				  .rows = "S1.6 S1.14",
				  .setup = setup_owned_one,
				  .threads = { owner_puts, unmapper, other_allocator },
				  .roles = { "owner", "unmapper", "driver" } };

/* A speculative reference, whose put may be the last. */
static void walker(void)
{
	struct folio *folio = page_try_get_folio(s.page + 1);

	if (!folio)
		return;
	CHECK(folio_page_idx(folio, s.page + 1) < folio_nr_pages(folio));
	CHECK(folio_is_zone_device(folio));
	folio_put(folio);
}

static void owner_of_two_puts(void)
{
	s.resource[0]++;
	folio_put(s.folio);
}

/* Words of the memory map stay readable. */
static void setup_owned_coherent(void)
{
	setup_map(MEMORY_DEVICE_COHERENT);
	s.folio = make(1);
}

SCENARIO(device_memunmap_walk) = { SCENARIO_NAME(device_memunmap_walk),
				   .frames = 64,
				   .about = "a walker has the last reference, of memory that goes",
				   .setup = setup_owned_coherent,
				   .finish = unmapped,
				   .threads = { owner_of_two_puts, walker, unmapper },
				   .roles = { "owner", "walker", "unmapper" },
				   .flags = SC_VALIDATE,
				   .stale = 1 };

/* ---- used again at another order ---- */

static void user_of_again(void)
{
	int err;

	if (!smp_load_acquire(&s.idle))
		return;
	s.again = zone_device_folio_init(s.page + 1, &s.pgmap, 0, &err);
	CHECK(s.again);
}

static void used_again(void)
{
	CHECK(s.frees == 1);
	CHECK(page_memdesc(s.page).v == MEMDESC_DEVICE);
	if (s.again) {
		CHECK(page_folio(s.page + 1) == s.again);
		CHECK(folio_order(s.again) == 0 && folio_ref_count(s.again) == 1);
		CHECK(folio_test_locked(s.again) && s.pgmap.ref == 1);
		CHECK(folio_validate(s.again));
	} else {
		CHECK(page_memdesc(s.page + 1).v == MEMDESC_DEVICE && s.pgmap.ref == 0);
	}
}

SCENARIO(device_reuse_walk) = { SCENARIO_NAME(device_reuse_walk),
				.frames = 64,
				.about = "memory is freed, and used again at another order, "
					 "while somebody follows an old word",
				.rows = "S1.11 S1.12 S1.13 S1.14 SX.4",
				.setup = setup_owned,
				.finish = used_again,
				.flags = SC_VALIDATE,
				.stale = 1,
				.threads = { owner_of_two_puts, user_of_again, walker },
				.roles = { "owner", "driver", "walker" } };

/* ---- bad frames ---- */

static void setup_coherent(void)
{
	setup_map(MEMORY_DEVICE_COHERENT);
}

static void failure(void)
{
	s.ret = memory_failure(AT + 1);
	/* release: who takes some after this must not get it */
	smp_store_release(&s.failed, 1u);
}

static void taker(void)
{
	u32 failed = smp_load_acquire(&s.failed);
	int err;

	s.again = zone_device_folio_init(s.page, &s.pgmap, 1, &err);
	if (s.again)
		CHECK(!failed);
	else
		CHECK(err == -EHWPOISON);
}

static void bad_is_known(void)
{
	CHECK(s.ret == (s.again ? MF_DELAYED : MF_IGNORED));
	if (s.again)
		CHECK(folio_test_flag(s.again, PG_hwpoison));
}

SCENARIO(device_poison_init) = {
	SCENARIO_NAME(device_poison_init),
	.frames = 64,
	.about = "a frame of idle device memory goes bad while it is taken",
	.stale = 1,
	.setup = setup_coherent,
	.finish = bad_is_known,
	.flags = SC_VALIDATE,
	.threads = { failure, taker },
	.roles = { "memory failure", "driver" }
};

/* ---- files ---- */

static void setup_file(void)
{
	setup_map(MEMORY_DEVICE_FS_DAX);
	s.folio = make(0);
}

static void truncater(void)
{
	zone_device_wait_idle(&s.pgmap, 0, 2);
	s.resource[0] = ~0ul;
}

static void truncated(void)
{
	CHECK(s.resource[0] == ~0ul && s.pgmap.ref == 0);
}

SCENARIO(device_wait_idle) = { SCENARIO_NAME(device_wait_idle),
			       .frames = 64,
			       .about = "a file is truncated while its page has a user",
			       .rows = "S1.9 S1.43",
			       .setup = setup_file,
			       .finish = truncated,
			       .flags = SC_VALIDATE,
			       .threads = { owner_puts, truncater, walker },
			       .roles = { "user", "file system", "walker" } };
