package workload

// Run is one run of a pipeline: what its sessions have in common.
type Run struct {
	ID       string // "<repository>/<number>", as the CI system writes both
	Verified bool   // from a verified token; else the job says so itself
}

// runWords lists, for each CI system, the words in which it names a run:
// claims of a verified token, and variables of the environment.
var runWords = []struct{ claim, number, variable, numberVariable string }{
	{"repository", "run_id", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"},
	{"project_path", "pipeline_id", "CI_PROJECT_PATH", "CI_PIPELINE_ID"},
	{"pipeline_slug", "build_id", "BUILDKITE_PIPELINE_SLUG", "BUILDKITE_BUILD_ID"},
	{"", "", "JOB_NAME", "BUILD_NUMBER"},
}

// Run returns the run that a workload belongs to; the zero Run when nobody
// names one. A verified token that names a run is believed over the job.
func (w *Workload) Run() Run {
	if w.Assurance >= Verified {
		for _, words := range runWords {
			repository, _ := w.Verified[words.claim].(string)
			number, _ := w.Verified[words.number].(string)
			if repository != "" && number != "" {
				return Run{repository + "/" + number, true}
			}
		}
	}
	for _, words := range runWords {
		repository, number := w.Claimed.Env[words.variable], w.Claimed.Env[words.numberVariable]
		if repository != "" && number != "" {
			return Run{ID: repository + "/" + number}
		}
	}
	return Run{}
}
