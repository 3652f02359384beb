// SPDX-License-Identifier: MIT
/*
 * folio_debug.c - looking at folios: what one is, whether it is consistent, how many there are.
 *
 * The walks read every word of the memory map: they are for tests, dumps and statistics. They are
 * also the reason why allocating and freeing a folio counts nothing: the words say it all.
 */
#include <octavo/rcu.h>
#include <octavo/slab.h>

#include "../init.h"
#include "device_place.h"
#include "folio_desc.h"
#include "typed.h"

static const char *const flag_names[] = {
	[PG_locked] = "locked",
	[PG_waiters] = "waiters",
	[PG_referenced] = "referenced",
	[PG_uptodate] = "uptodate",
	[PG_dirty] = "dirty",
	[PG_writeback] = "writeback",
	[PG_swapbacked] = "swapbacked",
	[PG_swapcache] = "swapcache",
	[PG_reclaim] = "reclaim",
	[PG_workingset] = "workingset",
	[PG_mlocked] = "mlocked",
	[PG_unevictable] = "unevictable",
	[PG_anon_exclusive] = "anon_exclusive",
	[PG_hwpoison] = "hwpoison",
	[PG_owner_1] = "owner_1",
	[PG_owner_2] = "owner_2",
	[PG_zone_device] = "zone_device",
	[PG_charged] = "charged",
	[PG_swap_failed] = "swap_failed",
	[PG_readahead] = "readahead",
};
BUILD_BUG_ON(ARRAY_SIZE(flag_names) != NR_FOLIO_FLAGS);

/* ---- dump ---- */

static void dump_flags(u32 flags)
{
	char line[200];
	int len = 0;

	line[0] = 0;
	for (unsigned int i = 0; i < NR_FOLIO_FLAGS; i++)
		if (flags & (1u << i))
			len += octavo_scnprintf(line + len, sizeof(line) - (size_t)len, " %s",
						flag_names[i]);
	pr_dump("  flags 0x%x:%s", flags, line);
}

void folio_dump(const struct folio *folio, const char *reason)
{
	const struct large_folio *lf = folio_large(folio);
	unsigned long pfn = folio_place(folio);

	pr_dump("folio %p (%s): pfn 0x%lx order %u class %u group %lu", (const void *)folio,
		reason ? reason : "", pfn, folio_order(folio), (unsigned int)folio_class(folio),
		(unsigned long)(READ_ONCE(folio->pfn_order_group) >> FOLIO_GROUP_SHIFT));
	pr_dump("  refs %u mapcount %d mapping %p index 0x%lx private %p", folio_ref_count(folio),
		folio_mapcount(folio), READ_ONCE(folio->mapping), READ_ONCE(folio->index),
		READ_ONCE(folio->private));
	if (lf)
		pr_dump("  pins %u entire_mapcount %d", READ_ONCE(lf->pincount),
			READ_ONCE(lf->entire_mapcount));
	dump_flags(READ_ONCE(folio->flags));
	if (pfn_valid(pfn)) {
		memdesc_t md = page_memdesc(pfn_to_page(pfn));

		pr_dump("  first word 0x%lx: %s", md.v, memdesc_type_name(memdesc_type(md)));
	}
}

void folio_bad(const struct folio *folio, const char *reason)
{
	folio_dump(folio, reason);
	octavo_panic("folio %p, pfn 0x%lx: %s", (const void *)folio, folio_place(folio), reason);
}

/* ---- validate ---- */

#define CHECK(cond)                                                                         \
	do {                                                                                \
		if (!(cond)) {                                                              \
			pr_err("folio %p, pfn 0x%lx: not so: %s", (const void *)folio, pfn, \
			       #cond);                                                      \
			ok = false;                                                         \
		}                                                                           \
	} while (0)

/* Exclusivity bits of pages that the folio does not have. */
static bool stray_excl_bits(const struct folio *folio)
{
	const unsigned long *bits = __folio_excl_bits(folio);
	unsigned long nr = folio_nr_pages(folio);

	if (!bits)
		return false;
	return nr < BITS_PER_LONG && (bits[0] & ~((1ul << nr) - 1));
}

static bool place_valid(unsigned long place)
{
	bool valid;

	if (!(place & FOLIO_DEVICE_PRIVATE))
		return pfn_valid(place);
	rcu_read_lock();
	valid = device_range_find(place);
	rcu_read_unlock();
	return valid;
}

static bool validate_words(const struct folio *folio, unsigned long pfn, unsigned int order)
{
	const struct page *first = place_page(pfn);
	memdesc_t md = page_memdesc(first);
	bool ok = true;

	CHECK(memdesc_is_folio(md) && memdesc_ptr(md) == folio);
	for (unsigned long i = 1; ok && i < 1ul << order; i++)
		CHECK(place_valid(pfn + i) && memdesc_eq(page_memdesc(first + i), md));
	return ok;
}

/* The class has room for the order, and says so itself. */
static bool validate_class(const struct folio *folio, unsigned long pfn, unsigned int order)
{
	u32 flags = READ_ONCE(folio->flags);
	bool ok = true;

	CHECK(folio_class(folio) < NR_FOLIO_CLASSES);
	CHECK(!(flags & ~(FOLIO_FLAGS_MASK | FOLIO_CLASS_MASK | 1u << PG_excl_ptr)));
	if (folio_class(folio) == FOLIO_CLASS_SMALL)
		CHECK(order == 0 && !(flags & (1u << PG_excl_ptr)));
	else
		CHECK(!(flags & (1u << PG_anon_exclusive)));
	if (folio_class(folio) == FOLIO_CLASS_LARGE && !(flags & (1u << PG_excl_ptr)))
		CHECK(order <= 6);
	if (folio_class(folio) == FOLIO_CLASS_HUGE)
		CHECK(order <= FOLIO_INLINE_ORDER && !(flags & (1u << PG_excl_ptr)));
	return ok;
}

bool folio_validate(const struct folio *folio)
{
	const struct large_folio *lf = folio_large(folio);
	unsigned long pfn = folio_place(folio);
	unsigned int order = folio_order(folio);
	bool ok = validate_class(folio, pfn, order);

	CHECK(order <= MAX_FOLIO_ORDER);
	CHECK(place_valid(pfn));
	if (!ok)
		return false;
	CHECK(IS_ALIGNED(pfn, 1ul << order));
	ok &= validate_words(folio, pfn, order);
	CHECK(folio_ref_count(folio) != 0);
	CHECK((s32)folio_ref_count(folio) > 0 || folio_ref_count(folio) >= 0x80000000u);
	CHECK(folio_mapcount(folio) >= 0);
	CHECK(!stray_excl_bits(folio));
	if (lf) {
		CHECK(lf->entire_mapcount >= 0 && lf->entire_mapcount <= folio_mapcount(folio));
		CHECK(lf->pincount <= folio_ref_count(folio));
	}
	return ok;
}

/* ---- all of them ---- */

typedef void each_folio_page(const struct folio *folio, unsigned long place, void *arg);

/* Under RCU. */
static void visit_page(unsigned long place, const struct page *page, each_folio_page *fn, void *arg)
{
	memdesc_t md = page_memdesc(page);

	if (memdesc_is_folio(md))
		fn(memdesc_ptr(md), place, arg);
}

/* Private memory of devices, which is not in the memory map. */
static void for_each_private_page(each_folio_page *fn, void *arg)
{
	const struct device_state *st = &octavo_state.device;

	for (u32 i = 0; i < OCTAVO_NR_PAGEMAPS; i++) {
		unsigned long nr;

		rcu_read_lock();
		/* acquire: pairs with the release in range_publish() */
		nr = smp_load_acquire(&st->range[i].nr);
		for (unsigned long n = 0; n < nr && st->range[i].first & FOLIO_DEVICE_PRIVATE; n++)
			visit_page(st->range[i].first + n, st->range[i].words + n, fn, arg);
		rcu_read_unlock();
	}
}

/* Calls @fn for every page whose word names a folio, section by section under RCU. */
static void for_each_folio_page(each_folio_page *fn, void *arg)
{
	for (unsigned long start = 0; start < octavo_state.frame.max_pfn;
	     start += PAGES_PER_SECTION) {
		if (!pfn_valid(start))
			continue;
		rcu_read_lock();
		for (unsigned long pfn = start; pfn < start + PAGES_PER_SECTION; pfn++) {
			if (!pfn_valid(pfn))
				break;
			visit_page(pfn, pfn_to_page(pfn), fn, arg);
		}
		rcu_read_unlock();
	}
	for_each_private_page(fn, arg);
}

static void count_folio(const struct folio *folio, unsigned long pfn, void *arg)
{
	u64 *counts = arg;
	unsigned int order = folio_order(folio);

	/* Without a reference: it may be another folio by now, but what is read is a folio's. */
	if (folio_place(folio) == pfn && order <= MAX_FOLIO_ORDER)
		counts[order]++;
}

u64 folio_count_live(u64 *counts)
{
	u64 sum = 0;

	for (unsigned int i = 0; i < NR_ORDERS; i++)
		counts[i] = 0;
	for_each_folio_page(count_folio, counts);
	for (unsigned int i = 0; i < NR_ORDERS; i++)
		sum += counts[i];
	return sum;
}

struct census {
	u64 live[NR_FOLIO_CLASSES];
	bool ok;
};

static void census_folio(const struct folio *folio, unsigned long pfn, void *arg)
{
	struct census *census = arg;
	bool ok = true;

	if (folio_place(folio) == pfn) {
		ok = folio_validate(folio);
		if (folio_class(folio) < NR_FOLIO_CLASSES)
			census->live[folio_class(folio)]++;
	} else {
		CHECK(folio_contains(folio, pfn));
	}
	census->ok &= ok;
}

bool desc_validate(void)
{
	struct census census = { .ok = true };

	for_each_folio_page(census_folio, &census);
	for (unsigned int class = 0; class < NR_FOLIO_CLASSES; class ++) {
		struct kmem_cache_stat st = { .name = "no folio cache" };

		if (octavo_state.desc.folio[class])
			kmem_cache_stat(octavo_state.desc.folio[class], &st);
		st.active += folio_sets_active((enum folio_class) class);
		if (st.active != census.live[class]) {
			pr_err("%s: %lu descriptors allocated, %lu named by words", st.name,
			       (unsigned long)st.active, (unsigned long)census.live[class]);
			census.ok = false;
		}
	}
	return typed_validate() && census.ok;
}
