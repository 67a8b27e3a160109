package wire_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The committed code is what the proto files generate. Needs protoc and both
// plugins; without them the test is skipped and go generate is the check.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	for _, tool := range []string{"protoc", "protoc-gen-go", "protoc-gen-connect-go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	out := t.TempDir()
	cmd := exec.Command("protoc", "-I", "proto", "--go_out="+out, "--go_opt=module=firma/internal/wire",
		"--connect-go_out="+out, "--connect-go_opt=module=firma/internal/wire",
		"firma/v1/authority.proto", "firma/witness/v1/witness.proto", "firma/interceptor/v1/hook.proto")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("protoc: %v\n%s", err, text)
	}
	seen := 0
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		compare(t, path, strings.TrimPrefix(path, out+string(filepath.Separator)))
		return nil
	})
	if err != nil || seen != 6 {
		t.Fatalf("generated %d files, want 6 (%v)", seen, err)
	}
}

// compare ignores the header comment, which names the protoc release.
func compare(t *testing.T, fresh, committed string) {
	t.Helper()
	want, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(body(want), body(got)) {
		t.Errorf("%s is not what the proto files generate: run go generate ./internal/wire", committed)
	}
}

// TestDocumentedFile: the file that users generate clients from is the one we use.
func TestDocumentedFile(t *testing.T) {
	source, err := os.ReadFile("proto/firma/interceptor/v1/hook.proto")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/interceptor.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte("```proto\n"+string(source)+"```\n")) {
		t.Error("docs/interceptor.md does not have proto/firma/interceptor/v1/hook.proto as it is")
	}
}

func body(src []byte) []byte {
	_, after, _ := bytes.Cut(src, []byte("\npackage "))
	return after
}
