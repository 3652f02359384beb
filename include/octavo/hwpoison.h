/* SPDX-License-Identifier: MIT */
/*
 * hwpoison.h - frames whose memory is bad.
 *
 * A sparse set of pfns is the truth, for memory of every type; a folio's flag is a hint. Frames of the
 * set are kept out when they are freed and when a magazine is refilled, and then their word is HWPOISON.
 */
#ifndef OCTAVO_HWPOISON_H
#define OCTAVO_HWPOISON_H

#include <octavo/page.h>

enum mf_result {
	MF_RECOVERED =
		0, /* free: taken out of use for good; its word is HWPOISON, or it is idle memory of a device */
	MF_DELAYED = 1, /* in use: will be kept out when it is freed */
	MF_IGNORED =
		2, /* reserved, or idle memory of a device that did not deal with it: recorded */
	MF_ALREADY = 3, /* known before */
};

/**
 * memory_failure() - the hardware says that a frame is bad
 * @pfn: any number
 *
 * Context: may sleep. Return: enum mf_result; -ENXIO no such frame; -ENOMEM the reserve of set nodes is
 * empty: nothing recorded.
 */
int memory_failure(unsigned long pfn);

/**
 * unpoison_memory() - it was a mistake (tests, operators)
 *
 * Return: 0: forgotten, and if it was kept out it is free again; -ENOENT.
 */
int unpoison_memory(unsigned long pfn);

/* In the set now? Fast when the set is empty. */
bool pfn_poisoned(unsigned long pfn);
/* First poisoned pfn at or after @pfn and before @pfn + @nr; ~0ul if none. */
unsigned long pfn_poisoned_in(unsigned long pfn, unsigned long nr);
u64 nr_poisoned(void);

#endif /* OCTAVO_HWPOISON_H */
