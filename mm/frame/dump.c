/* SPDX-License-Identifier: MIT */
/*
 * dump.c - what a frame's place and word say, for people; and the end of the road for misuse.
 *
 * Everything is read once and printed as read: the page may change meanwhile, and may be garbage. What
 * it does not do: follow a word's pointer. The descriptor belongs to the layer above, may be gone, and
 * a dump on the way to a panic must not fault.
 */
#include <octavo/page.h>

static void dump_misc(unsigned long pfn, memdesc_t md)
{
	unsigned int order = memdesc_order(md);
	unsigned long head = pfn;

	pr_dump("  %s, order %u, %s%u, %s, owner bits 0x%lx",
		misc_subtype_name(memdesc_subtype(md)), order,
		memdesc_frozen(md) ? "frozen, count " : "count ", memdesc_count(md),
		memdesc_mappable(md) ? "mappable" : "not mappable", memdesc_owner_bits(md));
	if (order <= MAX_FOLIO_ORDER)
		head = ALIGN_DOWN(pfn, 1UL << order);
	if (head != pfn && pfn_valid(head)) {
		memdesc_t first = page_memdesc(pfn_to_page(head));

		pr_dump("  page %lu of the allocation at pfn 0x%lx, whose word is 0x%016lx: %s, "
			"count %u",
			pfn - head, head, first.v, memdesc_type_name(memdesc_type(first)),
			memdesc_is_misc(first) ? memdesc_count(first) : 0);
	}
}

void dump_page(unsigned long pfn, const char *reason)
{
	memdesc_t md;

	if (!octavo_state.frame.vmemmap || !pfn_valid(pfn)) {
		pr_dump("pfn 0x%lx: no such frame: %s", pfn, reason);
		return;
	}
	md = page_memdesc(pfn_to_page(pfn));
	pr_dump("pfn 0x%lx (node %u, zone %s): word 0x%016lx, %s%s: %s", pfn, pfn_to_nid(pfn),
		zone_name(pfn_zone(pfn)), md.v, memdesc_type_name(memdesc_type(md)),
		memdesc_valid(md) ? "" : ", malformed", reason);
	if (memdesc_is_misc(md))
		dump_misc(pfn, md);
	else if (memdesc_is_pointer(md))
		pr_dump("  descriptor %p", memdesc_ptr(md));
}

void bad_page(unsigned long pfn, const char *reason)
{
	dump_page(pfn, reason);
	octavo_panic("%s (pfn 0x%lx)", reason, pfn);
}
