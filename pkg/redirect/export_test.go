package redirect

// Owner is for tests of the quota.
func Owner(cgroup string) string {
	path, _ := owner(cgroup)
	return path
}

// OwnerOf is likewise.
var OwnerOf = ownerOf
