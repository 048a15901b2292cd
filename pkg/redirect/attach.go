package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// hook is one program and where it is attached.
type hook struct {
	name    string
	program *ebpf.Program
	attach  ebpf.AttachType
}

// hooks are in the order of attachment: what refuses comes before what
// redirects, so that an unfinished first start refuses.
func hooks(p *redirectPrograms) []hook {
	return []hook{
		{redirectProgRedirectEgress, p.RedirectEgress, ebpf.AttachCGroupInetEgress},
		{redirectProgRedirectSockops, p.RedirectSockops, ebpf.AttachCGroupSockOps},
		{redirectProgRedirectBind4, p.RedirectBind4, ebpf.AttachCGroupInet4Bind},
		{redirectProgRedirectBind6, p.RedirectBind6, ebpf.AttachCGroupInet6Bind},
		{redirectProgRedirectGetpeername4, p.RedirectGetpeername4, ebpf.AttachCgroupInet4GetPeername},
		{redirectProgRedirectGetpeername6, p.RedirectGetpeername6, ebpf.AttachCgroupInet6GetPeername},
		{redirectProgRedirectSendmsg4, p.RedirectSendmsg4, ebpf.AttachCGroupUDP4Sendmsg},
		{redirectProgRedirectSendmsg6, p.RedirectSendmsg6, ebpf.AttachCGroupUDP6Sendmsg},
		{redirectProgRedirectConnect4, p.RedirectConnect4, ebpf.AttachCGroupInet4Connect},
		{redirectProgRedirectConnect6, p.RedirectConnect6, ebpf.AttachCGroupInet6Connect},
	}
}

// attachAll puts every program in force at root. Links that it returns beside
// an error are the caller's to close.
func attachAll(pins string, root *os.File, programs *redirectPrograms) ([]link.Link, error) {
	var links []link.Link
	for _, h := range hooks(programs) {
		l, err := h.takeOver(filepath.Join(pins, linkPins, h.name))
		if err == nil && l == nil {
			l, err = h.attachAt(root, filepath.Join(pins, linkPins, h.name))
		}
		if err != nil {
			return links, fmt.Errorf("attach %s: %w", h.name, err)
		}
		links = append(links, l)
	}
	return links, nil
}

// takeOver replaces the program of a pinned link. It returns nil when there is
// none, or when it is attached to another cgroup than the root and so guards
// too little.
func (h hook) takeOver(pin string) (link.Link, error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned link: %w", err)
	}
	info, err := l.Info()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read pinned link: %w", err), l.Close())
	}
	if cgroup := info.Cgroup(); cgroup == nil || cgroup.CgroupId != rootInode {
		return nil, errors.Join(l.Unpin(), l.Close())
	}
	if err := l.Update(h.program); err != nil {
		return nil, errors.Join(fmt.Errorf("replace program: %w", err), l.Close())
	}
	return l, nil
}

// attachAt makes a new link. It is a bpf_link or an error, never the legacy
// attachment, which a cgroup further down could override.
func (h hook) attachAt(root *os.File, pin string) (link.Link, error) {
	l, err := link.AttachRawLink(link.RawLinkOptions{
		Target:  int(root.Fd()),
		Program: h.program,
		Attach:  h.attach,
	})
	if err != nil {
		return nil, err
	}
	if err := l.Pin(pin); err != nil {
		return nil, errors.Join(fmt.Errorf("pin link: %w", err), l.Close())
	}
	return l, nil
}
