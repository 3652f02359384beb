/* SPDX-License-Identifier: MIT */
/*
 * user.h - a user of Octavo, seen from outside: no name of Octavo's in it.
 */
#ifndef PREFIX_USER_H
#define PREFIX_USER_H

struct user {
	int (*up)(void *memory, unsigned long bytes);
	void *(*take)(void);
	void (*give)(void *folio);
	unsigned long (*free_pages)(void);
	unsigned long (*down)(void);
	const char *(*prefix)(void);
};

extern const struct user left, right;

#endif /* PREFIX_USER_H */
