package collector

import (
	"archive/tar"
	"context"
	"io"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
)

// export writes a bundle as a tar stream.
func export(ctx context.Context, db *store.Store, to io.Writer, sees view.Scope, what api.Selection) (err error) {
	var bundle translog.Export
	if what.Session != "" {
		bundle, err = db.SessionBundle(ctx, sees, what.Session)
	} else {
		bundle, err = db.SinceBundle(ctx, what.Since)
	}
	if err != nil {
		return err
	}
	// What witnesses saw of a newer checkpoint is of the next export.
	if size, cosigned, err := db.Cosigned(ctx); err != nil {
		return err
	} else if size <= bundle.Size {
		bundle.Cosigned, bundle.CosignedSize = cosigned, size
	}
	archive := tar.NewWriter(to)
	now := time.Now()
	err = translog.WriteBundle(bundle, func(name string, data []byte) error {
		head := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: now, Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(head); err != nil {
			return err
		}
		_, err := archive.Write(data)
		return err
	})
	if err != nil {
		return err // without the end of the archive: the reader must see that it is cut
	}
	return archive.Close()
}
