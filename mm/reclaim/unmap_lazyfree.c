// SPDX-License-Identifier: MIT
/*
 * unmap_lazyfree.c - memory that nobody wants back unless he has written to it: MADV_FREE, and droppable areas.
 *
 * What is clean goes, and there is nothing instead. Whether it is clean can be changed by who has an entry, and by who has a reference;
 * so the entries go first, and then it is asked about the references. Somebody who gets one through an entry that he has
 * read before reads the entry again after it. Both sides in one order (seq_cst), so either we see his reference, or he sees
 * the entry gone. Who had a reference and dropped it marked the folio dirty before that: it is looked at last.
 *
 * Other entries of the folio count one reference each, as ours do. Whoever takes an entry away drops its mapping before its
 * reference, and who makes one adds the reference first, so references less mappings never are fewer than those of others.
 * If nothing else maps the folio, mappings can only go while we hold the ptl and the folio's lock, and the answer is exact. Else they are
 * looked at twice. S2.16.
 */
#include "unmap.h"

/*
 * Does anybody hold it but page tables and the caller? To be told no in error, an unmapping and a fork elsewhere must both
 * begin and end between two of these loads.
 */
static bool others_hold(const struct folio *folio)
{
	/* acquire: before the references */
	u32 maps = (u32)smp_load_acquire(&folio->mapcount);
	/*
	 * seq_cst: pairs with the references of get_user_pages_fast(), as ptep_invalidate() with its second look at entries.
	 * Acquire is in it: the mappings again, and PG_dirty, come after.
	 */
	u32 refs = smp_load_seq_cst(&folio->refcount);

	return refs != 1 + maps || (u32)folio_mapcount(folio) != maps;
}

enum unmap_next unmap_lazyfree(struct ttu *t, const struct unmap_run *run)
{
	pte_t seen = unmap_run_begin(run);
	struct folio *folio = run->sr.folio;
	bool held = others_hold(folio);

	/* after the references: it was dirtied before one of them was dropped, release, or not at all */
	if ((pte_dirty(seen) || folio_test_flag(folio, PG_dirty)) &&
	    !(READ_ONCE(run->vma->vm_flags) & VM_DROPPABLE)) {
		unmap_run_cancel(run);
		/* it has contents again */
		folio_set_flag(folio, PG_swapbacked);
		return UNMAP_STOP;
	}
	if (held) {
		unmap_run_cancel(run);
		return UNMAP_STOP;
	}
	/* nothing else writes to entries that are invalid */
	clear_ptes(run->ptep, run->nr);
	unmap_count(t, run);
	unmap_run_end(run);
	return UNMAP_GO_ON;
}
