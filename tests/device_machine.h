/* SPDX-License-Identifier: MIT */
/*
 * device_machine.h - a simulated machine with room for device memory, and a driver that remembers what it is told.
 */
#ifndef OCTAVO_DEVICE_MACHINE_H
#define OCTAVO_DEVICE_MACHINE_H

#include <octavo/memremap.h>
#include <octavo/rcu.h>

#include "test.h"

#define DEVICE_SECTIONS (OCTAVO_TREE_ORDER > 6 ? 8ul : 32ul)
#define SECTION_PAGES	PAGES_PER_SECTION

/* Sections above memory that nothing has. */
static inline void device_boot(u32 cpus)
{
	struct sim_config cfg = { .bytes = OCTAVO_TREE_ORDER > 6 ? 64 << 20 : 4 << 20,
				  .cpus = cpus,
				  .quiet = true };

	cfg.max_phys = cfg.bytes + DEVICE_SECTIONS * SECTION_SIZE;
	assert_int_equal(sim_boot(&cfg), 0);
	sim_set_cpu(0);
}

static inline unsigned long device_pfn(void)
{
	return octavo_state.frame.max_pfn - DEVICE_SECTIONS * SECTION_PAGES;
}

/* What the driver was told. */
struct device_log {
	u32 frees, page_frees, splits, split_ends, failures;
	unsigned int order;   /* of the last */
	unsigned long place;  /* of the last */
	unsigned long pages;  /* freed */
	struct folio *folio;  /* of the last */
	bool anon_exclusive;  /* of the last freed one */
	void *mapping, *priv; /* of the last freed one */
};
extern struct device_log device_log;

extern const struct dev_pagemap_ops device_ops;

static inline struct dev_pagemap device_pagemap(enum memory_type type, unsigned long nr)
{
	return (struct dev_pagemap){ .type = type,
				     .pfn = device_pfn(),
				     .nr = nr,
				     .ops = &device_ops,
				     .owner = &device_log };
}

#endif /* OCTAVO_DEVICE_MACHINE_H */
