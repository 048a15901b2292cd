package attribution

import (
	"path"
	"strings"
)

// subPath is where the kubelet has bound a part of a volume for a container. The
// path names volume and container, and nothing of what lies there.
type subPath struct {
	at      string
	pods    string // the kubelet's directory of all pods
	volumes string // and of this pod's volumes
}

// asSubPath reports whether a mount of a pod's is one: it is at
// KUBELET/pods/UID/volume-subpaths/VOLUME/CONTAINER/INDEX.
func asSubPath(source, pod string) (s subPath, is bool) {
	source = canonical(source)
	kubelet, inside, found := strings.Cut(source, "/pods/"+pod+"/")
	if !found || !strings.HasPrefix(inside, "volume-subpaths/") {
		return subPath{}, false
	}
	pods := kubelet + "/pods"
	return subPath{at: source, pods: pods, volumes: path.Join(pods, pod, "volumes")}, true
}

// alias reports whether a mount is a sub-path, of whichever pod, which is no name
// for what lies there.
func (s subPath) alias(m mount) bool {
	inside, found := beneath(s.pods, m.at)
	_, inside, _ = strings.Cut(inside, "/")
	return found && strings.HasPrefix(inside, "volume-subpaths/")
}

// behind returns the names that the node has for what lies at a sub-path: none
// for what is in a volume that the kubelet made for this pod, all others for what
// is elsewhere, as in a volume of the node's paths. It reports false unless that
// is certain.
//
// Device and root name a directory for certain, but one can be mounted at several
// places. So one name in the pod's own volumes makes it theirs, and any other may
// make it a directory of the system.
func (s subPath) behind(all []mount) (names []string, certain bool) {
	bound, found := s.bound(all)
	if !found {
		return nil, false
	}
	if !bound.tells() {
		return nil, s.allOurs(all, bound.device)
	}
	for _, m := range all {
		if m.device != bound.device || s.alias(m) || !m.tells() {
			continue
		}
		if name := m.nameOf(bound.root); name != "" {
			if _, ours := beneath(s.volumes, name); ours {
				return nil, true
			}
			names, certain = append(names, name), true
		} else if _, within := beneath(bound.root, m.root); within {
			names = append(names, m.at) // a part of it, which is there as well
		}
	}
	return names, certain
}

// bound returns what is mounted at the sub-path, if that is one thing, nothing
// hides it, and nothing is mounted below it.
func (s subPath) bound(all []mount) (found mount, certain bool) {
	var here []mount // where mounts are shared, it can be there once for each parent
	over := map[string]mount{}
	for _, m := range all {
		if m.at == s.at {
			here = append(here, m)
		} else if _, below := beneath(s.at, m.at); below {
			return mount{}, false
		} else if _, above := beneath(m.at, s.at); above {
			over[m.id] = m
		}
	}
	for _, m := range here {
		if m.device != here[0].device || m.root != here[0].root || m.kind != here[0].kind {
			return mount{}, false
		}
		certain = certain || reached(m, over)
	}
	if !certain {
		return mount{}, false
	}
	return here[0], true
}

// reached reports whether a mount lies on top of all that are over it: each of
// them is then its parent's parent. Any other hides it, or one of those.
func reached(m mount, over map[string]mount) bool {
	passed := 0
	for parent, found := over[m.parent]; found && passed < len(over); parent, found = over[parent.parent] {
		passed++
	}
	return passed == len(over)
}

// allOurs reports whether the whole file system is mounted for this pod's volumes
// only.
func (s subPath) allOurs(all []mount, device string) (ours bool) {
	for _, m := range all {
		if m.device != device || s.alias(m) {
			continue
		}
		if _, ours = beneath(s.volumes, m.at); !ours {
			return false
		}
	}
	return ours
}
