// SPDX-License-Identifier: MIT
/*
 * oom.c - nothing can be freed any more: whose memory would help most?
 */
#include <octavo/mm.h>

#include "reclaim.h"

/* What ends with it, in pages: in memory, on swap devices, page tables. */
static u64 oom_badness(struct mm_struct *mm)
{
	if (!READ_ONCE(mm->users))
		return 0;
	return get_mm_rss(mm) + get_mm_counter(mm, MM_SWAPENTS) +
	       (READ_ONCE(mm->pgtables_bytes) >> PAGE_SHIFT);
}

struct mm_struct *oom_choose(void)
{
	struct mm_struct *mm = NULL, *worst = NULL;
	u64 most = 0;

	while ((mm = mm_next(mm))) {
		u64 badness = oom_badness(mm);

		if (badness <= most)
			continue;
		most = badness;
		mmgrab(mm);
		if (worst)
			mmdrop(worst);
		worst = mm;
	}
	if (worst)
		count_event(RECLAIM_OOM, 1);
	return worst;
}
