// Package telemetry sets up the programs' logs and metrics.
//
// Logs say what an operator must know about the program; what jobs do is in
// the records. The package declares the keys of log fields once, and its tests
// hold that what jobs and servers wrote cannot be printed through the words
// that carry it. It keeps no state and starts nothing: the caller serves the
// handler and flushes the logger.
package telemetry

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sluicegate/sluice/pkg/session"
)

// The keys of log fields that more than one package writes.
const (
	KeySession     = "session"     // session id
	KeyParent      = "parent"      // id of the session that a session is inside of
	KeyResource    = "resource"    // resource name
	KeyProtocol    = "protocol"    // protocol name
	KeyDestination = "destination" // address and port that the job asked for
	KeyContainer   = "container"   // container id, attested by the kernel
	KeyAssurance   = "assurance"   // "A0" to "A4"
	KeyOperation   = "operation"   // number within the session
	KeyApproval    = "approval"    // number of the approval
	KeyRule        = "rule"        // rule name
)

// Format is how log lines are written.
type Format string

// The formats.
const (
	JSON    Format = "json"    // for machines: one object per line
	Console Format = "console" // for people
)

// Of lines with one message and level within a second the first logFirst are
// written, and of the rest each logEach-th: what jobs do without end shall not
// fill the disk with what is said of it.
const (
	logFirst = 100
	logEach  = 1000
)

// NewLogger returns a logger that writes to out: "stderr", "stdout" or a path.
// Level is debug, info, warn or error.
func NewLogger(format Format, level, out string) (*zap.Logger, error) {
	threshold, err := parseLevel(level)
	if err != nil {
		return nil, err
	}
	if format != JSON && format != Console {
		return nil, fmt.Errorf("%q is not a log format: write json or console", format)
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey = "time"
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	logger, err := zap.Config{
		Level:             zap.NewAtomicLevelAt(threshold),
		Sampling:          &zap.SamplingConfig{Initial: logFirst, Thereafter: logEach},
		Encoding:          string(format),
		EncoderConfig:     encoding,
		OutputPaths:       []string{out},
		ErrorOutputPaths:  []string{"stderr"},
		DisableStacktrace: true,
	}.Build()
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return logger, nil
}

// parseLevel reads one of the four levels that we use.
func parseLevel(text string) (zapcore.Level, error) {
	for _, level := range []zapcore.Level{zap.DebugLevel, zap.InfoLevel, zap.WarnLevel, zap.ErrorLevel} {
		if level.String() == text {
			return level, nil
		}
	}
	return 0, fmt.Errorf("%q is not a log level: write debug, info, warn or error", text)
}

// Fields returns what every log line of a session carries.
func Fields(s *session.Session) []zap.Field {
	return []zap.Field{
		zap.String(KeySession, s.ID),
		zap.String(KeyResource, s.Resource),
		zap.String(KeyProtocol, s.Protocol),
		zap.Stringer(KeyDestination, s.Destination),
		zap.String(KeyContainer, s.Workload.Kernel.Container),
		zap.Stringer(KeyAssurance, s.Workload.Assurance),
	}
}
