/* SPDX-License-Identifier: MIT */
/*
 * octavo.h - the whole public interface.
 */
#ifndef OCTAVO_OCTAVO_H
#define OCTAVO_OCTAVO_H

#include <octavo/boot.h>
#include <octavo/desc.h>
#include <octavo/errno.h>
#include <octavo/folio.h>
#include <octavo/frame.h>
#include <octavo/gup.h>
#include <octavo/hooks.h>
#include <octavo/hwpoison.h>
#include <octavo/migrate.h>
#include <octavo/mm.h>
#include <octavo/mmu_notifier.h>
#include <octavo/mmzone.h>
#include <octavo/page.h>
#include <octavo/pfnwalk.h>
#include <octavo/pgtable.h>
#include <octavo/plain.h>
#include <octavo/rcu.h>
#include <octavo/rmap.h>
#include <octavo/slab.h>
#include <octavo/state.h>
#include <octavo/tlb.h>
#include <octavo/vmalloc.h>
#include <octavo/zpool.h>
#include <octavo/swap.h>
#include <octavo/reclaim.h>
#include <octavo/memcontrol.h>

#endif /* OCTAVO_OCTAVO_H */
