package api_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
)

// grow appends n empty batches of an agent to the log.
func (s *served) grow(t *testing.T, node *collectortest.Agent, n int) {
	t.Helper()
	batches := make([]store.Batch, n)
	for i := range batches {
		m := node.Batch()
		head, err := translog.PeekBatch(m.Note)
		check(t, err)
		batches[i] = store.Batch{Batch: head, Note: m.Note, Payload: m.Payload}
	}
	_, err := s.db.Append(t.Context(), batches)
	check(t, err)
}

// reader is a client of the log's tiles, as x/mod wants one. It fails on what
// the log does not serve.
type reader struct {
	s *served
	t *testing.T
}

func (r reader) Height() int                     { return 8 }
func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		status, data := r.s.call(r.t, "viewer", http.MethodGet, "/v1/log/"+strings.Replace(tile.Path(), "tile/8/", "tile/", 1), "")
		if status != http.StatusOK {
			return nil, fmt.Errorf("%s: %d %s", tile.Path(), status, data)
		}
		all = append(all, []byte(data))
	}
	return all, nil
}

// head reads the log's checkpoint and checks its signature.
func (s *served) head(t *testing.T) tlog.Tree {
	t.Helper()
	status, signed := s.call(t, "viewer", http.MethodGet, "/v1/log/checkpoint", "")
	if status != http.StatusOK {
		t.Fatalf("checkpoint: %d %s", status, signed)
	}
	key, err := note.NewVerifier(s.vkey)
	check(t, err)
	opened, err := note.Open([]byte(signed), note.VerifierList(key))
	check(t, err)
	lines := strings.Split(opened.Text, "\n")
	var tree tlog.Tree
	_, err = fmt.Sscan(lines[1], &tree.N)
	check(t, err)
	tree.Hash, err = tlog.ParseHash(lines[2])
	check(t, err)
	return tree
}

// entries reads a tile of entries and takes it apart.
func (s *served) entries(t *testing.T, path string) (all [][]byte) {
	t.Helper()
	status, data := s.call(t, "responder", http.MethodGet, "/v1/log/tile/entries/"+path, "")
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, data)
	}
	for rest := []byte(data); len(rest) > 0; {
		n := int(binary.BigEndian.Uint16(rest))
		all = append(all, rest[2:2+n])
		rest = rest[2+n:]
	}
	return all
}

// TestClientOfTilesProvesInclusionAndConsistency reads the log through x/mod's
// own client, which believes no tile that does not lead to the checkpoint.
func TestClientOfTilesProvesInclusionAndConsistency(t *testing.T) {
	s := serve(t)
	node := collectortest.NewAgent(t, "node-1")
	if empty := s.head(t); empty.N != 0 {
		t.Fatalf("a new log has %d leaves", empty.N)
	}
	s.grow(t, node, 300)
	before := s.head(t)
	s.grow(t, node, 500)
	after := s.head(t)
	log := tlog.TileHashReader(after, reader{s, t})

	consistent, err := tlog.ProveTree(after.N, before.N, log)
	check(t, err)
	check(t, tlog.CheckTree(consistent, after.N, after.Hash, before.N, before.Hash))

	entries := s.entries(t, "000")
	entries = append(entries, s.entries(t, "001")...)
	entries = append(entries, s.entries(t, "002")...)
	entries = append(entries, s.entries(t, "003.p/32")...)
	if int64(len(entries)) != after.N || after.N != 800 {
		t.Fatalf("%d entries of %d", len(entries), after.N)
	}
	for _, i := range []int64{0, 1, 255, 256, 299, 300, 511, 512, 799} {
		proof, err := tlog.ProveRecord(after.N, i, log)
		check(t, err)
		check(t, tlog.CheckRecord(proof, after.N, after.Hash, i, tlog.RecordHash(entries[i])))
		if _, err := translog.OpenBatch(entries[i], node.Verifier()); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	if old := s.entries(t, "001.p/44"); len(old) != 44 || string(old[0]) != string(entries[256]) {
		t.Errorf("the tile that was partial once has %d entries", len(old))
	}
}

func TestTileHasOnePathAndIsThereOrIsNot(t *testing.T) {
	s := serve(t)
	s.grow(t, collectortest.NewAgent(t, "node-1"), 300)
	for path, want := range map[string]int{
		"0/000": 200, "0/001.p/44": 200, "0/001.p/1": 200, "1/000.p/1": 200, "entries/001.p/44": 200, "0/000.p/255": 200,
		"0/001": 404, "0/001.p/45": 404, "1/000": 404, "1/000.p/2": 404, "2/000.p/1": 404, "entries/001": 404, "entries/002.p/1": 404,
		"0/000.p/0": 404, "0/000.p/256": 404, "0/000.p/01": 404, "0/0": 404, "0/x000/001.p/1": 404, "00/000": 404, "-1/000": 404, "data/000": 404,
		"8/0/000": 404, "63/000.p/1": 404, "0/x999/x999/x999/x999/x999/x999/999.p/1": 404, "entries": 404, "entries/": 404, "": 404, "0/%2e%2e/000": 404,
	} {
		if status, _ := s.call(t, "admin", http.MethodGet, "/v1/log/tile/"+path, ""); status != want {
			t.Errorf("%q: %d, want %d", path, status, want)
		}
	}
}

func TestEntriesAreForReadersWithoutLimits(t *testing.T) {
	s := serve(t)
	s.grow(t, collectortest.NewAgent(t, "node-1"), 1)
	for role, want := range map[string]int{"viewer": 403, "approver": 403, "responder": 200, "admin": 200} {
		if status, _ := s.call(t, role, http.MethodGet, "/v1/log/tile/entries/000.p/1", ""); status != want {
			t.Errorf("%s: %d, want %d", role, status, want)
		}
		if status, _ := s.call(t, role, http.MethodGet, "/v1/log/tile/0/000.p/1", ""); status != 200 {
			t.Errorf("%s gets hashes: %d", role, status)
		}
	}
	tom := api.Caller{Name: "tom", Grants: []api.Grant{{Roles: []api.Role{api.Admin}, Over: view.Pair{Resources: []string{"shop-db"}}}}}
	limited := &served{Server: httptest.NewServer(api.New(api.Config{
		Store: s.db, Log: zap.NewNop(), Limiter: api.NewLimiter(),
		Identify: func(context.Context, string) (api.Caller, error) { return tom, nil },
	}))}
	defer limited.Close()
	if status, _ := limited.call(t, "tom", http.MethodGet, "/v1/log/tile/entries/000.p/1", ""); status != 403 {
		t.Errorf("with limits: %d", status)
	}
}
