package workload

// Product is an AI coding agent that is known.
type Product struct {
	Name string
	// Programs are the names under which it is executed, of at most 14
	// bytes. A mark in the kernel is this product's place in Products.
	Programs []string
	// Shared says that other programs have these names too: whoever is executed
	// under one is maybe an AI agent, and not known to be a pipeline.
	Shared bool
	// Variables are what it sets in the environment of the commands it runs. Any
	// job can set them too.
	Variables []string
}

// Products are all that are known, the most telling variables first. A new one
// comes last, and none goes: processes carry its place across upgrades. The
// kernel has room for 64.
var Products = []Product{
	{Name: "claude-code-action", Variables: []string{"CLAUDE_CODE_ACTION"}},
	{Name: "claude-code", Programs: []string{"claude"}, Variables: []string{"CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT"}},
	{Name: "codex", Programs: []string{"codex"}, Variables: []string{"CODEX_THREAD_ID", "CODEX_SANDBOX"}},
	{Name: "gemini-cli", Programs: []string{"gemini"}, Variables: []string{"GEMINI_CLI"}},
	{Name: "copilot-cli", Programs: []string{"copilot"}, Variables: []string{"COPILOT_CLI"}},
	{Name: "copilot", Variables: []string{"COPILOT_AGENT_JOB_ID"}},
	{Name: "cursor", Programs: []string{"cursor-agent"}, Variables: []string{"CURSOR_AGENT", "CURSOR_TRACE_ID"}},
	{Name: "opencode", Programs: []string{"opencode"}, Variables: []string{"OPENCODE"}},
	{Name: "qwen-code", Programs: []string{"qwen"}, Variables: []string{"QWEN_CODE"}},
	{Name: "augment", Programs: []string{"auggie"}, Variables: []string{"AUGMENT_AGENT"}},
	{Name: "aider", Programs: []string{"aider"}},
	{Name: "goose", Programs: []string{"goose", "goosed"}, Shared: true}, // and a tool for migrations of databases
	{Name: "crush", Programs: []string{"crush"}},
	{Name: "amp", Programs: []string{"amp"}, Shared: true},     // and an editor
	{Name: "droid", Programs: []string{"droid"}, Shared: true}, // and a tool of archives
}
