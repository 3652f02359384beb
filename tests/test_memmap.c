/* SPDX-License-Identifier: MIT */
/*
 * test_memmap.c - region lists, metadata, sections, zones. Memory that comes and goes:
 * test_hotplug.c.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "test.h"

#include "../mm/init.h"

/* Sanitizers leave no room for a machine of terabytes. */
#if defined(__SANITIZE_ADDRESS__) || defined(OCTAVO_TSAN)
#define ROOM_FOR_TERABYTES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define ROOM_FOR_TERABYTES 0
#endif
#endif
#ifndef ROOM_FOR_TERABYTES
#define ROOM_FOR_TERABYTES 1
#endif

#define SECTIONS(n) ((u64)(n)*SECTION_SIZE)

static void ignore_log(enum octavo_log_level level, const char *line)
{
}

static u64 seed;

static u64 rnd(u64 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed * 0x2545f4914f6cdd1dull >> 32) % n;
}

static memdesc_t word(unsigned long pfn)
{
	return page_memdesc(pfn_to_page(pfn));
}

static bool reserved(unsigned long pfn)
{
	return word(pfn).v == memdesc_misc_frozen(MISC_RESERVED, 0).v;
}

/* ---- region lists against a model that looks at each byte of each frame ---- */

static bool line_has(const struct octavo_region *r, u64 byte)
{
	return byte >= r->base && byte - r->base < r->size;
}

/* -1: not usable; else its node. Bounds are multiples of @grain, so one byte in each grain will do. */
static int model_node(const struct octavo_region *r, u32 nr, unsigned long pfn, u64 grain)
{
	u64 base = (u64)pfn << PAGE_SHIFT;
	int node = -1;

	for (u32 i = 0; i < nr; i++) {
		u64 has = 0;

		for (u64 b = 0; b < PAGE_SIZE; b += grain)
			has += line_has(&r[i], base + b);
		if (r[i].type == OCTAVO_MEM_RESERVED && has)
			return -1;
		if (r[i].type == OCTAVO_MEM_USABLE && has == PAGE_SIZE / grain && node < 0)
			node = (int)r[i].node;
	}
	return node;
}

static void check_against_model(const struct octavo_region *r, u32 nr, unsigned long max_pfn,
				u64 grain)
{
	u64 usable = 0, free = 0;

	/* the upper layers have taken a few frames; what magazines hold is free again */
	frame_drain_all();
	for (unsigned long s = 0; s < max_pfn; s += PAGES_PER_SECTION) {
		int node[PAGES_PER_SECTION], first = -1;

		for (unsigned long i = 0; i < PAGES_PER_SECTION; i++) {
			node[i] = model_node(r, nr, s + i, grain);
			first = first < 0 ? node[i] : first;
		}
		assert_int_equal(pfn_valid(s), first >= 0);
		for (unsigned long i = 0; first >= 0 && i < PAGES_PER_SECTION; i++) {
			assert_int_equal(pfn_to_nid(s + i), first);
			assert_int_equal(reserved(s + i), node[i] < 0);
			assert_int_equal(frame_is_free(s + i), word(s + i).v == 0);
			usable += node[i] >= 0;
			free += frame_is_free(s + i);
		}
	}
	assert_int_equal(totalram_pages(), usable);
	assert_int_equal(nr_free_pages(), free);
	assert_true(free + 16 >= usable);
}

static void test_memmap_any_list_is_what_the_model_says(void **state)
{
	enum { LINES = 12, SPAN = 4 };
	struct octavo_region r[LINES];
	int booted = 0;

	seed = 0x6c617374;
	sim_log_to(ignore_log);
	for (int round = 0; round < 60; round++) {
		struct sim_config cfg = { .quiet = true, .regions = r };
		u64 grain = round % 3 ? PAGE_SIZE / 4 : PAGE_SIZE;
		u64 span = SECTIONS(SPAN);
		int err;

		cfg.nr_regions = 1 + (u32)rnd(LINES);
		cfg.max_phys = span;
		for (u32 i = 0; i < cfg.nr_regions; i++) {
			r[i].base = rnd(span / grain) * grain;
			r[i].size = rnd(8) ? rnd((span - r[i].base) / grain + 1) * grain : 0;
			r[i].size = rnd(3) ? r[i].size : min(r[i].size, (rnd(9) + 1) * grain);
			r[i].type = rnd(3) ? OCTAVO_MEM_USABLE : OCTAVO_MEM_RESERVED;
			r[i].node = (u32)rnd(3);
		}
		err = sim_boot(&cfg);
		if (err == -EINVAL) {
			for (unsigned long p = 0; p < span >> PAGE_SHIFT; p++)
				assert_int_equal(model_node(r, cfg.nr_regions, p, grain), -1);
			continue;
		}
		assert_int_equal(err, 0);
		booted++;
		check_against_model(r, cfg.nr_regions, octavo_state.frame.max_pfn, grain);
		shutdown_clean();
	}
	assert_true(booted > 30);
}

static void test_memmap_neighbours_merge_whatever_their_order(void **state)
{
	static struct octavo_region r[2 * OCTAVO_NR_REGIONS];
	struct sim_config cfg = { .regions = r, .nr_regions = 2 * OCTAVO_NR_REGIONS };

	/* pages of one run, the odd ones first, then backwards: merged there is one region */
	for (u32 i = 0; i < OCTAVO_NR_REGIONS; i++) {
		r[i] = (struct octavo_region){ .base = (2 * i + 1) * PAGE_SIZE, .size = PAGE_SIZE };
		r[2 * OCTAVO_NR_REGIONS - 1 - i] =
			(struct octavo_region){ .base = 2 * i * PAGE_SIZE, .size = PAGE_SIZE };
	}
	assert_int_equal(sim_boot(&cfg), 0);
	assert_int_equal(totalram_pages(), 2 * OCTAVO_NR_REGIONS);
	for (unsigned long p = 0; p < 2 * OCTAVO_NR_REGIONS; p++)
		assert_false(reserved(p));
	shutdown_clean();
}

static void test_memmap_addresses_end_at_2_64(void **state)
{
	const struct octavo_region r[] = {
		{ .base = 0, .size = SECTIONS(2) },
		{ .base = ~0ull - 4095, .size = 4096, .type = OCTAVO_MEM_RESERVED },
		{ .base = PAGE_SIZE + 1, .size = ~0ull - PAGE_SIZE, .type = OCTAVO_MEM_RESERVED },
	};
	struct sim_config cfg = { .regions = r, .nr_regions = 3 };

	/* the last line ends at the last byte, and leaves only frame 0 */
	assert_int_equal(sim_boot(&cfg), 0);
	assert_int_equal(totalram_pages(), 1);
	assert_int_equal(octavo_state.frame.max_pfn, PAGES_PER_SECTION);
	shutdown_clean();
}

/* ---- errors: the right one, a reason in the log, nothing changed ---- */

static void boot_fails(struct octavo_boot boot, int err)
{
	static struct octavo_state before;

	before = octavo_state;
	sim_log_take(NULL);
	assert_int_equal(octavo_init(&boot), err);
	assert_memory_equal(&before, &octavo_state, sizeof(before));
	assert_true(sim_log_take(NULL) >= 1);
}

static void test_memmap_bad_lists_are_refused(void **state)
{
	static struct octavo_region many[OCTAVO_NR_REGIONS + 1];
	struct octavo_region r[2] = { { .base = 0, .size = SECTIONS(2) } };
	const struct octavo_boot good = {
		.regions = r,
		.nr_regions = 1,
		.nr_cpus = 1,
		.meta = (void *)4096,
		.meta_size = ~0ull,
	};
	struct octavo_boot b;

	sim_log_to(ignore_log);
#define BAD(err, ...)                                                \
	do {                                                         \
		b = good;                                            \
		__VA_ARGS__;                                         \
		boot_fails(b, err);                                  \
		assert_true(err == -ENOMEM || b.meta != good.meta || \
			    octavo_metadata_size(&b) == 0);          \
	} while (0)
	BAD(-EINVAL, b.nr_cpus = 0);
	BAD(-EINVAL, b.nr_cpus = OCTAVO_NR_CPUS + 1);
	BAD(-EINVAL, b.nr_regions = 0);
	BAD(-EINVAL, b.regions = NULL);
	BAD(-EINVAL, b.max_phys = ~0ull);
	BAD(-EINVAL, b.dma_limit = PAGE_SIZE);
	BAD(-EINVAL, b.dma32_limit = SECTION_SIZE + 1);
	BAD(-EINVAL, b.meta = (void *)4097);
	BAD(-ENOMEM, b.meta_size = octavo_metadata_size(&good) - 1);
	/* metadata in memory that is to be handed out: all of it, its end, its start */
	boot_fails(good, -EINVAL);
	b = good;
	b.direct_map = (char *)4096 + octavo_metadata_size(&good) - PAGE_SIZE;
	boot_fails(b, -EINVAL);
	b.direct_map = (void *)(1ul << 40);
	b.meta = (char *)b.direct_map + SECTIONS(2) - PAGE_SIZE;
	boot_fails(b, -EINVAL);

	r[0].base = ~0ull - PAGE_SIZE;
	r[0].size = 2 * PAGE_SIZE;
	BAD(-EINVAL, (void)0); /* wraps */
	r[0].base = 1ull << 60;
	BAD(-EINVAL, (void)0); /* beyond what a descriptor can name */
	r[0] = (struct octavo_region){ .base = 1, .size = 2 * PAGE_SIZE - 2 };
	BAD(-EINVAL, (void)0); /* no whole frame */
	r[0] = (struct octavo_region){ .size = SECTIONS(1), .node = OCTAVO_NR_NODES };
	BAD(-EINVAL, (void)0);
	r[0] = (struct octavo_region){ .size = SECTIONS(1), .type = (enum octavo_region_type)7 };
	BAD(-EINVAL, (void)0);
	r[0] = (struct octavo_region){ .size = SECTIONS(1) };
	r[1] = (struct octavo_region){ .size = SECTIONS(1), .type = OCTAVO_MEM_RESERVED };
	BAD(-EINVAL, b.nr_regions = 2); /* all of it reserved */
	for (u32 i = 0; i <= OCTAVO_NR_REGIONS; i++)
		many[i] = (struct octavo_region){ .base = 2 * i * PAGE_SIZE, .size = PAGE_SIZE };
	BAD(-E2BIG, b.regions = many; b.nr_regions = OCTAVO_NR_REGIONS + 1);
#undef BAD
	b = good;
	b.movable_bytes = SECTIONS(2);
	boot_fails(b, -EINVAL);
	b = good;
	b.direct_map = (void *)1;
	boot_fails(b, -EINVAL);
	sim_log_to(NULL);
}

/* Before and after there is nothing that could be wrong. */
static void test_memmap_no_machine_is_valid(void **state)
{
	assert_true(octavo_validate());
	boot_small(64, 1);
	shutdown_clean();
	assert_true(octavo_validate());
	assert_int_equal(octavo_shutdown(), 0);
}

static void test_memmap_second_init_is_busy(void **state)
{
	const struct octavo_region r = { .size = SECTIONS(1) };
	const struct octavo_boot boot = { .regions = &r, .nr_regions = 1, .nr_cpus = 1 };

	boot_small(64, 1);
	assert_int_equal(octavo_init(&boot), -EBUSY);
	shutdown_clean();
}

/* ---- metadata ---- */

COVERS("S3.18 SX.11");
static void test_memmap_metadata_bytes_a_page(void **state)
{
	/* a word, and of the frame allocator a bit, its share of counters and of what a CPU has */
	const u64 pages = MAX_FOLIO_ORDER > 6 ? 64ull << (30 - PAGE_SHIFT) : 1 << 20;
	const struct octavo_region r = { .size = pages * PAGE_SIZE };
	struct octavo_boot boot = { .regions = &r, .nr_regions = 1, .nr_cpus = 1 };
	u64 one = octavo_metadata_size(&boot);

	assert_true(one > 8 * pages);
	if (MAX_FOLIO_ORDER > 6)
		assert_true(one - 8 * pages < pages / 4);
	/* CPUs cost what they cost, not a share of memory */
	boot.nr_cpus = 2;
	assert_true(octavo_metadata_size(&boot) - one <= 8 * PAGE_SIZE);
}

static void test_memmap_carved_metadata_is_reserved(void **state)
{
	struct sim_config cfg = { .bytes = SECTIONS(4) + (64 << 20), .carve = true };
	const struct frame_state *f = &octavo_state.frame;
	unsigned long frames = cfg.bytes >> PAGE_SHIFT;

	assert_int_equal(sim_boot(&cfg), 0);
	assert_true(f->meta_frames > 0);
	/* the top of the only region */
	assert_int_equal(f->meta_first + f->meta_frames, frames);
	assert_ptr_equal(f->section, pfn_to_virt(f->meta_first));
	assert_int_equal(totalram_pages(), frames - f->meta_frames);
	for (unsigned long i = 0; i < f->meta_frames; i++) {
		assert_true(reserved(f->meta_first + i));
		assert_false(frame_is_free(f->meta_first + i));
		assert_int_not_equal(frame_alloc_at(f->meta_first + i, 0, 0), 0);
	}
	assert_int_equal(word(f->meta_first - 1).v, 0);
	shutdown_clean();
}

static void test_memmap_carving_takes_the_largest_region_that_holds_it(void **state)
{
	const struct octavo_region r[] = {
		{ .base = SECTIONS(1), .size = SECTIONS(2) },
		{ .base = SECTIONS(4), .size = SECTIONS(2) + (64 << 20) },
		{ .base = SECTIONS(8) + (64 << 20), .size = SECTIONS(1) },
	};
	struct sim_config cfg = { .regions = r, .nr_regions = 3, .carve = true };

	assert_int_equal(sim_boot(&cfg), 0);
	assert_int_equal(octavo_state.frame.meta_first + octavo_state.frame.meta_frames,
			 (SECTIONS(6) + (64 << 20)) >> PAGE_SHIFT);
	shutdown_clean();
}

static void test_memmap_carving_that_does_not_fit_touches_nothing(void **state)
{
	char *ram = mmap(NULL, SECTIONS(1), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct octavo_region r = { .size = SECTIONS(1) };
	const struct octavo_boot boot = {
		/* words for a terabyte, and one section to put them in: the memory is not even mapped */
		.regions = &r,	   .nr_regions = 1,	   .nr_cpus = 1,
		.direct_map = ram, .max_phys = 1ull << 40,
	};

	assert_ptr_not_equal(ram, MAP_FAILED);
	sim_log_to(ignore_log);
	boot_fails(boot, -ENOMEM);
	sim_log_to(NULL);
	munmap(ram, SECTIONS(1));
}

#if ROOM_FOR_TERABYTES
static void test_memmap_idle_terabytes_cost_addresses_only(void **state)
{
	/* 16 TiB, less in tiny geometry, where 8 frames need 2 bytes of section table */
	struct sim_config cfg = { .bytes = SECTIONS(1 << 20) };

	assert_int_equal(sim_boot(&cfg), 0);
	assert_int_equal(totalram_pages(), cfg.bytes >> PAGE_SHIFT);
	/* the section table is 2 MiB of it */
	assert_true(sim_resident_meta() <= 8 << 20);
	assert_int_equal(sim_shutdown(), 0);
}

/* Frames 64 TiB apart; only they have memory behind them. */
static void test_memmap_wide_holes_cost_nothing(void **state)
{
	const u64 far = PAGES_PER_SECTION > 64 ? 1ull << 46 : 1ull << 40;
	const u64 size = SECTIONS(4);
	char *base = (char *)0x200000000000ul;
	const struct octavo_region r[] = { { .base = far, .size = size, .node = 1 },
					   { .base = SECTIONS(64), .size = size } };
	struct octavo_boot boot = {
		.regions = r, .nr_regions = 2, .nr_cpus = 2, .direct_map = base
	};
	const int prot = PROT_READ | PROT_WRITE;
	const int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	unsigned long mid = (far / 2) >> PAGE_SHIFT;
	u64 managed;

	boot.meta_size = octavo_metadata_size(&boot);
	boot.meta = mmap(NULL, boot.meta_size, prot, how, -1, 0);
	if (boot.meta == MAP_FAILED ||
	    mmap(base + r[1].base, size, prot, how | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED ||
	    mmap(base + far, size, prot, how | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
		skip(); /* the host has other things there */
	assert_int_equal(octavo_init(&boot), 0);
	managed = totalram_pages();
	assert_int_equal(managed, 2 * size >> PAGE_SHIFT);
	assert_true(pfn_valid((far + size - 1) >> PAGE_SHIFT));
	assert_false(pfn_valid(0));
	assert_false(pfn_valid(mid));
	assert_false(pfn_valid((far + size) >> PAGE_SHIFT));
	assert_int_equal(pfn_to_nid(far >> PAGE_SHIFT), 1);
	assert_int_equal(frame_alloc_at(far >> PAGE_SHIFT, 0, 0), 0);
	assert_int_equal(frame_alloc_at(mid, 0, 0), -ENXIO);
	frame_free(far >> PAGE_SHIFT, 0);
	assert_true(octavo_validate());
	assert_int_equal(octavo_shutdown(), 0);
	munmap(boot.meta, boot.meta_size);
	munmap(base + r[1].base, size);
	munmap(base + far, size);
}
#endif /* ROOM_FOR_TERABYTES */

/* ---- zones and nodes ---- */

static u64 zone_frames(u32 node, enum zone_type type)
{
	const struct zone *z = octavo_state.frame.zone[node][type];

	return z ? z->managed : 0;
}

static void test_memmap_zones_go_by_address(void **state)
{
	struct sim_config cfg = {
		.bytes = SECTIONS(16),
		.nodes = 2,
		.dma_limit = SECTIONS(2),
		.dma32_limit = SECTIONS(10),
		.movable_bytes = SECTIONS(3) - PAGE_SIZE,
	};
	static const enum zone_type want[] = {
		ZONE_DMA,     ZONE_DMA,	    ZONE_DMA32,	  ZONE_DMA32,	ZONE_DMA32,  ZONE_MOVABLE,
		ZONE_MOVABLE, ZONE_MOVABLE, ZONE_DMA32,	  ZONE_DMA32,	ZONE_NORMAL, ZONE_NORMAL,
		ZONE_NORMAL,  ZONE_MOVABLE, ZONE_MOVABLE, ZONE_MOVABLE,
	};

	assert_int_equal(sim_boot(&cfg), 0);
	for (unsigned long s = 0; s < 16; s++) {
		assert_int_equal(pfn_zone(s << SECTION_ORDER), want[s]);
		assert_int_equal(pfn_to_nid((s << SECTION_ORDER) + 7), s / 8);
	}
	assert_int_equal(zone_frames(0, ZONE_DMA), 2 << SECTION_ORDER);
	assert_int_equal(zone_frames(0, ZONE_DMA32), 3 << SECTION_ORDER);
	assert_int_equal(zone_frames(0, ZONE_NORMAL), 0);
	assert_int_equal(zone_frames(1, ZONE_DMA32), 2 << SECTION_ORDER);
	assert_int_equal(zone_frames(1, ZONE_NORMAL), 3 << SECTION_ORDER);
	assert_int_equal(zone_frames(1, ZONE_MOVABLE), 3 << SECTION_ORDER);
	assert_null(octavo_state.frame.zone[0][ZONE_NORMAL]);
	shutdown_clean();
}

static void test_memmap_metadata_is_not_in_the_movable_zone(void **state)
{
	struct sim_config cfg = { .bytes = SECTIONS(8) + (64 << 20),
				  .movable_bytes = SECTIONS(2),
				  .carve = true };
	unsigned long first, movable = 0;

	assert_int_equal(sim_boot(&cfg), 0);
	first = octavo_state.frame.meta_first;
	assert_int_equal(pfn_zone(first), ZONE_NORMAL);
	assert_int_equal(pfn_zone(first + octavo_state.frame.meta_frames - 1), ZONE_NORMAL);
	for (unsigned long s = 0; s < octavo_state.frame.max_pfn >> SECTION_ORDER; s++)
		movable += pfn_zone(s << SECTION_ORDER) == ZONE_MOVABLE;
	/* counted from the top of what can move; the part of a section below the metadata counts */
	assert_in_range(movable, 1, 2);
	shutdown_clean();
}

static void test_memmap_shared_section_goes_to_the_first_node(void **state)
{
	const struct octavo_region r[] = {
		{ .base = SECTIONS(2) + PAGE_SIZE, .size = SECTIONS(1), .node = 2 },
		{ .base = 0, .size = SECTIONS(2) + PAGE_SIZE, .node = 1 },
	};
	struct sim_config cfg = { .regions = r, .nr_regions = 2, .quiet = true };
	const char *line;

	sim_log_take(NULL);
	assert_int_equal(sim_boot(&cfg), 0);
	assert_true(sim_log_take(&line) >= 1);
	assert_non_null(strstr(line, "shared by nodes"));
	assert_int_equal(pfn_to_nid(2 << SECTION_ORDER), 1);
	assert_int_equal(pfn_to_nid((3 << SECTION_ORDER) - 1), 1);
	assert_int_equal(pfn_to_nid(3 << SECTION_ORDER), 2);
	assert_int_equal(zone_frames(1, ZONE_NORMAL), 3 << SECTION_ORDER);
	assert_int_equal(zone_frames(2, ZONE_NORMAL), 1);
	shutdown_clean();
}

static void test_memmap_zone_of_any_word(void **state)
{
	struct page *page;

	boot_small(64, 1);
	page = alloc_page(GFP_KERNEL);
	assert_int_equal(page_zone(page), pfn_zone(page_to_pfn(page)));
	assert_int_equal(page_to_nid(page), 0);
	assert_ptr_equal(virt_to_page(page_address(page)), page);
	assert_ptr_equal(pfn_to_page(page_to_pfn(page)), page);
	__free_page(page);
	assert_string_equal(zone_name(ZONE_MOVABLE), "Movable");
	assert_string_equal(zone_name(NR_ZONES), "?");
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_memmap_any_list_is_what_the_model_says),
		TEST(test_memmap_neighbours_merge_whatever_their_order),
		TEST(test_memmap_addresses_end_at_2_64),
		TEST(test_memmap_bad_lists_are_refused),
		TEST(test_memmap_no_machine_is_valid),
		TEST(test_memmap_second_init_is_busy),
		TEST(test_memmap_metadata_bytes_a_page),
		TEST(test_memmap_carved_metadata_is_reserved),
		TEST(test_memmap_carving_takes_the_largest_region_that_holds_it),
		TEST(test_memmap_carving_that_does_not_fit_touches_nothing),
#if ROOM_FOR_TERABYTES
		TEST(test_memmap_idle_terabytes_cost_addresses_only),
		TEST(test_memmap_wide_holes_cost_nothing),
#endif
		TEST(test_memmap_zones_go_by_address),
		TEST(test_memmap_metadata_is_not_in_the_movable_zone),
		TEST(test_memmap_shared_section_goes_to_the_first_node),
		TEST(test_memmap_zone_of_any_word),
	};

	return cmocka_run_group_tests_name("memmap", tests, NULL, NULL);
}
