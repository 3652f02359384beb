/* SPDX-License-Identifier: MIT */
/*
 * urcu_shim.h - liburcu under names that do not clash with rcu.h.
 */
#ifndef OCTAVO_URCU_SHIM_H
#define OCTAVO_URCU_SHIM_H

#include <stdbool.h>

void shim_read_lock(void);
void shim_read_unlock(void);
bool shim_read_ongoing(void);
void shim_synchronize(void);
/* fn(arg) after a grace period, on liburcu's worker thread. Takes host memory. */
void shim_call(void (*fn)(void *arg), void *arg);
void shim_barrier(void);
void shim_register(void);
void shim_unregister(void);

#endif /* OCTAVO_URCU_SHIM_H */
