/* SPDX-License-Identifier: MIT */
/*
 * main.c - two cores with different prefixes in one program, on one port: neither sees the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <octavo/port.h>

#include "user.h"

void octavo_port_log(enum octavo_log_level level, const char *line)
{
	if (level <= OCTAVO_LOG_WARN)
		puts(line);
}

void octavo_port_panic(const char *reason)
{
	puts(reason);
	abort();
}

unsigned int octavo_port_pin(void)
{
	return 0;
}

void octavo_port_unpin(void)
{
}

unsigned int octavo_port_cpu(void)
{
	return 0;
}

void octavo_port_relax(void)
{
}

void octavo_port_membarrier(void)
{
}

void octavo_port_park(u32 *addr, u32 val)
{
}

void octavo_port_unpark(u32 *addr, bool all)
{
}

#define CHECK(c)                                                         \
	do {                                                             \
		if (!(c)) {                                              \
			printf("main.c:%d: not so: %s\n", __LINE__, #c); \
			return 1;                                        \
		}                                                        \
	} while (0)

int main(void)
{
	const unsigned long bytes = 32ul << 20;
	unsigned long free_left, free_right;
	void *a, *b;

	CHECK(strcmp(left.prefix(), right.prefix()));
	CHECK(left.up(aligned_alloc(PAGE_SIZE, bytes), bytes) == 0);
	CHECK(right.up(aligned_alloc(PAGE_SIZE, bytes / 2), bytes / 2) == 0);
	free_left = left.free_pages();
	free_right = right.free_pages();
	CHECK(free_left > free_right);
	a = left.take();
	CHECK(a && left.free_pages() < free_left && right.free_pages() == free_right);
	b = right.take();
	CHECK(b && right.free_pages() < free_right);
	left.give(a);
	CHECK(left.down() == 0);
	/* the other is still up */
	right.give(b);
	b = right.take();
	CHECK(b);
	right.give(b);
	CHECK(right.down() == 0);
	return 0;
}
