/* SPDX-License-Identifier: MIT */
/*
 * sim_inline.h - the inline half of the port (OCTAVO_PORT_INLINE): this CPU's number is one load.
 */
#ifndef OCTAVO_SIM_INLINE_H
#define OCTAVO_SIM_INLINE_H

extern __thread unsigned int sim_cpu;

static inline unsigned int octavo_port_pin(void)
{
	return sim_cpu;
}

static inline void octavo_port_unpin(void)
{
}

static inline unsigned int octavo_port_cpu(void)
{
	return sim_cpu;
}

#endif /* OCTAVO_SIM_INLINE_H */
