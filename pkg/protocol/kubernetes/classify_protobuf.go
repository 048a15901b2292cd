package kubernetes

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// protobufMagic begins every body of Kubernetes' protobuf (apimachinery,
// runtime/serializer/protobuf). Behind it stands a runtime.Unknown.
var protobufMagic = []byte("k8s\x00")

// Numbers of fields, in the order of the messages.
const (
	unknownRaw    = 2 // of runtime.Unknown: the object
	unknownCoding = 3 // its encoding, which nobody sets
	objectMeta    = 1 // of every object
	metaName      = 1 // of ObjectMeta
	deleteDryRun  = 5 // of DeleteOptions
)

// Types of the values in protobuf's wire format.
const (
	varint  = 0
	fixed64 = 1
	sized   = 2
	fixed32 = 5
)

// nameInProtobuf reads metadata.name of an object in its envelope. An object
// whose first field is no metadata has a name only by accident: then it is one
// that the server would refuse.
func nameInProtobuf(body []byte) (string, error) {
	object, err := unwrapped(body)
	if err != nil {
		return "", err
	}
	metadata, err := single(object, objectMeta)
	if err != nil {
		return "", err
	}
	name, err := single(metadata, metaName)
	if err == nil && !utf8.Valid(name) {
		err = errUnread
	}
	return string(name), err
}

func dryInProtobuf(body []byte) (values []string, err error) {
	options, err := unwrapped(body)
	if err != nil {
		return nil, err
	}
	err = eachField(options, func(number uint64, value []byte) {
		if number == deleteDryRun {
			values = append(values, string(value))
		}
	})
	return values, err
}

// unwrapped takes an object out of its envelope.
func unwrapped(body []byte) ([]byte, error) {
	envelope, found := bytes.CutPrefix(body, protobufMagic)
	if !found {
		return nil, errUnread
	}
	if coding, err := single(envelope, unknownCoding); err != nil || len(coding) > 0 {
		return nil, errUnread
	}
	return single(envelope, unknownRaw)
}

// single returns a field that stands once, or not at all. A message that stands
// twice is merged by some decoders.
func single(message []byte, wanted uint64) (found []byte, err error) {
	times := 0
	err = eachField(message, func(number uint64, value []byte) {
		if number == wanted {
			found, times = value, times+1
		}
	})
	if times > 1 {
		err = errUnread
	}
	return found, err
}

// eachField calls visit for the fields of a message; of those that are no
// strings, bytes or messages with a nil value.
func eachField(message []byte, visit func(number uint64, value []byte)) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 || tag>>3 == 0 {
			return errUnread
		}
		message = message[n:]
		size := uint64(0)
		switch tag & 7 {
		case varint:
			_, n := binary.Uvarint(message)
			if n <= 0 {
				return errUnread
			}
			size = uint64(n)
		case fixed64:
			size = 8
		case fixed32:
			size = 4
		case sized:
			length, n := binary.Uvarint(message)
			if n <= 0 || length > uint64(len(message)-n) {
				return errUnread
			}
			message = message[n:]
			visit(tag>>3, message[:length])
			message = message[length:]
			continue
		default:
			return errUnread
		}
		if size > uint64(len(message)) {
			return errUnread
		}
		visit(tag>>3, nil)
		message = message[size:]
	}
	return nil
}
