/* SPDX-License-Identifier: MIT */
/*
 * machine.c - the simulated machine: RAM and metadata as lazily backed host mappings.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <octavo/state.h>

#include "sim.h"
#include "tlb.h"
#include "urcu_shim.h"

static struct {
	char *ram, *meta;
	u64 ram_bytes, meta_bytes;
} machine;

static u64 machines_ended;

u64 sim_machine_nr(void)
{
	return machines_ended;
}

u64 sim_ram_bytes(void)
{
	return machine.ram_bytes;
}

static char *map_hollow(u64 bytes, bool large)
{
	const u64 align = large ? 2ul << 20 : PAGE_SIZE;
	char *p = mmap(NULL, ALIGN(bytes, PAGE_SIZE) + align, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	u64 before;

	if (p == MAP_FAILED)
		return NULL;
	before = ALIGN((u64)p, align) - (u64)p;
	if (before)
		munmap(p, before);
	munmap(p + before + ALIGN(bytes, PAGE_SIZE), align - before);
	/* a host that has none may refuse: that costs time only */
	if (large)
		madvise(p + before, bytes, MADV_HUGEPAGE);
	return p + before;
}

static void unmap_machine(void)
{
	machines_ended++;
	sim_mmu_reset();
	if (machine.ram)
		munmap(machine.ram, machine.ram_bytes);
	if (machine.meta)
		munmap(machine.meta, machine.meta_bytes);
	memset(&machine, 0, sizeof(machine));
}

static int boot_regions(const struct sim_config *cfg, const struct octavo_region *regions, u32 nr)
{
	struct octavo_boot boot = {
		.regions = regions,
		.nr_regions = nr,
		.nr_cpus = cfg->cpus ? cfg->cpus : 2,
		.max_phys = cfg->max_phys,
		.dma_limit = cfg->dma_limit ? cfg->dma_limit : ~0ull,
		.dma32_limit = cfg->dma32_limit ? cfg->dma32_limit : ~0ull,
		.movable_bytes = cfg->movable_bytes,
	};
	u64 end = cfg->max_phys;
	int err;

	for (u32 i = 0; i < nr; i++)
		if (regions[i].type == OCTAVO_MEM_USABLE)
			end = max(end, regions[i].base + regions[i].size);
	machine.ram_bytes = ALIGN(end, SECTION_SIZE > PAGE_SIZE ? SECTION_SIZE : PAGE_SIZE);
	machine.ram = map_hollow(machine.ram_bytes, cfg->large);
	if (!machine.ram)
		return -ENOMEM;
	boot.direct_map = machine.ram;
	if (!cfg->carve) {
		machine.meta_bytes = octavo_metadata_size(&boot);
		if (machine.meta_bytes) {
			machine.meta = map_hollow(machine.meta_bytes, cfg->large);
			if (!machine.meta) {
				unmap_machine();
				return -ENOMEM;
			}
		}
		boot.meta = machine.meta;
		boot.meta_size = machine.meta_bytes;
	}
	err = octavo_init(&boot);
	if (err)
		unmap_machine();
	return err;
}

int sim_boot(const struct sim_config *cfg)
{
	struct octavo_region regions[OCTAVO_NR_NODES];
	u32 nodes = cfg->nodes ? cfg->nodes : 1;
	u64 part;

	sim_log_quiet(cfg->quiet);
	shim_register();
	if (cfg->nr_regions)
		return boot_regions(cfg, cfg->regions, cfg->nr_regions);
	if (nodes > OCTAVO_NR_NODES)
		return -EINVAL;
	part = ALIGN_DOWN(cfg->bytes / nodes, nodes > 1 ? SECTION_SIZE : PAGE_SIZE);
	for (u32 n = 0; n < nodes; n++)
		regions[n] = (struct octavo_region){ .base = n * part, .size = part, .node = n };
	return boot_regions(cfg, regions, nodes);
}

u64 sim_shutdown(void)
{
	u64 leaked = octavo_shutdown();

	unmap_machine();
	return leaked;
}

void sim_reset(void)
{
	memset(&octavo_state, 0, sizeof(octavo_state));
	unmap_machine();
}

static u64 resident(char *base, u64 bytes)
{
	enum { CHUNK = 1 << 20 };
	unsigned char *vec = malloc(CHUNK);
	u64 n = 0;

	if (!vec)
		abort();
	for (u64 off = 0; off < bytes; off += (u64)CHUNK * PAGE_SIZE) {
		u64 len = min((u64)CHUNK * PAGE_SIZE, bytes - off);

		if (mincore(base + off, len, vec))
			break;
		for (u64 i = 0; i < DIV_ROUND_UP(len, PAGE_SIZE); i++)
			n += vec[i] & 1;
	}
	free(vec);
	return n * PAGE_SIZE;
}

u64 sim_resident_ram(void)
{
	return resident(machine.ram, machine.ram_bytes);
}

u64 sim_resident_meta(void)
{
	return resident(machine.meta, machine.meta_bytes);
}
