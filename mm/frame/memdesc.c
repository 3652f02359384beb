/* SPDX-License-Identifier: MIT */
/*
 * memdesc.c - names of types, subtypes and zones, and what a well-formed word is.
 */
#include <octavo/memdesc.h>
#include <octavo/mmzone.h>

const char *memdesc_type_name(enum memdesc_type type)
{
	static const char *const name[MEMDESC_NR_TYPES] = {
		[MEMDESC_FREE] = "free",	 [MEMDESC_MISC] = "misc",
		[MEMDESC_FILE] = "file",	 [MEMDESC_ANON] = "anon",
		[MEMDESC_SLAB] = "slab",	 [MEMDESC_PTDESC] = "ptdesc",
		[MEMDESC_MANAGED] = "managed",	 [MEMDESC_MOVABLE] = "movable",
		[MEMDESC_HWPOISON] = "hwpoison", [MEMDESC_DEVICE] = "device",
		[MEMDESC_KSM] = "ksm",		 [MEMDESC_BUMP] = "bump",
		[MEMDESC_PERCPU] = "percpu",	 [MEMDESC_ACCTMEM] = "acctmem",
		[MEMDESC_ZPDESC] = "zpdesc",	 [MEMDESC_INVALID] = "invalid",
	};

	return (unsigned int)type < MEMDESC_NR_TYPES ? name[type] : "?";
}

const char *misc_subtype_name(enum misc_subtype subtype)
{
	static const char *const name[MISC_NR_SUBTYPES] = {
		[MISC_RESERVED] = "reserved",
		[MISC_ZEROPAGE] = "zeropage",
		[MISC_DRIVER] = "driver",
		[MISC_VMALLOC] = "vmalloc",
		[MISC_GUARD] = "guard",
		[MISC_OFFLINE] = "offline",
		[MISC_LARGE_KMALLOC] = "large-kmalloc",
		[MISC_EXACT] = "exact",
		[MISC_DEVICE] = "device",
		[MISC_KERNEL] = "kernel",
	};

	return (unsigned int)subtype < MISC_NR_SUBTYPES ? name[subtype] : "?";
}

const char *zone_name(enum zone_type zone)
{
	static const char *const name[NR_ZONES] = {
		[ZONE_DMA] = "DMA",	    [ZONE_DMA32] = "DMA32",   [ZONE_NORMAL] = "Normal",
		[ZONE_MOVABLE] = "Movable", [ZONE_DEVICE] = "Device",
	};

	return (unsigned int)zone < NR_ZONES ? name[zone] : "?";
}

bool memdesc_valid(memdesc_t md)
{
	switch (memdesc_type(md)) {
	case MEMDESC_FREE:
	case MEMDESC_HWPOISON:
	case MEMDESC_DEVICE:
		return !(md.v & ~MEMDESC_TYPE_MASK);
	case MEMDESC_MISC:
		return memdesc_subtype(md) < MISC_NR_SUBTYPES &&
		       memdesc_order(md) <= MAX_FOLIO_ORDER &&
		       memdesc_count(md) <= MISC_COUNT_SATURATED &&
		       !(memdesc_frozen(md) && memdesc_count(md));
	case MEMDESC_FILE:
	case MEMDESC_ANON:
	case MEMDESC_SLAB:
	case MEMDESC_PTDESC:
	case MEMDESC_MANAGED:
	case MEMDESC_MOVABLE:
		return memdesc_ptr(md) != NULL;
	default:
		return false;
	}
}
