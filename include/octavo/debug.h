/* SPDX-License-Identifier: MIT */
/*
 * debug.h - logging, assertions, panic.
 *
 * BUG_ON() and octavo_panic() are in every build: misuse that could corrupt memory must be loud.
 * VM_BUG_ON() and VM_WARN_ON() assert preconditions in debug builds and only type-check in others.
 */
#ifndef OCTAVO_DEBUG_H
#define OCTAVO_DEBUG_H

#include <octavo/port.h>

/**
 * octavo_scnprintf() - format into a buffer
 * @buf: the buffer
 * @size: its bytes
 * @fmt: %% %c %s %d %i %u %x %p with -, 0, width, .precision for %s, and l, ll, z
 *
 * Return: characters written, without the terminating null; never more than @size - 1.
 */
int octavo_scnprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);

/* Log one formatted line (at most 255 characters). */
void octavo_log(enum octavo_log_level level, const char *fmt, ...) __printf(2, 3);

/* Log one formatted line and panic with it. */
__noreturn __cold void octavo_panic(const char *fmt, ...) __printf(1, 2);

#define pr_err(...)  octavo_log(OCTAVO_LOG_ERR, __VA_ARGS__)
#define pr_warn(...) octavo_log(OCTAVO_LOG_WARN, __VA_ARGS__)
#define pr_info(...) octavo_log(OCTAVO_LOG_INFO, __VA_ARGS__)
#define pr_dump(...) octavo_log(OCTAVO_LOG_DUMP, __VA_ARGS__)

#define BUG_ON(c)                                                                 \
	do {                                                                      \
		if (unlikely(c))                                                  \
			octavo_panic("BUG at %s:%d: %s", __FILE__, __LINE__, #c); \
	} while (0)

#if OCTAVO_DEBUG
#define VM_BUG_ON(c) BUG_ON(c)
#define VM_WARN_ON(c)                                                            \
	do {                                                                     \
		if (unlikely(c))                                                 \
			pr_warn("WARNING at %s:%d: %s", __FILE__, __LINE__, #c); \
	} while (0)
#else
#define VM_BUG_ON(c)  ((void)sizeof(!(c)))
#define VM_WARN_ON(c) ((void)sizeof(!(c)))
#endif

#endif /* OCTAVO_DEBUG_H */
