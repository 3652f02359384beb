/* SPDX-License-Identifier: MIT */
/*
 * state.h - all mutable state of the core that is not in memory it was given: one object, page
 * aligned, in a section of its own.
 *
 * Nothing else in mm/ or lib/ is writable: no other globals, no static locals, no thread-locals; a
 * test checks it. So several processes can share one "kernel" by mapping this object and its memory at the same
 * address, a checker can reset and compare states by copying, and a dump of it is a core file of the
 * whole memory manager.
 *
 * Each layer declares its part in a header of its own and says there which lock or protocol guards
 * each field.
 */
#ifndef OCTAVO_STATE_H
#define OCTAVO_STATE_H

#include <octavo/frame_state.h>
#include <octavo/hooks.h>
#include <octavo/hwpoison_state.h>
#include <octavo/rcu_state.h>
#include <octavo/slab_state.h>
#include <octavo/desc_state.h>
#include <octavo/reclaim_state.h>
#include <octavo/device_state.h>
#include <octavo/space_state.h>
#include <octavo/swap_state.h>
#include <octavo/upcalls.h>
#include <octavo/kmap_state.h>

#if OCTAVO_FAULTS
struct fault_state {
	u32 armed; /* tests run one CPU while armed: no lock */
	u32 mode;
	u32 kinds;
	u32 left;
	u32 hits;
};
#endif

enum octavo_layer_id {
	OCTAVO_LAYER_SWAP,
	OCTAVO_LAYER_SPACE,
	OCTAVO_LAYER_RECLAIM,
	OCTAVO_LAYER_DEVICE,
	OCTAVO_LAYER_KMAP,
	NR_OCTAVO_LAYERS,
};

struct octavo_layer {
	void (*exit)(void);	/* one CPU, nothing else running; highest layer first */
	bool (*validate)(void); /* the same */
};

struct octavo_state {
	u32 up; /* 1 between octavo_init() and octavo_shutdown(); written with nothing else running */
	struct frame_state frame;
	struct slab_state slab;
	struct desc_state desc;
	struct hwpoison_state hwpoison;
	struct rcu_state rcu;
	struct swap_state swap;
	struct space_state space;
	struct reclaim_state reclaim;
	struct device_state device;
	struct kmap_state kmap;
	struct upcalls_state upcalls;
	/*
	 * Layers that an embedder may do without come up when they are first used, and store here what
	 * octavo_shutdown() and octavo_validate() call: release, once. So nothing below names them, and a
	 * linker leaves them in the archive.
	 */
	const struct octavo_layer *layer[NR_OCTAVO_LAYERS];
	const struct octavo_hooks *hooks; /* set before anything runs; the object is const */
#if OCTAVO_FAULTS
	struct fault_state fault;
#endif
};

extern struct octavo_state octavo_state;

#endif /* OCTAVO_STATE_H */
