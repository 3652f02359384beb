/* SPDX-License-Identifier: MIT */
/*
 * device_place.h - the table of ranges of device memory, for those who look things up in it.
 */
#ifndef MM_DESC_DEVICE_PLACE_H
#define MM_DESC_DEVICE_PLACE_H

#include <octavo/state.h>

/* By a place (folio.h), or by the address of a word. Context: RCU read-side section. Return: NULL: none. */
const struct device_range *device_range_find(unsigned long place);
const struct device_range *device_range_of_word(const struct page *page);

#endif /* MM_DESC_DEVICE_PLACE_H */
