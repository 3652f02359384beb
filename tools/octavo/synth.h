/* SPDX-License-Identifier: MIT */
/*
 * synth.h - a machine from two arguments: --ram 64G --mix 0:60,4:30,9:10.
 */
#ifndef OCTAVO_TOOL_SYNTH_H
#define OCTAVO_TOOL_SYNTH_H

#include "machine.h"

/**
 * synth_machine() - a machine of @ram bytes
 * @mix: "ORDER:PERCENT,..." of its memory, the rest idle; "none" all idle
 *
 * Return: 0; -EINVAL or -ENOMEM with a message printed.
 */
int synth_machine(struct machine *m, u64 ram, const char *mix);

#endif /* OCTAVO_TOOL_SYNTH_H */
