//go:build !linux

package canary

import "os"

func systemFacts(string, os.FileInfo) string { return "" }
