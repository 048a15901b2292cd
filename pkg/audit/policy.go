package audit

import "github.com/sluicegate/sluice/pkg/record"

// Policy records that another policy holds from here, with what its publisher
// signed, on stable storage.
func (l *Log) Policy(hash string, signed []byte) error {
	about := l.cfg.About
	about.Policy = hash
	return l.appendDurable(&record.Header{Type: record.AgentPolicy, Agent: &about}, &record.Body{Extra: signed}, true)
}
