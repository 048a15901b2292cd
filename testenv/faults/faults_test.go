package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// while stops a program, has something done, and starts it again.
func while(t *testing.T, name string, does string) {
	t.Helper()
	do(t, "stop", name)
	sh(t, does)
	started(t, name)
}

// busFaults are those of NATS, which lives in the collector's process.
func busFaults() []fault {
	return []fault{
		{name: "NATS away for two and a half minutes", do: func(t *testing.T) {
			do(t, "stop", "collector")
			time.Sleep(150 * time.Second) // the fault itself
			started(t, "collector")
		}},
		{name: "NATS's directory deleted", short: true, do: func(t *testing.T) {
			while(t, "collector", "rm -rf collector/data/bus")
		}},
		{name: "NATS's stream deleted", do: func(t *testing.T) {
			while(t, "collector", "rm -rf $(find collector/data/bus -type d -path '*/streams/*' -prune | head -1)")
		}},
		{name: "an old copy of NATS's directory", do: func(t *testing.T) {
			while(t, "collector", "cp -a collector/data/bus old-bus")
			time.Sleep(3 * time.Second) // what the copy does not have
			while(t, "collector", "rm -rf collector/data/bus; mv old-bus collector/data/bus")
		}},
	}
}

// diskFaults fill a small file system up to its last byte, and free it again.
func diskFaults() []fault {
	return []fault{
		{name: "disk full under the spool", large: true, do: func(t *testing.T) {
			small(t, "agent", "agent/state/spool", 80)
			do(t, "stop", "collector") // nothing is freed
			fill(t, "agent/state/spool")
			eventually(t, "operations are refused", func() bool {
				return run("job", "--", "timeout", "10", "psql", "-h", "pg.lab", "-U", "app", "-Atc", "SELECT 1", "shop").err != nil
			})
			free(t, "agent/state/spool")
			started(t, "collector")
		}},
		{name: "disk full under SQLite", large: true, do: func(t *testing.T) { collectorDisk(t, "db") }},
		{name: "disk full under JetStream", large: true, do: func(t *testing.T) { collectorDisk(t, "bus") }},
	}
}

func collectorDisk(t *testing.T, dir string) {
	small(t, "collector", "collector/data/"+dir, 300)
	fill(t, "collector/data/"+dir)
	time.Sleep(10 * time.Second) // the fault itself
	free(t, "collector/data/"+dir)
	supervised(t, "collector", 40*time.Second)
}

// supervised starts a program again when it ends, as its service manager does,
// for a while.
func supervised(t *testing.T, name string, while time.Duration) {
	t.Helper()
	for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(time.Second) {
		if r := run("start", name); r.err == nil {
			t.Logf("the %s had ended and was started again", name)
		}
	}
}

// small puts a program's directory on a file system of its own, of so many MiB.
func small(t *testing.T, program, dir string, mib int) {
	t.Helper()
	while(t, program, fmt.Sprintf(`mv %[1]s moved; mkdir %[1]s; mount -t tmpfs -o size=%[2]dm,mode=0700 sluice-faults %[1]s
		chown --reference=moved %[1]s; cp -a moved/. %[1]s; rm -rf moved`, dir, mib))
	t.Cleanup(func() {
		while(t, program, fmt.Sprintf(`mkdir moved; chown --reference=%[1]s moved; chmod --reference=%[1]s moved; cp -a %[1]s/. moved
			umount %[1]s; rmdir %[1]s; mv moved %[1]s`, dir))
	})
}

func fill(t *testing.T, dir string) {
	t.Helper()
	sh(t, "dd if=/dev/zero of="+dir+"/ballast bs=64k 2>/dev/null || true; df "+dir)
}

func free(t *testing.T, dir string) { sh(t, "rm "+dir+"/ballast") }

func otherFaults() []fault {
	return []fault{
		{name: "the agent's clock jumps back and forth", do: func(t *testing.T) {
			for _, shift := range []string{"-2h", "3h", "-1000h"} {
				must(t, os.WriteFile(filepath.Join(lab.faults, "clock"), []byte(shift), 0o644))
				time.Sleep(2 * time.Second) // under load
			}
			must(t, os.Remove(filepath.Join(lab.faults, "clock")))
		}},
		{name: "two agents with one identity", want: []string{"epoch-unlinked"}, do: func(t *testing.T) {
			state, err := os.ReadFile(file("state.json"))
			must(t, err)
			_, node, _ := strings.Cut(string(state), `"node": "`)
			node, _, _ = strings.Cut(node, `"`)
			out, err := exec.Command("nsenter", "--net=/run/netns/"+node, os.Args[0], twinRole, file("agent", "keys"), t.TempDir()).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}},
	}
}

// storeFaults are those that destroy what the collector has promised to keep.
// It must refuse to go on until the directory is back.
func storeFaults() []fault {
	refuses := func(t *testing.T, does, undoes, why string) {
		t.Helper()
		do(t, "stop", "collector")
		sh(t, does)
		if r := run("start", "collector"); r.err == nil || !strings.Contains(r.all, why) {
			t.Errorf("the collector started: %s", r.all)
		}
		sh(t, undoes)
		started(t, "collector")
	}
	return []fault{
		{name: "the collector's database deleted", short: true, do: func(t *testing.T) {
			refuses(t, "mv collector/data/db gone", "rm -rf collector/data/db; mv gone collector/data/db", "not the one that this collector had")
		}},
		{name: "an old copy of the database", do: func(t *testing.T) {
			while(t, "collector", "cp -a collector/data/db old-db")
			grown(t) // what the copy does not have
			refuses(t, "mv collector/data/db gone; mv old-db collector/data/db", "rm -rf collector/data/db; mv gone collector/data/db", "not the one that this collector had")
		}},
		{name: "tiles altered in the database", do: func(t *testing.T) {
			const alter = `python3 -c "import sqlite3; db = sqlite3.connect('collector/data/db/collector.db'); db.execute('UPDATE hashes SET hash = zeroblob(32) WHERE position = 0'); db.commit()"`
			refuses(t, "cp -a collector/data/db good; "+alter, "rm -rf collector/data/db; mv good collector/data/db", "the stored tree is altered")
		}},
		{name: "an old copy of everything that the collector has", want: []string{}, do: func(t *testing.T) {
			while(t, "collector", "cp -a collector/data old-data")
			grown(t) // what the copy does not have
			while(t, "collector", "mv collector/data newest; mv old-data collector/data")
			eventually(t, "an agent contradicts the log", func() bool { return strings.Contains(run("ctl", "findings").out, "log-forked") })
			eventually(t, "verification names it", func() bool {
				codes := strings.Join(verify(t), " ")
				return strings.Contains(codes, "log-rolled-back")
			})
			while(t, "collector", "mv collector/data forked; mv newest collector/data")
		}},
	}
}
