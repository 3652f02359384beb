/* SPDX-License-Identifier: MIT */
/*
 * string.h - the four functions of the C library that the core needs; the embedder has them.
 */
#ifndef OCTAVO_STRING_H
#define OCTAVO_STRING_H

#include <stddef.h>

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif /* OCTAVO_STRING_H */
