/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The net under the socket hooks. It sees every IP packet that a socket of this
 * machine sends, after translation, raw ones included; not what AF_PACKET
 * sends, nor what is forwarded: link.h does.
 */
#ifndef SLUICE_EGRESS_H
#define SLUICE_EGRESS_H

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
static __always_inline bool is_held(struct __sk_buff *skb, struct bpf_sock *sk, struct packet *p)
{
	struct control *control = agent();
	struct origin *origin;
	__u8 flags;

	if (!p->has_port || p->protocol != IPPROTO_TCP || !control || p->port != control->listener_port)
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

static __always_inline int drop(struct __sk_buff *skb, struct packet *p, enum fault fault)
{
	count(EGRESS_DROPPED + fault);
	alert(skb, p, 0);
	return REFUSE;
}

SEC("cgroup_skb/egress")
int redirect_egress(struct __sk_buff *skb)
{
	__be16 type = skb->protocol;
	struct packet p = {};
	struct bpf_sock *sk = skb->sk;

	if (is_none_of_ours(skb))
		return PASS;
	if (type != bpf_htons(ETH_P_IP) && type != bpf_htons(ETH_P_IPV6))
		return drop(skb, &p, FAULT_UNREADABLE);
	if (!read_packet(skb, type, &p))
		return drop(skb, &p, FAULT_UNREADABLE);
	if (is_held(skb, sk, &p)) {
		count(EGRESS_HELD);
		return REFUSE;
	}
	if (!packet_is_protected(&p))
		return PASS;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (sk && is_agent(sk)) {
		count(EGRESS_AGENT);
		return PASS;
	}
	if (sk && is_exempt(sk)) {
		count(EGRESS_EXEMPT);
		return PASS;
	}
	if (sk && is_kernel_reply(sk, &p)) {
		count(EGRESS_KERNEL_REPLY);
		return PASS;
	}
	return drop(skb, &p, packet_fault(&p));
}

#endif
