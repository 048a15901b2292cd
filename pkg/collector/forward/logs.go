package forward

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/siem"
)

// logsOf returns the request that carries events, nil when none has a form in
// OCSF. All are of one cluster.
func logsOf(events []siem.Event, now time.Time) *collector.ExportLogsServiceRequest {
	var all []*logs.LogRecord
	for i := range events {
		if one := logOf(&events[i], now); one != nil {
			all = append(all, one)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource: &resource.Resource{Attributes: []*common.KeyValue{
			pair("service.name", "sluice-collector"), pair("sluice.cluster", events[0].Cluster),
		}},
		ScopeLogs: []*logs.ScopeLogs{{
			Scope:      &common.InstrumentationScope{Name: "github.com/sluicegate/sluice/pkg/siem", Version: record.Schema},
			LogRecords: all,
		}},
	}}}
}

func logOf(e *siem.Event, now time.Time) *logs.LogRecord {
	event := e.OCSF()
	if event == nil {
		return nil
	}
	one := &logs.LogRecord{
		ObservedTimeUnixNano: uint64(now.UnixNano()),
		EventName:            "sluice." + string(e.Type()),
		Body:                 valueOf(event),
		Attributes:           []*common.KeyValue{pair("log.record.uid", e.UID())},
	}
	if !e.Invalid {
		one.TimeUnixNano = uint64(e.Header.Time.UnixNano())
	}
	one.SeverityNumber, one.SeverityText = severityOf(event)
	return one
}

// severityOf maps as OpenTelemetry maps syslog's notice, warning and error
// ("Log Data Model", appendix B), which are CEF's here.
func severityOf(event map[string]any) (logs.SeverityNumber, string) {
	text := fmt.Sprint(event["severity"])
	switch text {
	case "Low":
		return logs.SeverityNumber_SEVERITY_NUMBER_INFO2, text
	case "Medium":
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN, text
	case "High":
		return logs.SeverityNumber_SEVERITY_NUMBER_ERROR, text
	}
	return logs.SeverityNumber_SEVERITY_NUMBER_INFO, text
}

func pair(key string, value any) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: valueOf(value)}
}

// valueOf turns a value of siem's into one of OTLP's. What is not UTF-8, which
// protobuf refuses, becomes U+FFFD, as in JSON.
func valueOf(value any) *common.AnyValue {
	switch v := value.(type) {
	case nil:
		return &common.AnyValue{}
	case string:
		return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.ToValidUTF8(v, "\uFFFD")}}
	case bool:
		return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: v}}
	case int:
		return integer(int64(v))
	case int64:
		return integer(v)
	case uint32:
		return integer(int64(v))
	case uint64:
		return valueOf(json.Number(fmt.Sprint(v)))
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return integer(n)
		}
		return valueOf(v.String()) // it does not fit: its digits do
	case []any:
		list := &common.ArrayValue{}
		for _, one := range v {
			list.Values = append(list.Values, valueOf(one))
		}
		return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: list}}
	case map[string]any:
		list := &common.KeyValueList{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list.Values = append(list.Values, pair(strings.ToValidUTF8(key, "\uFFFD"), v[key]))
		}
		return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: list}}
	}
	panic(fmt.Sprintf("siem gave a %T", value)) // it promises the values of JSON
}

func integer(n int64) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: n}}
}
