/* SPDX-License-Identifier: MIT */
/*
 * device_sim.h - an accelerator (accel.h) whose memory is the host's and whose threads are the host's.
 */
#ifndef OCTAVO_DEVICE_SIM_H
#define OCTAVO_DEVICE_SIM_H

#include "accel.h"

/* Context, errors: as accel_create(). */
int device_sim_create(const struct accel_config *cfg, struct accel **devp);

#endif /* OCTAVO_DEVICE_SIM_H */
