package mysql_test

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestPyMySQL(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks, paths: customerPaths, tapped: true})
	out, err := exec.Command("/usr/bin/python3", "testdata/clients/pymysql_client.py", strconv.Itoa(p.port)).CombinedOutput()
	want := "(1, 'name1', '[redacted]')\n{('[redacted]',)}\n1227\n1\n"
	if err != nil || string(out) != want {
		t.Errorf("%v, got %q, want %q", err, out, want)
	}
	if found := leaked(p.received(), ""); found != "" {
		t.Errorf("the client received %s", found)
	}
}

func TestMariaDBsJDBCDriver(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks, paths: customerPaths, tapped: true, decide: refuses("DROP TABLE orders")})
	classes := t.TempDir()
	if out, err := exec.Command("javac", "-d", classes, "testdata/clients/Client.java").CombinedOutput(); err != nil {
		t.Fatalf("javac: %v: %s", err, out)
	}
	path := classes + ":/usr/share/java/mariadb-java-client.jar"
	out, err := exec.Command("java", "-XX:TieredStopAtLevel=1", "-cp", path, "Client", strconv.Itoa(p.port)).CombinedOutput()
	one := "1 name1 [redacted] null\n20 rows\n3 in a batch\n1227 42000\n"
	if err != nil || string(out) != one+one {
		t.Errorf("%v, got %q, want %q twice", err, out, one)
	}
	if found := leaked(p.received(), ""); found != "" {
		t.Errorf("the client received %s", found)
	}
}

// TestACursorsRowsAreMasked fetches by hand, since no driver of ours opens a
// cursor.
func TestACursorsRowsAreMasked(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks, tapped: true})
	c := p.raw(t)
	head := c.command(t, append([]byte{22}, "SELECT email, pay, id FROM customers ORDER BY id"...))
	id := head[1:5]
	for range 4 { // three columns and their end
		c.packet(t)
	}
	c.send(t, 0, append(append([]byte{23}, id...), 1, 1, 0, 0, 0))
	for range 5 { // their number, the columns and their end
		c.packet(t)
	}
	rows := 0
	for range 4 {
		c.send(t, 0, binary.LittleEndian.AppendUint32(append([]byte{28}, id...), 6))
		for {
			row := c.packet(t)
			if row[0] != 0 {
				break
			}
			rows++
			if !bytes.Contains(row, []byte("[redacted]")) || row[1] != 1<<3 {
				t.Errorf("a row is %q", row)
			}
		}
	}
	if rows != 20 {
		t.Errorf("%d rows came", rows)
	}
	if found := leaked(p.received(), ""); found != "" {
		t.Errorf("the client received %s", found)
	}
}

// TestADumpThroughTheAgentIsTheSame compares mariadb-dump's output with and
// without the agent.
func TestADumpThroughTheAgentIsTheSame(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{})
	clean := func(text string) string {
		var kept []string
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "--") && !strings.HasPrefix(line, "/*M!999999") {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	direct, err := exec.Command("mariadb-dump", "--no-defaults", "-S", filepath.Join(s.dir, "socket"), "-u", "root", "shop").Output()
	if err != nil {
		t.Fatal(err)
	}
	through, errs, code := p.client(t, "", "mariadb-dump", "shop")
	if code != 0 || clean(through) != clean(string(direct)) {
		t.Errorf("code %d, %s; %d bytes directly, %d through the agent", code, errs, len(direct), len(through))
	}
	masked := startProxy(t, s, proxyOptions{masks: customerMasks, paths: customerPaths, tapped: true})
	through, errs, code = masked.client(t, "", "mariadb-dump", "--skip-lock-tables", "shop", "customers")
	if code != 0 || !strings.Contains(through, "(1,'name1','[redacted]','********320','note1',NULL,") {
		t.Errorf("with masks: code %d, %s\n%.400s", code, errs, through)
	}
	if found := leaked(masked.received(), ""); found != "" {
		t.Errorf("the client received %s", found)
	}
}
