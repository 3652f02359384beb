// SPDX-License-Identifier: MIT
/*
 * vm_file.c - references of what is mapped and is not anonymous memory.
 */
#include <octavo/mm.h>

void vm_file_init(struct vm_file *file, const struct vm_file_operations *ops)
{
	file->ops = ops;
	WRITE_ONCE(file->refcount, 1u);
}

void vm_file_get(struct vm_file *file)
{
	/* relaxed: the caller's own reference orders everything */
	u32 old = fetch_add_relaxed(&file->refcount, 1u);

	if (unlikely(old == 0 || old == ~0u))
		octavo_panic("vm_file_get: file %p has %u references", (void *)file, old);
}

void vm_file_put(struct vm_file *file)
{
	/* acq_rel: release pairs with the acquire of who drops the last one; acquire is that one */
	u32 old = fetch_sub_acq_rel(&file->refcount, 1u);

	if (unlikely(old == 0))
		octavo_panic("vm_file_put: file %p has no references", (void *)file);
	if (old == 1 && file->ops->release)
		file->ops->release(file);
}
