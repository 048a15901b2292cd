/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The net under the socket hooks. It sees every IP packet that a socket of this
 * machine sends, after translation, raw ones included; not what AF_PACKET
 * sends. A packet is read by copy, so that its layout in memory cannot matter.
 */
#ifndef SLUICE_EGRESS_H
#define SLUICE_EGRESS_H

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10

struct ipv4_header {
	__u8 version_length;
	__u8 tos;
	__u16 total_length;
	__u16 id;
	__u16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6_header {
	__u32 version_class_flow;
	__u16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	struct address source;
	struct address destination;
};

struct ports {
	__u16 source;
	__u16 destination;
};

struct packet {
	struct address destination;
	__u32 transport; /* offset of its header */
	__u16 port;
	__u8 protocol;
	bool fragment;
	bool has_port;
};

static __always_inline bool read_network(struct __sk_buff *skb, struct packet *p)
{
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct ipv4_header ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
			return false;
		p->destination = address_from_v4(ip.destination);
		p->transport = (ip.version_length & 0x0f) * 4;
		p->protocol = ip.protocol;
		p->fragment = ip.fragment & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET);
		return true;
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6_header ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
			return false;
		p->destination = ip.destination;
		p->transport = sizeof(ip);
		p->protocol = ip.next_header;
		return true;
	}
	return false;
}

static __always_inline void read_port(struct __sk_buff *skb, struct packet *p)
{
	struct ports ports;

	if (p->fragment || (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP))
		return;
	if (bpf_skb_load_bytes(skb, p->transport, &ports, sizeof(ports)))
		return;
	p->port = ports.destination;
	p->has_port = true;
}

/*
 * Nearly every packet ends here: a plain one, to a port that no destination
 * has. It is read where it lies; whatever does not lie there whole is read by
 * copy later.
 */
static __always_inline bool is_none_of_ours(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct control *control = agent();
	struct ports *ports;
	__u8 protocol;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct ipv4_header *ip = data;

		ports = (void *)(ip + 1);
		if ((void *)(ports + 1) > end || ip->version_length != 0x45 ||
		    ip->fragment & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
			return false;
		protocol = ip->protocol;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6_header *ip = data;

		ports = (void *)(ip + 1);
		if ((void *)(ports + 1) > end)
			return false;
		protocol = ip->next_header;
	} else {
		return false;
	}
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return false;
	return control && ports->destination != control->listener_port &&
	       !port_is_protected(ports->destination);
}

/* Is this the SYN of a redirected socket whose listener may still come? */
static __always_inline bool is_held(struct __sk_buff *skb, struct packet *p)
{
	struct control *control = agent();
	struct bpf_sock *sk = skb->sk;
	struct origin *origin;
	__u8 flags;

	if (p->protocol != IPPROTO_TCP || !control || p->port != control->listener_port)
		return false;
	if (!address_is_loopback(&p->destination))
		return false;
	if (bpf_skb_load_bytes(skb, p->transport + 13, &flags, sizeof(flags)))
		return false;
	if ((flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) != TCP_FLAG_SYN || !sk)
		return false;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return false;
	origin = bpf_sk_storage_get(&asked, sk, NULL, 0);
	return origin && awaits_agent(origin);
}

/*
 * Resets and acknowledgements for sockets that are gone come from a raw socket
 * of the kernel's own, which no file refers to. They carry no payload, and
 * without them a server would keep the connections of a dead agent for minutes.
 */
static __always_inline bool is_kernel_reply(struct bpf_sock *sk, struct packet *p)
{
	struct bpf_sock *typed = sk;
	struct sock *untyped = NULL;
	struct socket *socket = NULL;
	struct file *file = NULL;

	if (p->protocol != IPPROTO_TCP || sk->type != SOCK_RAW || sk->protocol != IPPROTO_TCP)
		return false;
	/* The verifier forbids arithmetic on a socket: take a copy that it does
	 * not know as one. */
	if (bpf_probe_read_kernel(&untyped, sizeof(untyped), &typed))
		return false;
	if (bpf_core_read(&socket, sizeof(socket), &untyped->sk_socket) || !socket)
		return false;
	if (bpf_core_read(&file, sizeof(file), &socket->file))
		return false;
	return file == NULL;
}

/* One alert for a cgroup in each interval, with the number of packets since. */
static __always_inline void alert(struct __sk_buff *skb, struct packet *p)
{
	__u64 cgroup_id = bpf_skb_cgroup_id(skb), now = bpf_ktime_get_ns();
	struct drop_rate fresh = {.since_ns = now, .packets = 0};
	struct drop_rate *rate = bpf_map_lookup_elem(&drop_rates, &cgroup_id);
	__u32 packets = 1;
	struct drop *event;

	if (rate) {
		packets = __sync_fetch_and_add(&rate->packets, 1) + 1;
		if (now - rate->since_ns < DROP_ALERT_INTERVAL_NS)
			return;
		rate->since_ns = now;
		rate->packets = 0;
	} else {
		bpf_map_update_elem(&drop_rates, &cgroup_id, &fresh, BPF_ANY);
	}
	event = bpf_ringbuf_reserve(&drops, sizeof(*event), 0);
	if (!event) {
		count(ALERT_LOST);
		return;
	}
	event->destination = p->destination;
	event->cgroup_id = cgroup_id;
	event->packets = packets;
	event->port = p->port;
	event->ip_protocol = p->protocol;
	event->zero = 0;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline int drop(struct __sk_buff *skb, struct packet *p, enum counter why)
{
	count(why);
	alert(skb, p);
	return REFUSE;
}

SEC("cgroup_skb/egress")
int redirect_egress(struct __sk_buff *skb)
{
	struct packet p = {};
	struct bpf_sock *sk;

	if (is_none_of_ours(skb))
		return PASS;
	if (!read_network(skb, &p))
		return drop(skb, &p, EGRESS_DROPPED_UNREADABLE);
	read_port(skb, &p);
	if (p.has_port) {
		if (is_held(skb, &p)) {
			count(EGRESS_HELD);
			return REFUSE;
		}
		if (!endpoint_is_protected(&p.destination, p.port))
			return PASS;
	} else if (p.protocol == IPPROTO_ICMP || p.protocol == IPPROTO_ICMPV6) {
		if (!p.fragment || !host_is_protected(&p.destination))
			return PASS;
	} else if (!host_is_protected(&p.destination)) {
		return PASS;
	}

	sk = skb->sk;
	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (sk && is_agent(sk)) {
		count(EGRESS_AGENT);
		return PASS;
	}
	if (sk && is_kernel_reply(sk, &p)) {
		count(EGRESS_KERNEL_REPLY);
		return PASS;
	}
	return drop(skb, &p, p.has_port ? EGRESS_DROPPED : EGRESS_DROPPED_NO_PORT);
}

#endif
