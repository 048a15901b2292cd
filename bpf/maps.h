/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map, and every struct that is shared with the agent. Go takes the
 * structs from this object's BTF and never writes them again. All ports are in
 * network byte order. No map that a decision depends on is an LRU: what must
 * not be forgotten must not be evicted.
 */
#ifndef SLUICE_MAPS_H
#define SLUICE_MAPS_H

/* What the agent that pinned the maps took their contents to mean. Raise it
 * with every change after which an agent must not take over the other's maps. */
enum layout { LAYOUT_VERSION = 1 };

/* A protected address and port, as the key of a longest-prefix match: the port
 * comes first and is always matched whole. */
struct endpoint {
	__u32 prefix_bits; /* 32 for port and padding, then those of the address */
	__u16 port;
	__u16 zero;
	struct address address;
};
#define ENDPOINT_BITS 160

/* A protected address whatever the port, for packets whose port is unknown. */
struct host {
	__u32 prefix_bits;
	struct address address;
};
#define HOST_BITS 128

/* What the kernel knew when a workload asked for a protected destination. */
struct origin {
	struct address destination;
	__u64 cgroup_id;
	__u64 netns_cookie;
	__u64 process_start_ns; /* CLOCK_BOOTTIME, of the thread group's leader */
	__u32 pid;
	__u32 uid;
	__u16 port;
	__u8 via_v6; /* sent to the listener on ::1, else to the one on 127.0.0.1 */
	__u8 zero[5];
};

/* A connection on its way from connect to accept. */
struct passage {
	__u64 netns_cookie;
	struct address client;
	__u16 client_port;
	__u16 listener_port;
	__u32 zero;
};

enum netns_state {
	NETNS_ENROLLED = 1, /* the agent has answered; without it, the agent was only asked */
	NETNS_LISTENS_V4 = 2,
	NETNS_LISTENS_V6 = 4,
};

/* What is known of one network namespace. */
struct netns {
	__u64 asked_ns;  /* when the agent was last asked to enrol it, CLOCK_MONOTONIC */
	enum netns_state state; /* its bits */
	__u32 zero;
};

struct control {
	__u64 heartbeat_ns; /* CLOCK_MONOTONIC; 0 when there is no agent */
	__u16 listener_port;
	__u16 zero[3];
};

/* "A held connection waits in this namespace: open a listener there." */
struct enrolment {
	__u64 netns_cookie;
	__u32 pid;
	__u32 tid;
};

/* A connection that was open before there was an agent. */
struct open_connection {
	struct address client;
	struct address destination;
	__u16 client_port;
	__u16 port;
};

/* "Somebody who is exempt connected to a protected destination." */
struct exemption {
	struct address destination;
	__u64 cgroup_id;
	__u64 netns_cookie;
	__u32 pid;
	__u16 port;
	__u16 zero;
};

/* "Somebody went round the agent and was stopped." */
struct drop {
	struct address destination;
	__u64 cgroup_id; /* of the sender; 0 when the packet lost its socket on the way */
	__u32 packets;   /* since the last alert for this sender, this one included */
	__u32 ifindex;   /* of the link that it came through; 0 when it came from a socket */
	__u16 port;
	__u8 ip_protocol;
	__u8 zero[5];
};

/* What a socket of the agent's is for. */
enum agent_role {
	AGENT_DIALS = 1,   /* a server leg: protected destinations are open to it */
	AGENT_LISTENS = 2, /* a listener: it may bind, and connects to nothing */
};

/* A process whose connection came to a listener. */
struct asker {
	__u64 process_start_ns; /* CLOCK_BOOTTIME, of the thread group's leader */
	__u32 pid;
	__u32 zero;
};

/* Ring buffers have no type, and a role is a byte; these put theirs where Go
 * finds it. */
const enum agent_role *agent_role_type __attribute__((unused));
const struct enrolment *enrolment_type __attribute__((unused));
const struct exemption *exemption_type __attribute__((unused));
const struct drop *drop_type __attribute__((unused));

struct enrolment_rate {
	__u64 since_ns;
	__u32 asked;
	__u32 zero;
};

struct drop_rate {
	__u64 since_ns;
	__u32 packets;
	__u32 zero;
};

/* One counter for each branch of each program; README.md explains them. What
 * drops has one for each fault, in the order of enum fault. */
enum counter {
	CONNECT_UNPROTECTED,
	CONNECT_AGENT,
	CONNECT_EXEMPT,
	CONNECT_REDIRECTED,
	CONNECT_HELD,
	CONNECT_REFUSED_PROTOCOL,
	CONNECT_REFUSED_DEVICE,
	CONNECT_REFUSED_LISTENER,
	CONNECT_REFUSED_NO_AGENT,
	CONNECT_REFUSED_NO_LISTENER,
	CONNECT_REFUSED_NO_ROOM,
	CONNECT_REFUSED_QUOTA,
	SENDMSG_REFUSED,
	BIND_REFUSED,
	PEERNAME_RESTORED,
	HOLD_SHORT,
	RECORD_PUBLISHED,
	RECORD_NO_ROOM,
	RECORD_MOVED,
	RECORD_MISSING,
	RECORD_ABANDONED,
	EGRESS_AGENT,
	EGRESS_EXEMPT,
	EGRESS_KERNEL_REPLY,
	EGRESS_HELD,
	EGRESS_DROPPED,
	EGRESS_DROPPED_NO_PORT,
	EGRESS_DROPPED_ROUTE,
	EGRESS_DROPPED_UNREADABLE,
	LINK_IN_OPEN,
	LINK_IN_DROPPED,
	LINK_IN_DROPPED_NO_PORT,
	LINK_IN_DROPPED_ROUTE,
	LINK_IN_DROPPED_UNREADABLE,
	LINK_OUT_AGENT,
	LINK_OUT_EXEMPT,
	LINK_OUT_KERNEL_REPLY,
	LINK_OUT_FORWARDED,
	LINK_OUT_DROPPED,
	LINK_OUT_DROPPED_NO_PORT,
	LINK_OUT_DROPPED_ROUTE,
	LINK_OUT_DROPPED_UNREADABLE,
	ALERT_LOST,
	COUNTERS,
};

#define PASSAGES_PER_NETNS 4096
#define HEARTBEAT_LIMIT_NS 1000000000ULL
#define ENROLMENT_RETRY_NS 10000000ULL
#define ENROLMENTS_PER_CGROUP 256
#define ENROLMENTS_INTERVAL_NS 1000000000ULL
#define DROP_ALERT_INTERVAL_NS 100000000ULL

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, enum layout);
} layout_version SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct endpoint);
	__type(value, __u8);
} destinations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct host);
	__type(value, __u8);
} hosts SEC(".maps");

/* The ports of all destinations, a bit for each, by the port in network byte
 * order. Most connects and packets end here, before the matches above. A bit is
 * set before the first destination with that port is added, and cleared after
 * the last one is gone. */
struct port_set {
	__u8 bits[8192];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct port_set);
} protected_ports SEC(".maps");

/* The agent's own sockets, flagged by fd between socket and connect or bind with
 * their enum agent_role. Nobody without this map's fd can forge it, unlike SO_MARK. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u8);
} agent_sockets SEC(".maps");

/* Cgroups of the host whose own processes need no agent; not those below them,
 * which may be jobs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u8);
} exempt_cgroups SEC(".maps");

/* Sockets that go to a protected destination without the agent: of an exempt
 * cgroup, or connected before there was an agent. They cannot use it to connect
 * again. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u8);
} exempt_sockets SEC(".maps");

/* Where a container's packets come in, its sockets are not known any more. These
 * let a connection go on, and never begin again. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct open_connection);
	__type(value, __u8);
} open_connections SEC(".maps");

/* On the client's socket: what it asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct origin);
} asked SEC(".maps");

/* Beside asked, where the kernel can tell. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct lineage);
} asked_lineages SEC(".maps");

/* On the accepted socket: the same, for the agent to read by fd. A map of its
 * own, so that getpeername on the agent's end is never rewritten. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct origin);
} accepted SEC(".maps");

/* Beside accepted: what its process and that one's ancestors executed. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct lineage);
} accepted_lineages SEC(".maps");

/* Who the proxy may ask the privileged half about. A lost entry costs a session
 * some of its attribution. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct asker);
	__type(value, __u8);
} askers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct passage);
	__type(value, struct origin);
} passages SEC(".maps");

/* Beside passages: most have one, where the kernel can tell. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct passage);
	__type(value, struct lineage);
} passage_lineages SEC(".maps");

/* Passages of each namespace: none can take all of them. Apart from namespaces,
 * which the agent writes, because these are only exact if one party counts. A
 * count may be negative after the agent forgot a namespace too early. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, __s32);
} passage_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct netns);
} namespaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} agent_control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, enum counter);
	__type(value, __u64);
} counters SEC(".maps");

/* Three buffers, so that a flood of drops cannot delay an enrolment. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} enrolments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} exemptions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} drops SEC(".maps");

/* How often each cgroup asked lately. A lost entry lets one ask for as many
 * again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct enrolment_rate);
} enrolment_rates SEC(".maps");

/* Only slows alerts down: a lost entry costs one alert more. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct drop_rate);
} drop_rates SEC(".maps");

#endif
