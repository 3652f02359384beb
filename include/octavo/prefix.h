/* SPDX-License-Identifier: MIT */
/*
 * prefix.h - nothing: the symbols of this build have no prefix. Where they have one (-Dsymbol_prefix=),
 * a header that maps every name is installed in place of this one.
 */
#ifndef OCTAVO_PREFIX_H
#define OCTAVO_PREFIX_H

#endif /* OCTAVO_PREFIX_H */
