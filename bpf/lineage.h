/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What tasks and their ancestors executed. One object writes it, the other reads
 * it where somebody connects.
 */
#ifndef SLUICE_LINEAGE_H
#define SLUICE_LINEAGE_H

#define PROGRAMS_FIRST 2 /* of a chain, which stay */
#define PROGRAMS_LAST 6  /* of a chain, in a ring */
#define PROGRAMS (PROGRAMS_FIRST + PROGRAMS_LAST)
#define PATH_KEPT 91 /* bytes of a path, without the zero behind it */

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
	__u64 started_ns; /* the task's, CLOCK_BOOTTIME; 0: not known, from /proc */
	__s32 cgroup_level;
	__u8 agent;  /* the latest of those with a bit, counted from 1 */
	__u8 whole;  /* all since the chain began was seen */
	__u8 seeded; /* from /proc, or from a parent: exec_id is not known */
	__u8 zero;
	struct program programs[PROGRAMS];
};

/* By thread id, as the initial pid namespace has it. An entry lives as long as
 * its thread, and a fork writes that of the new one anew: so none is another's,
 * and none pushes another out. More threads than this have none. The entry of
 * LINEAGES_KEPT says that every thread should have one. */
#define LINEAGES_KEPT 0 /* no thread's id */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, __u32);
	__type(value, struct lineage);
} lineages SEC(".maps");

/* Of a task with this id that began then, if it has one. */
static __always_inline struct lineage *lineage_at(__u32 id, __u64 started_ns)
{
	struct lineage *lineage = bpf_map_lookup_elem(&lineages, &id);

	return lineage && (!lineage->started_ns || lineage->started_ns == started_ns) ? lineage : NULL;
}

/* A thread that has none of its own executed what its process did. */
static __always_inline struct lineage *lineage_of(struct task_struct *task)
{
	struct lineage *lineage = lineage_at(task->pid, task->start_boottime);

	return lineage ? lineage : lineage_at(task->tgid, task->group_leader->start_boottime);
}

#endif
