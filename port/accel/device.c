// SPDX-License-Identifier: MIT
/*
 * device.c - devices and contexts: made, ended, reset, and what goes wrong on demand.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "accel_priv.h"

u32 accel_orders(struct accel *dev)
{
	u32 all = (2u << min((unsigned int)OCTAVO_TABLE_BITS, (unsigned int)MAX_FOLIO_ORDER)) - 1;

	return dev->cfg.orders ? (dev->cfg.orders & all) | 1 : all;
}

struct accel_mem accel_page_mem(struct accel *dev, const struct page *page)
{
	struct accel_mem mem = { .kind = ACCEL_DEVICE };

	if (page_is_device_private(page)) {
		mem.at = (size_t)(page - dev->pgmap.words) << PAGE_SHIFT;
	} else {
		mem.kind = ACCEL_HOST;
		mem.host = pfn_to_virt(page_to_pfn(page));
	}
	return mem;
}

const char *accel_name(const struct accel *dev)
{
	return dev->be->name;
}

bool accel_lost(const struct accel *dev)
{
	return __atomic_load_n(&dev->be->lost, __ATOMIC_RELAXED);
}

bool accel_goes_wrong(struct accel *dev, enum accel_error error)
{
	u32 left = __atomic_load_n(&dev->error[error], __ATOMIC_RELAXED);

	while (left && left != ~0u)
		if (__atomic_compare_exchange_n(&dev->error[error], &left, left - 1, true,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			break;
	return left;
}

void accel_inject(struct accel *dev, enum accel_error error, u32 nr)
{
	__atomic_store_n(&dev->error[error], nr, __ATOMIC_RELAXED);
}

/* ---- devices ---- */

/* The part of accel_create() that memunmap_pages() ends. */
static int create_memory(struct accel *dev)
{
	const struct accel_config *cfg = &dev->cfg;

	dev->pgmap = (struct dev_pagemap){
		.type = cfg->coherent_pfn ? MEMORY_DEVICE_COHERENT : MEMORY_DEVICE_PRIVATE,
		.pfn = cfg->coherent_pfn,
		.nr = cfg->pages,
		.owner = dev,
		.ops = &migrate_ops,
		.priv = dev,
	};
	if (!cfg->coherent_pfn) {
		int err = dev->be->ops->memory(dev->be, cfg->pages << PAGE_SHIFT);

		if (err)
			return err;
	}
	return memremap_pages(&dev->pgmap);
}

int accel_create(const struct accel_config *cfg, struct accel_backend *be, struct accel **devp)
{
	struct accel *dev = calloc(1, sizeof(*dev));
	int err;

	if (!dev)
		return -ENOMEM;
	if (!cfg->pages || (cfg->coherent_pfn && !be->can_coherent)) {
		free(dev);
		return -EINVAL;
	}
	dev->cfg = *cfg;
	dev->be = be;
	pthread_mutex_init(&dev->lock, NULL);
	err = memory_init(&dev->mem, cfg->pages, (unsigned int)ilog2(accel_orders(dev)));
	if (err)
		goto no_memory;
	err = create_memory(dev);
	if (err)
		goto no_pages;
	err = dma_init(dev, cfg->dma_threads);
	if (err)
		goto no_dma;
	err = jobs_init(dev);
	if (err)
		goto no_jobs;
	*devp = dev;
	return 0;
no_jobs:
	dma_exit(dev);
no_dma:
	memunmap_pages(&dev->pgmap);
no_pages:
	memory_exit(&dev->mem);
no_memory:
	free(dev);
	return err;
}

void accel_destroy(struct accel *dev)
{
	jobs_exit(dev);
	/* what somebody still has: what cannot be moved now is waited for below */
	while (accel_evict(dev, dev->mem.nr))
		continue;
	memunmap_pages(&dev->pgmap);
	dma_exit(dev);
	memory_exit(&dev->mem);
	dev->be->ops->close(dev->be);
	free(dev);
}

void accel_reset(struct accel *dev)
{
	struct accel_ctx *ctx;

	__atomic_fetch_add(&dev->resets, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&dev->lock);
	for (ctx = dev->contexts; ctx; ctx = ctx->next) {
		pthread_rwlock_wrlock(&ctx->lock);
		mirror_clear(ctx, 0, TASK_SIZE_MAX);
		pthread_rwlock_unlock(&ctx->lock);
	}
	pthread_mutex_unlock(&dev->lock);
}

/* ---- contexts ---- */

int accel_open(struct accel *dev, struct mm_struct *mm, struct accel_ctx **ctxp)
{
	struct accel_ctx *ctx = calloc(1, sizeof(*ctx));
	int err;

	if (!ctx)
		return -ENOMEM;
	ctx->dev = dev;
	ctx->mm = mm;
	pthread_rwlock_init(&ctx->lock, NULL);
	err = mmu_interval_notifier_insert(&ctx->mni, mm, 0, TASK_SIZE_MAX, &mirror_ops);
	if (err) {
		free(ctx);
		return err;
	}
	pthread_mutex_lock(&dev->lock);
	ctx->next = dev->contexts;
	dev->contexts = ctx;
	pthread_mutex_unlock(&dev->lock);
	*ctxp = ctx;
	return 0;
}

void accel_close(struct accel_ctx *ctx)
{
	struct accel_ctx **link;

	pthread_mutex_lock(&ctx->dev->lock);
	for (link = &ctx->dev->contexts; *link != ctx; link = &(*link)->next)
		continue;
	*link = ctx->next;
	pthread_mutex_unlock(&ctx->dev->lock);
	mmu_interval_notifier_remove(&ctx->mni);
	mirror_free(ctx);
	pthread_rwlock_destroy(&ctx->lock);
	free(ctx);
}

/* ---- inspection ---- */

void accel_stat(struct accel *dev, struct accel_stat *st)
{
	/* each is atomic; together they are as exact as the moment is quiet */
	const u64 *from = (const u64 *)&dev->stat;
	u64 *to = (u64 *)st;

	for (size_t i = 0; i < sizeof(*st) / sizeof(u64); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	st->pages_free = memory_left(&dev->mem);
}

bool accel_validate(struct accel *dev)
{
	return memory_validate(&dev->mem);
}
