/* SPDX-License-Identifier: MIT */
/*
 * mutant.h - seeded bugs, to test the tests.
 *
 * MUTANT(name) is false. In a build with OCTAVO_MUTANTS, which is for `make mutants` only, it is
 * true when that bug is switched on; one binary holds them all. port/check/mutants.def lists them,
 * each with what must find it.
 *
 * WEAK(name, strong, weak) is the strong expression, and the weak one when the bug is on: an order
 * too weak, a check left out.
 */
#ifndef OCTAVO_MUTANT_H
#define OCTAVO_MUTANT_H

#ifdef OCTAVO_MUTANTS
/* The names come from port/check/mutants.h, which that build puts in front of every file. */
extern enum octavo_mutant octavo_mutant;
#define MUTANT(name) __builtin_expect(octavo_mutant == MUTANT_##name, 0)
#else
#define MUTANT(name) 0
#endif

#define WEAK(name, strong, weak) (MUTANT(name) ? (weak) : (strong))

#endif /* OCTAVO_MUTANT_H */
