/* SPDX-License-Identifier: MIT */
/*
 * fault.c - failing at step k (test builds only).
 */
#include <octavo/state.h>

#if OCTAVO_FAULTS
void octavo_fault_arm(u32 k, int mode, u32 kinds)
{
	struct fault_state *f = &octavo_state.fault;

	f->mode = (u32)mode;
	f->kinds = mode == OCTAVO_FAULT_AFTER ? kinds & ~OCTAVO_FAULT_CAS : kinds;
	f->left = k;
	f->hits = 0;
	f->armed = 1;
}

u32 octavo_fault_disarm(void)
{
	octavo_state.fault.armed = 0;
	return octavo_state.fault.hits;
}

bool octavo_fault(u32 kind)
{
	struct fault_state *f = &octavo_state.fault;

	if (likely(!f->armed) || !(f->kinds & kind) || !f->left)
		return false;
	if (f->left > 1) {
		f->left--;
		return false;
	}
	if (f->mode == OCTAVO_FAULT_ONCE)
		f->left = 0;
	f->hits++;
	return true;
}
#endif
