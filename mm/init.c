/* SPDX-License-Identifier: MIT */
/*
 * init.c - bringing the layers up in order, and down in the reverse order.
 */
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/slab.h>
#include <octavo/state.h>
#include <octavo/string.h>

#include "init.h"

int __octavo_init(const struct octavo_boot *boot, u64 fingerprint)
{
	int err;

	if (fingerprint != OCTAVO_FINGERPRINT) {
		pr_err("boot: compiled with other choices of config.h than the core");
		return -EINVAL;
	}
	if (octavo_state.up)
		return -EBUSY;
	err = frame_init(boot);
	if (err)
		return err;
	slab_init();
	octavo_state.up = 1;
	return 0;
}

u64 octavo_shutdown(void)
{
	const struct octavo_hooks *hooks = octavo_state.hooks;
	u64 leaked;

	if (!octavo_state.up)
		return 0;
	for (unsigned int i = NR_OCTAVO_LAYERS; i-- > 0;)
		if (octavo_state.layer[i])
			octavo_state.layer[i]->exit();
	rcu_barrier();
	desc_exit();
	slab_exit();
	leaked = frame_exit();
	memset(&octavo_state, 0, sizeof(octavo_state));
	octavo_state.hooks = hooks;
	return leaked;
}

bool octavo_validate(void)
{
	bool ok = true;

	if (!octavo_state.up)
		return true;
	ok &= frame_validate();
	ok &= memmap_validate();
	ok &= slab_validate_all();
	ok &= desc_validate();
	for (unsigned int i = 0; i < NR_OCTAVO_LAYERS; i++)
		if (octavo_state.layer[i])
			ok &= octavo_state.layer[i]->validate();
	return ok;
}
