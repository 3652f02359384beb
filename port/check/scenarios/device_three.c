/* SPDX-License-Identifier: MIT */
/*
 * device_three.c - three at one page of a device: who brings it back because a CPU touched it, who takes it from there
 * for another reason, and who changes the address space, the folio or the device itself.
 */
#include <octavo/gup.h>
#include <octavo/hwpoison.h>

#include "device_driver.h"

static SHARED struct {
	u64 resource; /* what the driver takes down when its memory is gone: plain */
	u32 gone;
	bool stored;
} t;

/* A fault without the path that takes no mmap_lock, which gives up at what a device has. Return: false: killed. */
static bool fault(unsigned long addr, u32 flags)
{
	struct vm_area_struct *vma;
	vm_fault_t ret;

	mmap_read_lock(s.mm);
	vma = vma_lookup(s.mm, addr);
	ret = vma ? handle_mm_fault(vma, addr, flags | FAULT_FLAG_REMOTE) : VM_FAULT_SIGSEGV;
	mmap_read_unlock(s.mm);
	CHECK(!(ret & VM_FAULT_ERROR) || (!vma && ret == VM_FAULT_SIGSEGV));
	return vma;
}

/* ---- fault-back, eviction, and it is dropped ---- */

/* Too late, perhaps, for what was there. */
static void late_writer(void)
{
	fault(ADDR, FAULT_FLAG_WRITE);
}

static void zapper(void)
{
	CHECK(!vm_madvise(s.mm, ADDR, PAGE_SIZE, MADV_DONTNEED));
}

static void is_dropped(void)
{
	check_device(0);
}

SCENARIO(device_evict_fault_zap) = {
	SCENARIO_NAME(device_evict_fault_zap),
	.frames = 128,
	.about = "a page is evicted from a device while a CPU touches it and its owner drops it",
	.rows = "S1.32 S1.34 S1.38",
	.setup = setup_on_device,
	.finish = is_dropped,
	.stale = -1,
	.stale_below = 1,
	.threads = { late_writer, evict, zapper },
	.roles = { "writer", "driver", "owner" }
};

/* ---- collect, fault-back, split ---- */

static void setup_two_on_device(void)
{
	setup();
	CHECK(!vm_munmap(s.mm, ADDR, 2 * PAGE_SIZE));
	WRITE_ONCE(s.mm->folio_orders, 1u << 1 | 1u);
	map(ADDR, 2 * PAGE_SIZE);
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	words_anywhere(s.mm, ADDR)[0] = 100;
	words_anywhere(s.mm, ADDR + PAGE_SIZE)[0] = 101;
	device_add(MEMORY_DEVICE_PRIVATE, 0);
	migrate_some(2, MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_SELECT_COMPOUND);
	CHECK(on_device(s.mm) && m.taken == 2 && m.pgmap.ref == 2);
	s.folio = page_folio(m.pgmap.words);
	folio_get(s.folio);
	rcu_barrier();
}

/* And its driver has nothing to give for it. */
static void collector(void)
{
	unsigned long src[2], dst[2];
	struct migrate_vma args = { .src = src,
				    .dst = dst,
				    .start = ADDR,
				    .end = ADDR + 2 * PAGE_SIZE,
				    .pgmap_owner = &m,
				    .flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE |
					     MIGRATE_VMA_SELECT_COMPOUND };

	mmap_read_lock(s.mm);
	args.vma = vma_lookup(s.mm, ADDR);
	CHECK(!migrate_vma_setup(&args));
	migrate_vma_finalize(&args);
	mmap_read_unlock(s.mm);
}

static void toucher_of_second(void)
{
	CHECK(fault(ADDR + PAGE_SIZE, 0));
}

static void splitter(void)
{
	int err;

	folio_lock(s.folio);
	err = split_folio_mapped(s.folio, 0, NULL);
	CHECK(!err || err == -EBUSY || err == -EAGAIN);
	folio_unlock(s.folio);
	folio_put(s.folio);
}

static void second_is_back(void)
{
	pte_t second = entry_of(s.mm, ADDR + PAGE_SIZE);

	CHECK(words_anywhere(s.mm, ADDR)[0] == 100 && on_device(s.mm));
	CHECK(words_anywhere(s.mm, ADDR + PAGE_SIZE)[0] == 101);
	check_device(1 + pte_is_device_private(second));
}

SCENARIO(device_collect_fault_split) = {
	SCENARIO_NAME(device_collect_fault_split),
	.frames = 128,
	.about =
		"a folio of a device is collected while its second page is touched and it is split",
	.rows = "S1.24 S1.34 S1.36",
	.setup = setup_two_on_device,
	.finish = second_is_back,
	.stale = -1,
	.stale_below = 1,
	.threads = { collector, toucher_of_second, splitter },
	.roles = { "driver", "reader", "splitter" }
};

/* ---- a mirror, migration, a CPU ---- */

/* The page that the mirror may write to; NULL: none. */
static u64 *mirror_words(unsigned long el)
{
	if (!(el & HMM_PFN_WRITE))
		return NULL;
	if (el & HMM_PFN_PRIVATE)
		return memory(device_private_page((devidx_t){ hmm_pfn_value(el) }));
	return pfn_to_virt(hmm_pfn_value(el));
}

/* The device writes to the second word, where the page is: once. */
static void mirror(void)
{
	unsigned long el = 0;
	struct hmm_range range = { .notifier = &m.mni,
				   .start = ADDR,
				   .end = ADDR + PAGE_SIZE,
				   .hmm_pfns = &el,
				   .owner = &m };
	int err;

	range.notifier_seq = mmu_interval_read_begin(&m.mni);
	mmap_read_lock(s.mm);
	err = hmm_range_fault(&range);
	if (!err && mirror_words(el))
		mirror_fill(range.notifier_seq, mirror_words(el));
	mmap_read_unlock(s.mm);
	spin_lock(&m.lock);
	if (m.entry) {
		m.entry[1]++;
		m.filled++;
	}
	spin_unlock(&m.lock);
}

/* Faults at most once. */
static void writer(void)
{
	t.stored = check_mmu_store(s.mm, ADDR, 7) == CHECK_MMU_OK;
	if (!t.stored) {
		CHECK(fault(ADDR, FAULT_FLAG_WRITE));
		t.stored = check_mmu_store(s.mm, ADDR, 7) == CHECK_MMU_OK;
	}
}

static void nothing_is_lost(void)
{
	CHECK(word_anywhere(s.mm) == (t.stored ? 7 : 100));
	CHECK(words_anywhere(s.mm, ADDR)[1] == m.filled);
	check_device(on_device(s.mm));
}

SCENARIO(device_hmm_migrate_store) = {
	SCENARIO_NAME(device_hmm_migrate_store),
	.frames = 128,
	.about =
		"a device mirrors a page and writes to it while it migrates there and a CPU stores",
	.rows = "S1.25 S1.34 S1.45",
	.setup = setup_mirror,
	.finish = nothing_is_lost,
	.stale = -1,
	.stale_below = 1,
	.threads = { mirror, to_device, writer },
	.roles = { "device", "driver", "writer" }
};

/* ---- the device goes ---- */

/* The section where memory with physical addresses is. */
#define AT 8ul

static void setup_coherent(void)
{
	CHECK(!octavo_remove_memory(AT << PAGE_SHIFT, SECTION_SIZE));
	device_add(MEMORY_DEVICE_COHERENT, AT);
	/* each CPU has a descriptor at hand */
	for (unsigned int cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++) {
		struct folio *folio;

		check_set_cpu(cpu);
		folio = take_device(0);
		folio_unlock(folio);
		folio_put(folio);
	}
	check_set_cpu(0);
	rcu_barrier();
	m.taken = m.frees = 0;
}

static void device_goes(void)
{
	memunmap_pages(&m.pgmap);
	t.gone = 1;
	t.resource = ~0ul;
	/* the driver frees it */
	m.pgmap.ops = NULL;
	m.pgmap.words = NULL;
}

static void has_gone(void)
{
	CHECK(t.gone && m.pgmap.ref == 1ull << 63);
	CHECK(m.frees == m.taken);
}

/* Fails, and is then as it was, from when the device begins to go. */
static void allocator(void)
{
	int err;
	struct folio *folio = zone_device_folio_init(pfn_to_page(AT), &m.pgmap, 0, &err);

	if (!folio) {
		CHECK(err == -ENODEV);
		return;
	}
	fetch_add_relaxed(&m.taken, 1u);
	t.resource++;
	folio_unlock(folio);
	folio_put(folio);
}

/* Whose memory a frame is, by who has a reference of it only. */
static void looker(void)
{
	struct folio *folio = page_try_get_folio(pfn_to_page(AT));

	if (!folio)
		return;
	CHECK(folio_pgmap(folio) == &m.pgmap && !t.gone);
	folio_put(folio);
}

SCENARIO(device_memunmap_look) = { SCENARIO_NAME(device_memunmap_look),
				   .frames = 64,
				   .about = "device memory goes while some is taken and looked up",
				   .rows = "S1.6 S1.14 SX.4",
				   .setup = setup_coherent,
				   .finish = has_gone,
				   .flags = SC_VALIDATE,
				   .stale = 1,
				   .threads = { allocator, looker, device_goes },
				   .roles = { "driver", "walker", "unmapper" } };

static void setup_coherent_mapped(void)
{
	setup_coherent();
	setup();
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	to_device();
	CHECK(pte_pfn(entry_of(s.mm, ADDR)) == AT);
	words_anywhere(s.mm, ADDR)[0] = 100;
	rcu_barrier();
}

static void getter(void)
{
	struct page *page;

	if (get_user_pages_fast(s.mm, ADDR, 1, FOLL_FAST_ONLY, &page) != 1)
		return;
	CHECK(*(u64 *)page_address(page) == 100);
	if (page_to_pfn(page) == AT)
		CHECK(!t.gone && t.resource == 0);
	put_user_page(page);
}

static void zapped_and_gone(void)
{
	CHECK(pte_none(entry_of(s.mm, ADDR)));
	CHECK(mm_validate(s.mm));
	has_gone();
}

SCENARIO(device_memunmap_gup) = {
	SCENARIO_NAME(device_memunmap_gup),
	.frames = 128,
	.about = "device memory goes while its one page is dropped and got by get_user_pages_fast",
	.rows = "S1.6 S1.14 S1.38 SX.4",
	.setup = setup_coherent_mapped,
	.finish = zapped_and_gone,
	.stale = 1,
	.threads = { getter, zapper, device_goes },
	.roles = { "getter", "owner", "unmapper" }
};

/* ---- bad frames ---- */

static int failed(struct dev_pagemap *pgmap, unsigned long pfn, unsigned long nr)
{
	/* it is kept from going while it is asked */
	CHECK(pgmap == &m.pgmap && pfn == AT && !t.gone);
	return 0;
}

static void setup_failing(void)
{
	static const struct dev_pagemap_ops asked = { .folio_free = freed,
						      .memory_failure = failed };

	setup_coherent();
	m.pgmap.ops = &asked;
	s.folio = take_device(0);
	folio_unlock(s.folio);
}

static void owner(void)
{
	folio_put(s.folio);
}

/* Nobody has the pagemap but who looks frames up: not even its live references may be read any more. */
static void device_goes_and_pagemap(void)
{
	device_goes();
	m.pgmap.ref = 1ull << 63;
}

static void failure(void)
{
	/* asked, or on its way to be idle, or gone */
	int ret = memory_failure(AT);

	CHECK(ret == MF_RECOVERED || ret == MF_DELAYED || ret == MF_IGNORED || ret == -ENXIO);
}

SCENARIO(device_memunmap_failure) = {
	SCENARIO_NAME(device_memunmap_failure),
	.frames = 64,
	.about = "a frame of device memory goes bad while its last reference and the device go",
	.rows = "S1.6",
	.setup = setup_failing,
	.finish = has_gone,
	.stale = 1,
	.threads = { owner, failure, device_goes_and_pagemap },
	.roles = { "owner", "memory failure", "unmapper" }
};
