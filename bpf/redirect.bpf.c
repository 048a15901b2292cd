// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Nothing on this node reaches a protected destination except through the
 * agent. The programs are attached once, at the root of cgroup v2 and to the
 * links of the agent's network namespace, and decide by destination first. README.md says what each hook does, what it counts and
 * what a workload sees when the agent is dead.
 */
#include "headers/kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#include "addr.h"
#include "lineage.h"
#include "maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Return values of sock_addr and cgroup_skb programs. */
enum { REFUSE, PASS };

static __always_inline void count(enum counter c)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &c);

	if (n)
		(*n)++;
}

static __always_inline struct control *agent(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&agent_control, &key);
}

static __always_inline bool is_alive(struct control *control, __u64 now)
{
	__u64 heartbeat = control->heartbeat_ns;

	return heartbeat && (heartbeat > now || now - heartbeat <= HEARTBEAT_LIMIT_NS);
}

static __always_inline bool port_is_protected(__u16 port)
{
	__u32 key = 0;
	struct port_set *ports = bpf_map_lookup_elem(&protected_ports, &key);

	return !ports || ports->bits[port >> 3] & 1 << (port & 7);
}

/* Also by way of a gateway that translates addresses. */
static __always_inline bool endpoint_is_protected(const struct address *a, __u16 port)
{
	struct endpoint key = {.prefix_bits = ENDPOINT_BITS, .port = port, .address = *a};

	if (!port_is_protected(port))
		return false;
	if (bpf_map_lookup_elem(&destinations, &key))
		return true;
	return address_translate(&key.address) && bpf_map_lookup_elem(&destinations, &key);
}

static __always_inline bool host_is_protected(const struct address *a)
{
	struct host key = {.prefix_bits = HOST_BITS, .address = *a};

	if (bpf_map_lookup_elem(&hosts, &key))
		return true;
	return address_translate(&key.address) && bpf_map_lookup_elem(&hosts, &key);
}

/* The proxy holds these, and they are sockets of the jobs' namespaces: none may
 * be disconnected and sent elsewhere from there. */
static __always_inline bool is_listeners_end(struct bpf_sock *sk)
{
	__u8 *role = bpf_sk_storage_get(&agent_sockets, sk, NULL, 0);

	return (role && *role == AGENT_LISTENS) || bpf_sk_storage_get(&accepted, sk, NULL, 0);
}

static __always_inline bool is_agent(struct bpf_sock *sk)
{
	return bpf_sk_storage_get(&agent_sockets, sk, NULL, 0) != NULL;
}

static __always_inline bool is_exempt(struct bpf_sock *sk)
{
	return bpf_sk_storage_get(&exempt_sockets, sk, NULL, 0) != NULL;
}

#include "connect.h"
#include "passage.h"
#include "route.h"
#include "packet.h"
#include "alert.h"
#include "egress.h"
#include "link.h"
