/* SPDX-License-Identifier: MIT */
/*
 * state.c - the one writable object of the core.
 */
#include <octavo/state.h>

__attribute__((section(".octavo_state"), aligned(4096))) struct octavo_state octavo_state;

void octavo_set_hooks(const struct octavo_hooks *hooks)
{
	octavo_state.hooks = hooks;
}
