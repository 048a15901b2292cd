/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What stands on the socket of a client: what it asked for, and by what lineage.
 * Both objects have these maps, and share them.
 */
#ifndef SLUICE_ASKED_H
#define SLUICE_ASKED_H

#define PROGRAMS_FIRST 2 /* of a chain, which stay */
#define PROGRAMS_LAST 6  /* of a chain, in a ring */
#define PROGRAMS (PROGRAMS_FIRST + PROGRAMS_LAST)
#define PATH_KEPT 91 /* bytes of a path, without the zero behind it */

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

/* One program that was executed, as execve was given it. */
struct program {
	__u16 length; /* of the path; where that is more than PATH_KEPT, its end is kept */
	__u8 agent;   /* the known AI agent that it is called like, counted from 1; 0: none */
	__u8 zero;
	__u8 path[PATH_KEPT + 1];
};

/* What a task and its ancestors executed. */
struct lineage {
	__u64 cgroup_id; /* in which the chain began */
	__u64 exec_id;   /* task_struct.self_exec_id at the latest that was seen */
	__u64 agents;    /* a bit for each known AI agent among them; nothing takes one away */
	__u64 executed;  /* the chain's length; what came first and last has a place */
	__s32 cgroup_level;
	__u8 agent;  /* the latest of those with a bit, counted from 1 */
	__u8 whole;  /* all since the chain began was seen */
	__u8 seeded; /* by the agent, from /proc: exec_id is not known */
	__u8 zero;
	struct program programs[PROGRAMS];
};

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

#endif
