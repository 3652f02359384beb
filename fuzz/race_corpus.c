/* SPDX-License-Identifier: MIT */
/*
 * race_corpus.c - recorded inputs of the race fuzzer, then random ones: race_corpus DIRECTORY [NUMBER [SEED]]
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "race_program.h"

static unsigned long operations;

static int run(const uint8_t *data, size_t size, const char *name)
{
	const char *error = race_run(data, size, &operations);

	if (error)
		fprintf(stderr, "race_corpus: %s: %s\n", name, error);
	return error ? 1 : 0;
}

static int run_file(const char *path)
{
	uint8_t data[4096];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f) {
		perror(path);
		exit(2);
	}
	n = fread(data, 1, sizeof(data), f);
	fclose(f);
	return run(data, n, path);
}

/* Return: inputs that fail. */
static int run_directory(const char *top, unsigned int *files)
{
	DIR *dir = opendir(top);
	struct dirent *entry;
	int bad = 0;

	if (!dir) {
		perror(top);
		exit(2);
	}
	while ((entry = readdir(dir))) {
		char path[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", top, entry->d_name);
		bad += run_file(path);
		++*files;
	}
	closedir(dir);
	return bad;
}

static uint64_t rng;

static uint8_t byte(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint8_t)(rng >> 24);
}

static int run_random(unsigned long number)
{
	int bad = 0;

	for (unsigned long i = 0; i < number && !bad; i++) {
		uint8_t data[2 + 3 * (RACE_ENTRIES + RACE_THREADS * RACE_OPS)];
		char name[64];

		snprintf(name, sizeof(name), "random input %lu of seed %#lx", i,
			 (unsigned long)rng);
		for (size_t k = 0; k < sizeof(data); k++)
			data[k] = byte();
		/* few preemptions each: the schedule that is usual finds most */
		data[1] %= 7;
		bad += run(data, sizeof(data), name);
	}
	return bad;
}

int main(int argc, char **argv)
{
	unsigned long number = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	unsigned int files = 0;
	int bad;

	if (argc < 2) {
		fprintf(stderr, "usage: race_corpus DIRECTORY [NUMBER [SEED]]\n");
		return 2;
	}
	rng = argc > 3 ? strtoull(argv[3], NULL, 0) : 0x9e3779b97f4a7c15ull;
	bad = run_directory(argv[1], &files);
	bad += run_random(number);
	printf("%u files, %lu random inputs, %lu operations, %d failed\n", files, number,
	       operations, bad);
	/* a corpus that is not there has not passed */
	return bad || !files || !operations;
}
