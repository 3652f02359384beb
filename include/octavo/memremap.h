/* SPDX-License-Identifier: MIT */
/*
 * memremap.h - memory of devices: pagemaps, its pages and folios.
 *
 * Coherent, fs-dax, generic and peer-to-peer memory has physical addresses and words in the memory map. Device-private memory has none:
 * its words are an array of its pagemap, and a page of it has an index (devidx_t), which is no pfn. A folio of it has
 * that index in its descriptor with FOLIO_DEVICE_PRIVATE set, so that whatever takes it for a pfn gets one that no frame has.
 *
 * Idle memory has DEVICE words and no descriptors. A driver takes a range and makes a folio or plain pages of it; the last
 * reference gives it back to the driver by ops->folio_free. docs/device.md has the design.
 */
#ifndef OCTAVO_MEMREMAP_H
#define OCTAVO_MEMREMAP_H

#include <octavo/folio.h>
#include <octavo/mm_types.h>

struct dev_pagemap;

/* Index of a page of device-private memory, of whatever device. */
typedef struct {
	u64 v;
} devidx_t;

enum memory_type {
	MEMORY_DEVICE_PRIVATE = 1, /* CPUs cannot access it */
	MEMORY_DEVICE_COHERENT,
	MEMORY_DEVICE_FS_DAX,
	MEMORY_DEVICE_GENERIC,
	MEMORY_DEVICE_PCI_P2PDMA,
};

/* None may sleep but migrate_to_ram and memory_failure. */
struct dev_pagemap_ops {
	/*
	 * The folio's last reference is gone; once a folio, whatever its order, which it still says. After the call the memory is
	 * the driver's, and the core uses nothing of the folio. For plain pages: page_free.
	 */
	void (*folio_free)(struct folio *folio);
	void (*page_free)(struct page *page, unsigned int order);
	/* For each piece of a split, before it can be got; then once with @new NULL. */
	void (*folio_split)(struct folio *original, struct folio *new);
	/* A CPU touched private memory: bring it back by migrate_vma. Return: 0 or VM_FAULT_SIGBUS, ... */
	u32 (*migrate_to_ram)(struct vm_fault *vmf);
	/* Frames are bad; while they are idle nobody gets them any more. Return: 0: dealt with. */
	int (*memory_failure)(struct dev_pagemap *pgmap, unsigned long pfn, unsigned long nr);
};

/**
 * struct dev_pagemap - a range of a device's memory
 * @type: what kind
 * @pfn: first frame; private memory: not used
 * @nr: pages
 * @nid: node
 * @owner: whose; entries and folios of other owners are left alone
 * @ops: const
 * @priv: the driver's
 *
 * The fields above are the driver's, set before memremap_pages() and constant until memunmap_pages() is over. Those below are the core's.
 * @base: of private memory: index of its first page
 * @words: of private memory
 * @ref: bit 63 DEAD, else live references: compare-and-swap; see docs/device.md
 * @done: the last reference is gone
 * @frees: MEMORY_DEVICE_FS_DAX: grows by 2 with each folio that becomes idle; bit 0: somebody waits for that
 */
struct dev_pagemap {
	enum memory_type type;
	unsigned long pfn;
	unsigned long nr;
	u32 nid;
	void *owner;
	const struct dev_pagemap_ops *ops;
	void *priv;

	devidx_t base;
	struct page *words;
	u64 ref;
	u32 done;
	u32 frees;
};

/**
 * memremap_pages() - a device's memory comes into being
 * @pgmap: filled by the driver; the core's fields are written
 *
 * All of it is idle. Context: sleeps. Return: 0; -EINVAL type, node, empty; ops missing for the type; memory with
 * physical addresses: not whole sections, or beyond the memory map; -EEXIST frames have words already, or @pgmap is there; -E2BIG too many
 * ranges; -ENOMEM. On failure nothing has changed.
 */
int memremap_pages(struct dev_pagemap *pgmap);
/**
 * memunmap_pages() - it goes
 * @pgmap: of a memremap_pages() that succeeded
 *
 * From now on no new folio is made; waits until the last one is gone. Fatal if some of the memory then is not idle, if it never came
 * up, or is going already.
 * Context: sleeps; not in an RCU section.
 */
void memunmap_pages(struct dev_pagemap *pgmap);

/**
 * pgmap_tryget() - live references
 * @pgmap: the caller knows that it exists
 * @nr: how many
 *
 * Writes nothing when it fails. Context: any. Return: false: memunmap_pages() has begun.
 */
bool pgmap_tryget(struct dev_pagemap *pgmap, unsigned long nr) __must_check;
/* Fatal if there are fewer. After the last one of a dying pagemap it may be gone. Context: any. */
void pgmap_put(struct dev_pagemap *pgmap, unsigned long nr);

/**
 * zone_device_folio_init() - a folio of idle device memory
 * @page: first; aligned for @order, all of its pages idle and @pgmap's, else fatal
 * @pgmap: whose
 * @order: 0 to MAX_FOLIO_ORDER
 * @err: -ENOMEM no descriptor; -ENODEV memunmap_pages() has begun; -EINVAL order; -EHWPOISON a bad page
 *
 * Takes 1 << @order live references, allocates the descriptor. Context: sleeps. Return: the folio, locked, with one
 * reference; anonymous for private and coherent memory, else FOLIO_FILE. NULL: nothing has changed.
 */
struct folio *zone_device_folio_init(struct page *page, struct dev_pagemap *pgmap,
				     unsigned int order, int *err);
/* Plain counted pages of subtype Device, for drivers without folios. Return: 0, -EINVAL, -ENODEV, -EHWPOISON. */
int zone_device_page_init(struct page *page, struct dev_pagemap *pgmap, unsigned int order);

/* ---- files in memory of a device (MEMORY_DEVICE_FS_DAX) ---- */

/**
 * zone_device_wait_idle() - wait until nobody has any page of a range
 * @pgmap: MEMORY_DEVICE_FS_DAX
 * @first: index in it of the first page
 * @nr: pages
 *
 * Every mapping and every other user has a reference; that a file has the memory is none. So who truncates the file keeps
 * new users out, unmaps, and then waits here for those who are left. Context: sleeps; the caller has no reference of them.
 */
void zone_device_wait_idle(struct dev_pagemap *pgmap, unsigned long first, unsigned long nr);

/*
 * In how many places of files a folio is, beyond the first: those who share it have no reference either. In private, so
 * that is not the driver's with this. put: fatal if it was 0. Context: a reference or the lock of the files' own.
 */
void fsdax_share_get(struct folio *folio);
void fsdax_share_put(struct folio *folio);
unsigned long fsdax_share_count(const struct folio *folio);

/* ---- which is what ---- */

static inline bool folio_is_zone_device(const struct folio *folio)
{
	return folio_test_flag(folio, PG_zone_device);
}
/* The driver's word for a folio. Whoever has the memory; a piece of a split has NULL until folio_split() says else. */
static inline void *folio_zone_device_data(const struct folio *folio)
{
	VM_BUG_ON(!folio_is_zone_device(folio));
	return READ_ONCE(folio->private);
}
static inline void folio_set_zone_device_data(struct folio *folio, void *data)
{
	VM_BUG_ON(!folio_is_zone_device(folio));
	WRITE_ONCE(folio->private, data);
}
/* Of memory that CPUs cannot access. */
bool folio_is_device_private(const struct folio *folio);
/* Of memory that both can. */
bool folio_is_device_coherent(const struct folio *folio);
/* NULL: no device memory. Constant while the caller has a reference. */
struct dev_pagemap *folio_pgmap(const struct folio *folio);
/* A page of private memory, and back. Fatal if there is none. */
struct page *device_private_page(devidx_t idx);
devidx_t page_devidx(const struct dev_pagemap *pgmap, const struct page *page);
devidx_t folio_devidx(const struct folio *folio);

/* ---- migration to and from devices: mm/device/migrate_vma*.c ---- */

/*
 * An element of the arrays: flags, and above them where the page is. With MIGRATE and without VALID: a hole, where nothing is
 * yet. The pages of a folio, or of a hole, after its first have 0.
 */
#define MIGRATE_PFN_VALID   (1ul << 0)
#define MIGRATE_PFN_MIGRATE (1ul << 1)
#define MIGRATE_PFN_WRITE   (1ul << 2)
#define MIGRATE_PFN_COMPOUND \
	(1ul << 3) /* a folio of more than one page: this is its first, the next elements are 0 */
#define MIGRATE_PFN_SHIFT 8

/* NULL: the element has no page. */
struct page *migrate_pfn_to_page(unsigned long mpfn);
unsigned long migrate_pfn(const struct page *page);
/* Of what order the folio or hole of an element is: that many elements are its. Context: between setup and finalize. */
unsigned int migrate_pfn_order(unsigned long mpfn);

#define MIGRATE_VMA_SELECT_SYSTEM	   (1ul << 0)
#define MIGRATE_VMA_SELECT_DEVICE_PRIVATE  (1ul << 1)
#define MIGRATE_VMA_SELECT_DEVICE_COHERENT (1ul << 2)
#define MIGRATE_VMA_SELECT_COMPOUND	   (1ul << 3) /* folios of any order as a whole */

/**
 * struct migrate_vma - a migration of a range of a VMA
 * @src: [pages of the range] filled by setup; the driver looks at those with MIGRATE_PFN_MIGRATE, may take that away so that one stays,
 *	and changes nothing else: what is there is locked, and finalize gives it back by this
 * @dst: the driver's: migrate_pfn() of a locked page or folio of its own for each, 0: this one stays
 * @cpages: elements that can be migrated
 * @npages: of the range
 * @pgmap_owner: device memory of this owner is selected
 * @fault_page: NULL, or the private page that the CPU touched, whose folio is locked by the caller
 */
struct migrate_vma {
	struct vm_area_struct *vma;
	unsigned long *dst, *src;
	unsigned long cpages, npages;
	unsigned long start, end;
	void *pgmap_owner;
	unsigned long flags;
	struct page *fault_page;
};

/**
 * migrate_vma_setup() - collect and unmap what can be migrated of a range
 * @args: the driver's fields filled; both arrays are cleared
 *
 * Anonymous memory only; holes count as memory of the system's. With MIGRATE_VMA_SELECT_COMPOUND a folio that is wholly in the range
 * is one element, whatever its order; others are split. Best effort: what is locked, pinned or otherwise in use stays, and has 0.
 * In args->src then: locked folios that nothing maps, each with a reference; and holes.
 *
 * Context: mmap_lock for reading, until after migrate_vma_finalize(); sleeps. Return: 0, also if nothing was collected, and
 * migrate_vma_finalize() must follow; -EINVAL: no VMA, VM_SPECIAL, range empty or outside of it, no arrays, fault_page not
 * device-private or not locked.
 */
int migrate_vma_setup(struct migrate_vma *args);
/**
 * migrate_vma_pages() - exchange
 * @args: dst filled: for each element that is to move, the first page of a new locked folio with one reference, which are
 *	the core's from here on; fatal if it is a source, or was exchanged before
 *
 * Of the order of the source; smaller, and the source is split; or larger, if sources fill it that belong together, each where it
 * can be mapped as it is. A hole's folio is
 * mapped at once, so its contents must be there. An element without MIGRATE afterwards stays where it is.
 *
 * Context: as setup.
 */
void migrate_vma_pages(struct migrate_vma *args);
/**
 * migrate_vma_finalize() - end of the migration
 * @args: as they are after migrate_vma_pages(), or after setup if nothing moves
 *
 * Contents have been copied. Entries come back, for the new folios or the old; all locks and references of both are
 * dropped, but for those of the fault page.
 *
 * Context: as setup.
 */
void migrate_vma_finalize(struct migrate_vma *args);

/*
 * A folio of the system's memory, locked, for what is new in an area: charged to its group. Context: as @gfp; mmap_lock.
 * Return: NULL: no memory, or no more for the group.
 */
struct folio *migrate_folio_alloc(struct vm_area_struct *vma, gfp_t gfp, unsigned int order);
/*
 * The same for what comes back, or is evicted: in the group that @src is in, at its limit too, because @src goes. @src: locked, or its element
 * has it. Context: as @gfp. Return: NULL: no memory.
 */
struct folio *migrate_folio_alloc_like(const struct folio *src, gfp_t gfp, unsigned int order);

/**
 * migrate_device_range() - eviction, without a VMA
 * @pgmap: private or coherent
 * @first: page of it
 * @src: [nr] filled, as by migrate_vma_setup()
 * @nr: pages
 *
 * Whoever maps what is there. Folios that reach out of the range are left alone. migrate_device_finalize() must follow.
 *
 * Context: sleeps. Return: 0; -EINVAL type or range.
 */
int migrate_device_range(struct dev_pagemap *pgmap, unsigned long first, unsigned long *src,
			 unsigned long nr);
/**
 * migrate_device_pfns() - eviction of chosen pages
 * @pgmap: private or coherent
 * @src: [nr] numbers of pages of it, from 0 on; filled, as by migrate_vma_setup()
 * @nr: how many
 *
 * As migrate_device_range(). A folio goes if all its pages are there, one after the other; its element is the first's, and those
 * of the others are 0. migrate_device_finalize() must follow.
 *
 * Context: sleeps. Return: 0; -EINVAL type, none, or a number beyond its end: @src is as it was.
 */
int migrate_device_pfns(struct dev_pagemap *pgmap, unsigned long *src, unsigned long nr);
/* As migrate_vma_pages() and migrate_vma_finalize(). */
void migrate_device_pages(unsigned long *src, unsigned long *dst, unsigned long nr);
void migrate_device_finalize(unsigned long *src, unsigned long *dst, unsigned long nr);

#endif /* OCTAVO_MEMREMAP_H */
