/* SPDX-License-Identifier: MIT */
/*
 * embed.c - the whole of a tier-0 embedder: nine port functions, and memory that it brings itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <octavo/octavo.h>

void octavo_port_log(enum octavo_log_level level, const char *line)
{
	printf("[octavo %s] %s\n", level <= OCTAVO_LOG_WARN ? "!" : "-", line);
}

void octavo_port_panic(const char *reason)
{
	printf("panic: %s\n", reason);
	abort();
}

/* One CPU, one thread, no interrupts: the caller has slot 0 to itself, and nobody waits. */
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

/* The machine's memory: "physical address 0" is where this array starts. */
static char memory[64 << 20] __aligned(PAGE_SIZE);

int main(void)
{
	const struct octavo_region map[] = {
		{ .base = 0, .size = sizeof(memory), .type = OCTAVO_MEM_USABLE },
		{ .base = 0x9f000, .size = 0x61000, .type = OCTAVO_MEM_RESERVED },
	};
	/* No metadata given: it is carved out of the regions. */
	const struct octavo_boot boot = { .regions = map,
					  .nr_regions = 2,
					  .nr_cpus = 1,
					  .direct_map = memory,
					  .dma_limit = ~0ul,
					  .dma32_limit = ~0ul };

	if (octavo_init(&boot))
		return 1;
	printf("%lu pages, %lu free\n", totalram_pages(), nr_free_pages());
	long pfn = frame_alloc(GFP_KERNEL, 4, NUMA_NO_NODE);	      /* 64 KiB, bare */
	struct page *page = alloc_pages(GFP_KERNEL, 1);		      /* counted, two pages */
	struct folio *folio = folio_alloc(GFP_KERNEL, 9, FOLIO_ANON); /* 2 MiB */
	struct kmem_cache *cache = kmem_cache_create("point", 24, 8, 0, NULL);
	void *object = cache ? kmem_cache_alloc(cache, GFP_KERNEL) : NULL;
	char *text = kmalloc(100, GFP_KERNEL);

	if (pfn < 0 || !page || !folio || !object || !text)
		return 1;
	strcpy(text, "hello from a slab");
	memset(folio_address(folio), 0xff, folio_size(folio));
	printf("frames at pfn %ld, page at %p, folio of %lu pages, object at %p, \"%s\"\n", pfn,
	       page_address(page), folio_nr_pages(folio), object, text);
	dump_page(folio_pfn(folio) + 5, "an example");
	kfree(text);
	kmem_cache_free(cache, object);
	kmem_cache_destroy(cache);
	folio_put(folio);
	put_page(page);
	frame_free((unsigned long)pfn, 4);
	u64 leaked = octavo_shutdown();
	printf("%lu frames leaked\n", leaked);
	return leaked != 0;
}
