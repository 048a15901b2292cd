package bypass

// stagedTechniques are those that a test of their own sets up.
func stagedTechniques() []string {
	return []string{
		"moved-cgroup", "passed-socket", "older-socket", "leg-sniff", "leg-listen", "leg-reset",
		"flood-connections", "flood-datagrams", "flood-raw", "traffic-control",
	}
}
