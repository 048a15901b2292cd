package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// All ways lead to the same SSH servers, with certificates of hosts and users.
// scripts/bench-hosts put them into client configurations as ssh.WAY and git.WAY.
// What is between them and the agent are the relays of relay.go.
var ways = []string{"direct", "bytes", "relay", "agent"}

// With the first configuration client and server agree on algorithms by
// themselves, which are others on the direct way; with the second they are the
// same everywhere.
var configurations = []struct{ file, suffix string }{{"config", ""}, {"config.same", ".same"}}

// transfer is something that a job does on a host. Its script knows $dir, the
// directory with what is transferred, $way, $round and $suffix, and $options for
// the programs of OpenSSH.
type transfer struct{ name, script string }

var transfers = []transfer{
	{"ssh.exec", `for i in 1 2 3 4 5 6 7 8 9 10; do ssh $options ssh.$way true; done`},
	{"ssh.scp.put", `scp -q $options "$dir/payload" ssh.$way:payload.$way`},
	{"ssh.scp.get", `scp -q $options ssh.$way:payload.$way "$dir/payload.$way"`},
	{"ssh.sftp.put", `echo "put -r $dir/files files.$way.$round$suffix" | sftp -q -b - $options ssh.$way`},
	{"ssh.sftp.get", `echo "get -r files.$way.$round$suffix $dir/files.$way.$round$suffix" | sftp -q -b - $options ssh.$way`},
	{"git.push", `git -C "$dir/repository" push --quiet ssh://git.$way/srv/git/push.$way.$round$suffix.git main`},
	{"git.clone", `git clone --quiet --bare ssh://git.$way/srv/git/push.$way.$round$suffix.git "$dir/clone.$way.$round$suffix"`},
}

// hosts measures commands, files and repositories over SSH, or what of it is
// named, and fails when the agent's memory grows with what passes through it.
func hosts(rounds int, names []string) error {
	for round := range rounds {
		for _, way := range ways {
			for _, configuration := range configurations {
				if err := lab("admin", "git", "--", "git", "init", "--quiet", "--bare", "--initial-branch=main",
					fmt.Sprintf("/srv/git/push.%s.%d%s.git", way, round, configuration.suffix)); err != nil {
					return err
				}
			}
		}
	}
	for _, t := range transfers {
		if len(names) > 0 && !slices.Contains(names, t.name) {
			continue
		}
		for _, configuration := range configurations {
			if err := t.compare(rounds, configuration.file, configuration.suffix); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t transfer) compare(rounds int, config, suffix string) error {
	rates := map[string][]float64{}
	for round := range rounds {
		for _, way := range ways {
			rate, err := t.rate(way, round, config, suffix)
			if err != nil {
				return err
			}
			rates[way] = append(rates[way], rate)
		}
	}
	report(t.name+suffix, "direct", rates["agent"], rates["direct"])
	for _, way := range []string{"bytes", "relay"} {
		report(t.name+suffix+"."+way, "direct", rates[way], rates["direct"])
	}
	return nil
}

// rate is how often a second a job could do it.
func (t transfer) rate(way string, round int, config, suffix string) (float64, error) {
	dir := os.Getenv("BENCH_HOSTS")
	config = filepath.Join(dir, config)
	env := []string{
		"dir=" + dir, "options=-F " + config, "way=" + way, "round=" + strconv.Itoa(round), "suffix=" + suffix,
		"GIT_SSH_COMMAND=ssh -F " + config,
	}
	var took float64
	err := flat(t.name, func() error {
		out, err := timed(env, "sh", "-e", "-c", t.script)
		took = out.Seconds()
		return err
	})
	fmt.Fprintf(os.Stderr, "%s%s %-6s %6.2f s\n", t.name, suffix, way, took)
	return 1 / took, err
}
