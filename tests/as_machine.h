/* SPDX-License-Identifier: MIT */
/*
 * as_machine.h - the core's side of the address-space oracle: processes, objects to map, pins; what the core says of
 * each page; and the comparison with the model.
 */
#ifndef OCTAVO_TESTS_AS_MACHINE_H
#define OCTAVO_TESTS_AS_MACHINE_H

#include <octavo/octavo.h>

#include <octavo/gup.h>
#include <octavo/mm.h>
#include <octavo/pgtable.h>

#include "as_model.h"

enum {
	AS_CPUS = 2,
	AS_PINS = 24,
	AS_LINE = 200,
};

/* What the core says a page is part of. */
struct as_view {
	u32 flags, area;
	u16 file, pgoff;
};

/* A page that get_user_pages() gave, and what must be in it for as long as it is kept. */
struct as_pin {
	struct page *page; /* NULL: not in use */
	bool pinned;	   /* else only a reference: its contents may get old */
	bool write;
	struct as_data *data;	/* or */
	const uint64_t *shared; /* an object's; or both NULL: the zero page */
};

struct as_config {
	u64 bytes;
	unsigned int overcommit;
	bool asids, swap_sync;
	u32 orders;
};

struct as_machine {
	struct as_model m;
	struct mm_struct *mm[AS_PROCS];
	struct vm_file file[AS_FILES];
	struct page *page[AS_FILES][AS_FILE_PAGES];
	struct as_pin pin[AS_PINS];
	struct as_view view[AS_MAX_PAGES];
	unsigned long area_start[AS_MAX_PAGES], area_end[AS_MAX_PAGES];
	u32 areas;
	unsigned long unmerged; /* areas more than there need be, summed up */
	u64 free_before;
	u32 hits;     /* steps that were made to fail in this operation */
	u32 all_hits; /* and in all */
	int swap;     /* the device's number; below 0: there is none */
	bool swap_sync;
	u32 io_failed; /* its transfers that did, in this operation */
	char error[320];
};

extern struct as_machine as;

/* Return: false always, for return. The first one is kept. */
__attribute__((format(printf, 1, 2))) bool as_wrong(const char *fmt, ...);

bool as_machine_boot(const struct as_config *cfg);
/* Everything ends, nothing is left. */
bool as_machine_end(void);
void as_machine_exit(int p);

/* Ask the core for the areas of a process. */
void as_view(int p);
/* Where the area begins and ends that has @addr, or is the first after it, by the last as_view(). 0: none. */
unsigned long as_area_start(unsigned long addr);
unsigned long as_area_end(unsigned long addr);

/* May the last operation have run out of memory? */
bool as_excused(void);

/* As a frame number: what is there is in a slot. Above it: nothing is. */
#define AS_IN_SLOT (~0ul - 1)
unsigned long as_pfn_at(int p, unsigned long addr, bool *guard);
/* Where a page's words are in the host, by its frame. */
u64 *as_host_word(unsigned long pfn, unsigned int i);
unsigned long as_word_offset(unsigned int i);

/* Private pages of objects that were copied before they were written to are the model's own from now on. */
void as_adopt_copies(int p);

/* Lazy pages that are gone are the model's zeros from now on. */
void as_adopt_freed(int p);

/* ---- as_swap.c ---- */

/* There is a device, or there is one now. */
bool as_swap_on(void);
bool as_swap_end(void);
/* Word @i of a page that is in a slot: what its next reader will find. */
const u64 *as_slot_word(int p, unsigned long addr, unsigned int i);

bool as_check_areas(int p);
bool as_check_pages(int p, unsigned long addr, unsigned long nr);
bool as_check_pins(void);
/* All of it, with the core's own validation. */
bool as_check_all(void);

#endif /* OCTAVO_TESTS_AS_MACHINE_H */
