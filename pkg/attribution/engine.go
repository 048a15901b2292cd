package attribution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Engine is a container runtime that speaks the Docker Engine's API.
type Engine uint8

// The engines.
const (
	Docker Engine = iota + 1
	Podman
)

// String is what the engine is called as the source of a record.
func (e Engine) String() string {
	if e == Podman {
		return "podman"
	}
	return "docker"
}

// Usual is where the engine listens unless it is told otherwise.
func (e Engine) Usual() string {
	if e == Podman {
		return "/run/podman/podman.sock"
	}
	return "/run/docker.sock"
}

// Reach says why an engine that listens at a socket cannot be asked; nil, if it can.
func (e Engine) Reach(ctx context.Context, socket string) error {
	if _, err := listenerOf(ctx, socket); err != nil {
		return err
	}
	path := "/_ping"
	if e == Podman {
		path = podmansOwn + path
	}
	_, err := dialEngine(socket)(ctx, path)
	return err
}

// podmansOwn is where Podman's own API begins, of which every Podman since 4.0
// has this version. Its records have the form of Docker's and say more.
const podmansOwn = "/v4.0.0/libpod"

// maxSpec bounds what is read of an OCI runtime's configuration, in bytes. Most of
// it is the filter of system calls.
const maxSpec = 1 << 20

// engines asks those that listen somewhere.
type engines map[Engine]asking

// asking asks an engine for what is at a path of its HTTP API.
type asking func(ctx context.Context, path string) ([]byte, error)

func dialEngine(socket string) asking {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConns: 2, IdleConnTimeout: time.Minute}}
	return func(ctx context.Context, path string) ([]byte, error) {
		if socket == "" {
			return nil, errors.New("there is no engine")
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
		if err != nil {
			return nil, err
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close() //nolint:errcheck // opened for reading only
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the engine answered %s", response.Status)
		}
		return bounded(response.Body, MaxAnswer)
	}
}

func (e engines) ask(ctx context.Context, of Engine, path string) ([]byte, error) {
	ask, known := e[of]
	if !known {
		return nil, errors.New("there is no such engine")
	}
	return ask(ctx, path)
}

// inspect asks for one record, below one path.
func (e engines) inspect(ctx context.Context, of Engine, below, id string) ([]byte, error) {
	if !containerID.MatchString(id) {
		return nil, errors.New("no id of a container or an image")
	}
	return e.ask(ctx, of, below+id+"/json")
}

// container asks for a container's record. Podman's does not say all that weakens
// a boundary, so what it told the OCI runtime follows, unless that cannot be read. A
// Podman that is not root's could make up what it says, and is not asked.
func (e engines) container(ctx context.Context, of Engine, id, socket string) ([]byte, error) {
	if of != Podman {
		return e.inspect(ctx, of, "/containers/", id)
	}
	pid, err := listenerOf(ctx, socket)
	if err != nil {
		return nil, err
	}
	record, err := e.inspect(ctx, of, podmansOwn+"/containers/", id)
	if err != nil {
		return nil, err
	}
	spec, err := readSpec(pid, record, id)
	if err != nil {
		return record, nil
	}
	return append(record, spec...), nil
}

// containers asks for the list of running containers. In Docker's words Podman
// leaves out all but the first of a range of ports, so its own list follows.
func (e engines) containers(ctx context.Context, of Engine) ([]byte, error) {
	all, err := e.ask(ctx, of, "/containers/json")
	if err != nil || of != Podman {
		return all, err
	}
	own, err := e.ask(ctx, of, podmansOwn+"/containers/json")
	if err != nil {
		return nil, err
	}
	return append(all, own...), nil
}

// readSpec reads the config.json with which the OCI runtime made a container, where
// a record says that it is and as a process sees it. It must be called as it is for
// that container.
func readSpec(pid int, record []byte, id string) ([]byte, error) {
	var at struct{ OCIConfigPath string }
	if err := json.Unmarshal(record, &at); err != nil {
		return nil, err
	}
	if !strings.HasSuffix(at.OCIConfigPath, "/"+id+"/userdata/config.json") {
		return nil, errors.New("no configuration of this container")
	}
	file, err := os.Open("/proc/" + strconv.Itoa(pid) + "/root" + at.OCIConfigPath)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	return bounded(file, maxSpec)
}
