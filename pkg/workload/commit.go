package workload

// Commit returns the commit that a job runs, as its verified token names it,
// empty where no token was verified or none is named. GitHub's and GitLab's
// tokens name it in sha.
func (w *Workload) Commit() string {
	if w.Assurance < Verified {
		return ""
	}
	commit, _ := w.Verified["sha"].(string)
	return commit
}
