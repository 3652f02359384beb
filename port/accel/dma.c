// SPDX-License-Identifier: MIT
/*
 * dma.c - the copy engine: threads that copy between the device's memory and the system's, by physical pages.
 *
 * They know nothing of address spaces and never enter the core, so whoever waits for a copy, with folios locked, waits for nobody who
 * could be waiting for these folios.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <octavo/fault.h>

#include "accel_priv.h"

static void copy_all(struct accel *dev, struct accel_copy *copy, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		copy[i].failed =
			accel_goes_wrong(dev, ACCEL_COPY_FAILS) || octavo_fault(OCTAVO_FAULT_COPY);
	dev->be->ops->copy(dev->be, copy, nr);
	for (unsigned long i = 0; i < nr; i++)
		if (copy[i].failed)
			accel_count(dev, copies_failed, 1);
}

static void *engine(void *arg)
{
	struct accel *dev = arg;
	struct accel_dma *dma = &dev->dma;

	pthread_mutex_lock(&dma->lock);
	for (;;) {
		struct dma_batch *batch = dma->first;

		if (!batch) {
			if (dma->stop)
				break;
			pthread_cond_wait(&dma->work, &dma->lock);
			continue;
		}
		dma->first = batch->next;
		if (!dma->first)
			dma->last = &dma->first;
		pthread_mutex_unlock(&dma->lock);
		copy_all(dev, batch->copy, batch->nr);
		pthread_mutex_lock(&dma->lock);
		batch->done = true;
		pthread_cond_broadcast(&dma->idle);
	}
	pthread_mutex_unlock(&dma->lock);
	return NULL;
}

int dma_init(struct accel *dev, unsigned int threads)
{
	struct accel_dma *dma = &dev->dma;

	pthread_mutex_init(&dma->lock, NULL);
	pthread_cond_init(&dma->work, NULL);
	pthread_cond_init(&dma->idle, NULL);
	dma->last = &dma->first;
	dma->thread = calloc(threads ? threads : 1, sizeof(*dma->thread));
	if (!dma->thread)
		return -ENOMEM;
	for (; dma->nr < threads; dma->nr++)
		if (pthread_create(&dma->thread[dma->nr], NULL, engine, dev)) {
			dma_exit(dev);
			return -ENOMEM;
		}
	return 0;
}

void dma_exit(struct accel *dev)
{
	struct accel_dma *dma = &dev->dma;

	pthread_mutex_lock(&dma->lock);
	dma->stop = true;
	pthread_cond_broadcast(&dma->work);
	pthread_mutex_unlock(&dma->lock);
	while (dma->nr)
		pthread_join(dma->thread[--dma->nr], NULL);
	free(dma->thread);
	dma->thread = NULL;
}

void dma_run(struct accel *dev, struct accel_copy *copy, unsigned long nr)
{
	struct dma_batch batch = { .copy = copy, .nr = nr };
	struct accel_dma *dma = &dev->dma;

	if (!nr)
		return;
	if (!dma->nr) {
		copy_all(dev, copy, nr);
		return;
	}
	pthread_mutex_lock(&dma->lock);
	*dma->last = &batch;
	dma->last = &batch.next;
	pthread_cond_signal(&dma->work);
	while (!batch.done)
		pthread_cond_wait(&dma->idle, &dma->lock);
	pthread_mutex_unlock(&dma->lock);
}
