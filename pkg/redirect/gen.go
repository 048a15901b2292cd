package redirect

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" -type layout -type agent_role -type asker -type origin -type passage -type netns -type netns_state -type control -type enrolment -type drop -type open_connection -type exemption -type endpoint -type host -type port_set -type counter redirect ../../bpf/redirect.bpf.c
//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" -type lineage -type program_name -type lineage_counter lineage ../../bpf/lineage.bpf.c
