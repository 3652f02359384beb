/* SPDX-License-Identifier: MIT */
/*
 * uaccess.c - the kernel writes to user memory while the process forks and writes to the same page: what the kernel
 * wrote is the parent's, and what the child has does not change any more.
 */
#include <octavo/gup.h>

#include "user_space.h"

#define LAST  (ADDR + PAGE_SIZE - 8) /* word of the first page */
#define FIRST (ADDR + PAGE_SIZE)     /* of the second */

/* The second page is written to by everybody at once: what a fork copies of it is this or that. */
static void setup_forked_before(void)
{
	setup();
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	warm_fork(1);
	for (unsigned long addr = ADDR; addr <= FIRST; addr += PAGE_SIZE) {
		CHECK(!mm_fault(s.mm, addr, FAULT_FLAG_WRITE));
		check_ignore_races(pfn_to_virt(pte_pfn(entry_of(s.mm, addr))), PAGE_SIZE);
	}
}

/* Over the border of two pages: it is interrupted between them. */
static void kernel_writes(void)
{
	u64 words[2] = { 5, 6 };

	CHECK(!copy_to_user(s.mm, LAST, words, sizeof(words)));
}

static void forks(void)
{
	int err;

	s.second = mm_fork(s.mm, &err);
	CHECK(s.second);
	s.words[0] = word_of(s.second, FIRST);
	s.words[1] = word_of(s.second, FIRST + 8);
}

static void program_writes(void)
{
	CHECK(store(s.mm, FIRST + 8, 2));
}

static void each_has_its_own(void)
{
	CHECK(word_of(s.mm, LAST) == 5 && word_of(s.mm, FIRST) == 6);
	CHECK(word_of(s.mm, FIRST + 8) == 2);
	CHECK(word_of(s.second, FIRST) == s.words[0]);
	CHECK(word_of(s.second, FIRST + 8) == s.words[1]);
	CHECK(mm_validate(s.mm) && mm_validate(s.second));
}

SCENARIO(uaccess_fork) = {
	SCENARIO_NAME(uaccess_fork),
	.stale = -1,
	.stale_below = 2,
	.threads = { kernel_writes, forks, program_writes },
	.roles = { "kernel", "fork", "program" },
	.frames = 128,
	.setup = setup_forked_before,
	.finish = each_has_its_own,
	.about = "the kernel copies to two pages that are forked and written to"
};
