/* SPDX-License-Identifier: MIT */
/*
 * kmap.c - kernel mappings: areas that end while somebody looks, addresses that are used again, and two CPUs that
 * want some. CPUs 0 and 2 have one home, CPU 1 another.
 *
 * What is not here: the kernel's own accesses. Whether they meet what they should is tests/test_vmap.c's.
 */
#include <octavo/page.h>
#include <octavo/plain.h>
#include <octavo/rcu.h>
#include <octavo/state.h>
#include <octavo/vmalloc.h>

#include "check.h"

static SHARED struct {
	struct page *a, *b;
	void *area, *other;
	unsigned long ended; /* how many were told that they ended it */
	void *got[2];
} s;

static struct page *new_page(void)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);

	CHECK(page);
	return page;
}

/* Everything up, tables made, an area in the pool of CPU 0. */
static void setup_up(void)
{
	void *p;

	s.a = new_page();
	s.b = new_page();
	p = vmap(&s.a, 1, 0, PAGE_KERNEL);
	CHECK(p);
	vunmap(p);
	vm_unmap_aliases();
}

/* ---- vfree() against a look-up ---- */

static void setup_look_up(void)
{
	setup_up();
	s.area = vmalloc(PAGE_SIZE);
	CHECK(s.area);
}

static void frees(void)
{
	vfree(s.area);
	vm_unmap_aliases();
}

/* A page that was found and could be had, and is still there: then it stays a page of vmalloc()'s. */
static void looks_up(void)
{
	struct page *page = vmalloc_to_page(s.area);

	if (!page || !try_get_page(page))
		return;
	if (vmalloc_to_page(s.area) == page) {
		memdesc_t md = page_memdesc(page);

		CHECK(memdesc_is_misc(md) && memdesc_count(md) >= 1);
		CHECK(memdesc_subtype(md) == MISC_VMALLOC);
	}
	put_page(page);
}

static void all_is_free(void)
{
	vm_unmap_aliases();
	CHECK(!find_vm_area(s.area));
	CHECK(!vmalloc_nr_pages());
}

SCENARIO(kmap_vfree_lookup) = { SCENARIO_NAME(kmap_vfree_lookup),
				.about = "vfree() against vmalloc_to_page() and a reference",
				.rows = "S4.10 S4.14",
				.setup = setup_look_up,
				.threads = { frees, looks_up },
				.roles = { "vfree", "look-up" },
				.finish = all_is_free,
				.frames = 64,
				.flags = SC_VALIDATE };

/* ---- two who free the same, and a listing ---- */

static void frees_once(void)
{
	vfree(s.area);
}

static bool sees(const struct vmalloc_info *info, void *arg)
{
	CHECK(info->addr && info->size >= PAGE_SIZE);
	return true;
}

static void lists(void)
{
	vmalloc_for_each(sees, NULL);
}

SCENARIO(kmap_vfree_twice) = { SCENARIO_NAME(kmap_vfree_twice),
			       .about = "two free one area, a third one lists: it ends once",
			       .rows = "S4.9 S4.10",
			       .setup = setup_look_up,
			       .threads = { frees_once, frees_once, lists },
			       .roles = { "vfree", "vfree", "listing" },
			       .finish = all_is_free,
			       .frames = 64,
			       .flags = SC_VALIDATE };

/* ---- statistics ---- */

static void counts(void)
{
	struct vmalloc_stat st;

	vmalloc_stat(&st);
	CHECK(st.nr_vmalloc <= 2 && st.lazy_frames <= 2);
}

SCENARIO(kmap_stat) = { SCENARIO_NAME(kmap_stat),
			.about = "vmalloc_stat() against vfree() and its flush",
			.rows = "S4.11",
			.setup = setup_look_up,
			.threads = { frees, counts },
			.roles = { "vfree and flush", "statistics" },
			.finish = all_is_free,
			.frames = 64,
			.flags = SC_VALIDATE };

/* ---- deferred ---- */

static void setup_two(void)
{
	setup_look_up();
	s.other = vmalloc(PAGE_SIZE);
	CHECK(s.other);
}

static void defers(void)
{
	vfree_atomic(s.area);
}

static void defers_other(void)
{
	vfree_atomic(s.other);
}

static void runs_deferred(void)
{
	vmalloc_run_deferred();
}

SCENARIO(kmap_deferred) = { SCENARIO_NAME(kmap_deferred),
			    .about = "areas freed where nothing may sleep, against who ends them",
			    .rows = "S4.10",
			    .setup = setup_two,
			    .threads = { defers, defers_other, runs_deferred },
			    .roles = { "atomic", "atomic", "worker" },
			    .finish = all_is_free,
			    .frames = 64,
			    .flags = SC_VALIDATE };

/* ---- two CPUs want addresses ---- */

static void setup_addresses(void)
{
	setup_up();
	s.got[0] = s.got[1] = NULL;
}

static void wants(unsigned int i, struct page *page)
{
	void *p = vmap(&page, 1, 0, PAGE_KERNEL);

	CHECK(p);
	CHECK(vmalloc_to_page(p) == page);
	s.got[i] = p;
}

static void wants_a(void)
{
	wants(0, s.a);
}

static void wants_b(void)
{
	wants(1, s.b);
}

static void both_have(void)
{
	CHECK(s.got[0] != s.got[1]);
	CHECK(vmalloc_to_page(s.got[0]) == s.a && vmalloc_to_page(s.got[1]) == s.b);
	vunmap(s.got[0]);
	vunmap(s.got[1]);
	vm_unmap_aliases();
}

#define ADDRESSES                                                                                  \
	.setup = setup_addresses, .threads = { wants_a, wants_b }, .roles = { "first", "second" }, \
	.finish = both_have, .frames = 64, .cpus = 3, .flags = SC_VALIDATE

/* Of one home: CPUs 0 and 2. */
SCENARIO(kmap_addresses_home) = { SCENARIO_NAME(kmap_addresses_home), ADDRESSES, .cpu_step = 2,
				  .about = "two CPUs of one home want addresses: a pool, a tree" };
SCENARIO(kmap_addresses) = { SCENARIO_NAME(kmap_addresses), ADDRESSES,
			     .about = "two CPUs of two homes want addresses" };

/* ---- a purge against the addresses' next user ---- */

static void setup_lazy(void)
{
	setup_up();
	s.area = vmap(&s.a, 1, 0, PAGE_KERNEL);
	CHECK(s.area);
}

static void unmaps(void)
{
	vunmap(s.area);
	vm_unmap_aliases();
}

/* If it gets the same addresses, nobody has a translation of them. */
static void maps_again(void)
{
	void *p = vmap(&s.b, 1, 0, PAGE_KERNEL);

	CHECK(p);
	CHECK(vmalloc_to_page(p) == s.b);
	s.got[0] = p;
}

static void uses(void)
{
	const struct page *page = vmalloc_to_page(s.area);

	CHECK(!page || page == s.a || page == s.b);
}

static void mapped_again(void)
{
	CHECK(vmalloc_to_page(s.got[0]) == s.b);
	vunmap(s.got[0]);
	vm_unmap_aliases();
}

SCENARIO(kmap_purge_reuse) = { SCENARIO_NAME(kmap_purge_reuse),
			       .about = "unmapped, purged and mapped again under a look-up",
			       .rows = "S4.19",
			       .setup = setup_lazy,
			       .threads = { unmaps, uses, maps_again },
			       .roles = { "unmap", "look-up", "map" },
			       .finish = mapped_again,
			       .frames = 64,
			       .flags = SC_VALIDATE };

/* ---- what a flush leaves to another home ---- */

/* CPU 1 has ended an area and has another; CPU 0 has as many as make a flush due. */
static void setup_homes(void)
{
	setup_up();
	check_set_cpu(1);
	s.area = vmalloc(PAGE_SIZE);
	s.other = vmalloc(PAGE_SIZE);
	CHECK(s.area && s.other);
	vfree(s.area);
	check_set_cpu(0);
	for (unsigned int i = 0; i < 2; i++) {
		s.got[i] = vmalloc(PAGE_SIZE);
		CHECK(s.got[i]);
	}
}

static void makes_flush_due(void)
{
	vfree(s.got[0]);
	vfree(s.got[1]);
}

/* Frees what was left ready, whenever that is. */
static void ends_next(void)
{
	vfree(s.other);
}

static void all_came_back(void)
{
	struct vmalloc_stat st;

	vm_unmap_aliases();
	vmalloc_stat(&st);
	CHECK(!st.nr_vmalloc && !st.lazy_pages && !st.lazy_frames && !st.areas);
}

SCENARIO(kmap_lazy_homes) = {
	SCENARIO_NAME(kmap_lazy_homes),
	.about = "a flush that is due leaves areas to another home, which ends one",
	.rows = "S4.19",
	.setup = setup_homes,
	.threads = { makes_flush_due, ends_next },
	.roles = { "flushes", "other home" },
	.finish = all_came_back,
	.frames = 64,
	.cpus = 3,
	.flags = SC_VALIDATE
};

/* ---- mappings for a short time, of a block that ends ---- */

enum { RAM_PAGES = 4 };

/* A block of 8 pages, all of them taken. */
static void setup_ram(void)
{
	struct page *pages[RAM_PAGES];

	setup_up();
	for (unsigned int i = 0; i < RAM_PAGES; i++)
		pages[i] = s.a;
	s.area = vm_map_ram(pages, RAM_PAGES, NUMA_NO_NODE);
	s.other = vm_map_ram(pages, RAM_PAGES, NUMA_NO_NODE);
	CHECK(s.area && (char *)s.other == (char *)s.area + RAM_PAGES * PAGE_SIZE);
}

/* Whoever ends the block meanwhile: nobody has a translation after this. */
static void unmaps_and_flushes(void)
{
	unsigned int before = check_mmu_flushes();

	vm_unmap_ram(s.area, RAM_PAGES);
	vm_unmap_aliases();
	CHECK(check_mmu_flushes() != before);
}

static void unmaps_other(void)
{
	vm_unmap_ram(s.other, RAM_PAGES);
}

SCENARIO(kmap_ram_end) = { SCENARIO_NAME(kmap_ram_end),
			   .about = "a flush for a mapping while another one's end ends the block",
			   .rows = "S4.19",
			   .setup = setup_ram,
			   .threads = { unmaps_and_flushes, unmaps_other },
			   .roles = { "flushes", "other" },
			   .finish = all_came_back,
			   .frames = 64,
			   .cpus = 3,
			   .flags = SC_VALIDATE };
