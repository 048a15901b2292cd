/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Drops, and the alerts about them. */
#ifndef SLUICE_ALERT_H
#define SLUICE_ALERT_H

/* Drops are counted apart for each sender: a cgroup, or what sends through a
 * link. Ids of cgroups do not reach this bit. */
#define SENDER_IS_LINK (1ULL << 63)

/* One alert for a sender in each interval, with the number of packets since. */
static __always_inline void alert(struct __sk_buff *skb, struct packet *p, __u32 ifindex)
{
	__u64 cgroup_id = bpf_skb_cgroup_id(skb), now = bpf_ktime_get_ns();
	__u64 sender = cgroup_id ? cgroup_id : SENDER_IS_LINK | ifindex;
	struct drop_rate fresh = {.since_ns = now, .packets = 0};
	struct drop_rate *rate = bpf_map_lookup_elem(&drop_rates, &sender);
	__u32 packets = 1;
	struct drop *event;

	if (rate) {
		packets = __sync_fetch_and_add(&rate->packets, 1) + 1;
		if (now - rate->since_ns < DROP_ALERT_INTERVAL_NS)
			return;
		rate->since_ns = now;
		rate->packets = 0;
	} else {
		bpf_map_update_elem(&drop_rates, &sender, &fresh, BPF_ANY);
	}
	event = bpf_ringbuf_reserve(&drops, sizeof(*event), 0);
	if (!event) {
		count(ALERT_LOST);
		return;
	}
	event->destination = p->destination;
	event->cgroup_id = cgroup_id;
	event->packets = packets;
	event->ifindex = ifindex;
	event->port = p->port;
	event->ip_protocol = p->protocol;
	__builtin_memset(event->zero, 0, sizeof(event->zero));
	bpf_ringbuf_submit(event, 0);
}

#endif
