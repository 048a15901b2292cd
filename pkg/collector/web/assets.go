package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"mime"
	"net/http"
	"path"
	"strings"
)

// vendor/ holds files of npm packages as they were published; scripts/assets
// fetches and checks them (see assets/vendor.txt).
//
//go:embed assets
var assetFiles embed.FS

//go:embed templates
var templateFiles embed.FS

// assets are the files that pages load, by name; version is over all of them,
// so that a browser can keep each for good.
var assets, version = readAssets()

// templates are the pages by name, each within the base.
var templates = parseTemplates()

func readAssets() (files map[string][]byte, version string) {
	files = map[string][]byte{}
	sum := sha256.New()
	for _, dir := range []string{"assets", "assets/vendor"} {
		entries, err := assetFiles.ReadDir(dir)
		if err != nil {
			panic(err) // they are compiled in
		}
		for _, e := range entries {
			if e.IsDir() || strings.HasSuffix(e.Name(), ".txt") {
				continue
			}
			data, err := assetFiles.ReadFile(path.Join(dir, e.Name()))
			if err != nil {
				panic(err) // as above
			}
			files[e.Name()] = data
			_, _ = sum.Write(data) // a hash never fails to write
		}
	}
	return files, hex.EncodeToString(sum.Sum(nil)[:8])
}

func parseTemplates() map[string]*template.Template {
	pages := map[string]*template.Template{}
	base := template.Must(template.New("base").Funcs(functions).ParseFS(templateFiles, "templates/base.html", "templates/parts.html"))
	entries, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err) // they are compiled in
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name != "base" && name != "parts" {
			pages[name] = template.Must(template.Must(base.Clone()).ParseFS(templateFiles, "templates/"+e.Name()))
		}
	}
	return pages
}

func assetURL(name string) string { return "/assets/" + version + "/" + name }

func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	data, ok := assets[name]
	if !ok || r.PathValue("version") != version {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(data) // an error means that the browser has gone
}
