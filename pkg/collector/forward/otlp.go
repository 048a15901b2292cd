package forward

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	v1 "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/sluicegate/sluice/pkg/siem"
)

// OTLP posts events as logs, OTLP/HTTP in protobuf (OpenTelemetry Protocol
// 1.x). The body of a log record is the OCSF event.
type OTLP struct {
	url    string
	header http.Header
	client *http.Client
	log    *zap.Logger
}

// OTLPConfig says where to post and as whom.
type OTLPConfig struct {
	URL    string // without a path it gets /v1/logs
	Header http.Header
	TLS    *tls.Config // nil: the system's authorities
	Log    *zap.Logger
}

const (
	dialTime    = 10 * time.Second
	maxResponse = 64 << 10
)

// NewOTLP returns a receiver that connects when it is first used.
func NewOTLP(cfg OTLPConfig) (*OTLP, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, errors.New("the address of the receiver is no URL")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/logs"
	}
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: cfg.TLS, TLSHandshakeTimeout: dialTime, ResponseHeaderTimeout: longestSend,
			MaxIdleConns: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // it would carry the header elsewhere
	}
	return &OTLP{url: u.String(), header: cfg.Header, client: client, log: cfg.Log}, nil
}

// Close ends idle connections.
func (o *OTLP) Close() { o.client.CloseIdleConnections() }

// Send posts events. Records without an OCSF event are left out.
func (o *OTLP) Send(ctx context.Context, events []siem.Event) error {
	request := logsOf(events, time.Now())
	if request == nil {
		return nil
	}
	raw, err := proto.Marshal(request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrContent, err)
	}
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	if _, err := zip.Write(raw); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, &body)
	if err != nil {
		return err
	}
	r.Header = o.header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "gzip")
	answer, err := o.client.Do(r)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(io.LimitReader(answer.Body, maxResponse))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return o.judge(answer, said)
}

// judge reads an answer (OTLP, "OTLP/HTTP Response"). Only what the receiver
// holds against the content is given up; a refused login or a wrong path is
// mended by an operator, and the records wait.
func (o *OTLP) judge(answer *http.Response, said []byte) error {
	reason := "the answer is " + answer.Status
	switch code := answer.StatusCode; {
	case code == http.StatusOK:
		return o.accepted(said)
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %s", ErrContent, reason)
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After")) // absent or a date: our own pause
		return &busyError{reason, time.Duration(max(0, min(seconds, 3600))) * time.Second}
	}
	return errors.New(reason)
}

// accepted logs what a receiver that took the rest did not take: it must not
// be sent again (OTLP, "Partial Success").
func (o *OTLP) accepted(said []byte) error {
	var response v1.ExportLogsServiceResponse
	if err := proto.Unmarshal(said, &response); err != nil {
		return errors.New("the answer is not one of OTLP")
	}
	if partial := response.GetPartialSuccess(); partial.GetRejectedLogRecords() > 0 {
		o.log.Error("The receiver took only a part of the records", zap.Int64("rejected", partial.GetRejectedLogRecords()))
	}
	return nil
}
