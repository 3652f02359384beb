// SPDX-License-Identifier: MIT
/*
 * memory.c - the driver's allocator of device memory: naturally aligned blocks of 2^order pages, by free lists.
 *
 * A block of a larger order is split when there is none of the right one; a block that comes back is joined with its
 * buddy as long as that is free. Folios are split and freed in pieces: what comes back need not be what was taken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "accel_priv.h"

#define NONE (~0u)

static void list_add_block(struct accel_memory *mem, unsigned long at, unsigned int order)
{
	u32 next = mem->head[order];

	mem->state[at] = (u8)(1 + order);
	mem->next[at] = next;
	mem->prev[at] = NONE;
	if (next != NONE)
		mem->prev[next] = (u32)at;
	mem->head[order] = (u32)at;
}

static void list_del_block(struct accel_memory *mem, unsigned long at, unsigned int order)
{
	u32 next = mem->next[at], prev = mem->prev[at];

	mem->state[at] = 0;
	if (next != NONE)
		mem->prev[next] = prev;
	if (prev != NONE)
		mem->next[prev] = next;
	else
		mem->head[order] = next;
}

/* Context: the lock. */
static void give(struct accel_memory *mem, unsigned long at, unsigned int order)
{
	mem->free += 1ul << order;
	while (order < mem->top) {
		unsigned long buddy = at ^ 1ul << order;

		if (buddy + (1ul << order) > mem->nr || mem->state[buddy] != 1 + order)
			break;
		list_del_block(mem, buddy, order);
		at &= ~(1ul << order);
		order++;
	}
	list_add_block(mem, at, order);
}

int memory_init(struct accel_memory *mem, unsigned long nr, unsigned int top)
{
	memset(mem, 0, sizeof(*mem));
	pthread_mutex_init(&mem->lock, NULL);
	mem->nr = nr;
	mem->top = top;
	mem->next = malloc(nr * sizeof(*mem->next));
	mem->prev = malloc(nr * sizeof(*mem->prev));
	mem->state = calloc(nr, 1);
	for (unsigned int order = 0; order <= MAX_FOLIO_ORDER; order++)
		mem->head[order] = NONE;
	if (!mem->next || !mem->prev || !mem->state) {
		memory_exit(mem);
		return -ENOMEM;
	}
	for (unsigned long at = 0; at < nr; at++)
		give(mem, at, 0);
	return 0;
}

void memory_exit(struct accel_memory *mem)
{
	free(mem->next);
	free(mem->prev);
	free(mem->state);
	pthread_mutex_destroy(&mem->lock);
}

long memory_take(struct accel_memory *mem, unsigned int order)
{
	unsigned int from = order;
	long at = -1;

	pthread_mutex_lock(&mem->lock);
	while (from <= mem->top && mem->head[from] == NONE)
		from++;
	if (from <= mem->top) {
		at = mem->head[from];
		list_del_block(mem, (unsigned long)at, from);
		/* the upper halves stay */
		while (from > order)
			from--, list_add_block(mem, (unsigned long)at + (1ul << from), from);
		mem->free -= 1ul << order;
	}
	pthread_mutex_unlock(&mem->lock);
	return at;
}

void memory_give(struct accel_memory *mem, unsigned long at, unsigned int order)
{
	pthread_mutex_lock(&mem->lock);
	give(mem, at, order);
	pthread_mutex_unlock(&mem->lock);
}

unsigned long memory_left(struct accel_memory *mem)
{
	unsigned long left;

	pthread_mutex_lock(&mem->lock);
	left = mem->free;
	pthread_mutex_unlock(&mem->lock);
	return left;
}

bool memory_validate(struct accel_memory *mem)
{
	unsigned long sum = 0;
	bool ok = true;

	pthread_mutex_lock(&mem->lock);
	for (unsigned int order = 0; order <= mem->top; order++)
		for (u32 at = mem->head[order]; at != NONE; at = mem->next[at]) {
			ok &= mem->state[at] == 1 + order && IS_ALIGNED(at, 1u << order);
			sum += 1ul << order;
		}
	ok &= sum == mem->free;
	pthread_mutex_unlock(&mem->lock);
	if (!ok)
		octavo_log(OCTAVO_LOG_ERR, "device memory: %lu free, lists say %lu", mem->free,
			   sum);
	return ok;
}
