/* SPDX-License-Identifier: MIT */
/*
 * rcu_real.c - lib/rcu.c itself under other names, for scenarios with SC_REAL_RCU.
 */
#define rcu_read_lock		   real_rcu_read_lock
#define rcu_read_unlock		   real_rcu_read_unlock
#define rcu_read_lock_held	   real_rcu_read_lock_held
#define get_state_synchronize_rcu  real_get_state_synchronize_rcu
#define poll_state_synchronize_rcu real_poll_state_synchronize_rcu
#define synchronize_rcu		   real_synchronize_rcu
#define call_rcu		   real_call_rcu
#define rcu_barrier		   real_rcu_barrier

#include "../../lib/rcu.c"
