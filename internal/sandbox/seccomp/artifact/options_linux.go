package artifact

import (
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/fault"
)

// Mode says whether a missing artifact may be made at launch.
type Mode string

// The modes. The zero Mode is CompileOnLaunch.
const (
	CompileOnLaunch Mode = "compile_on_launch"
	PrecompiledOnly Mode = "precompiled_only"
)

// Options are the settings of one profile's filter. The zero value is the shipped
// policy, kept in the state directory. Checksums are always verified.
type Options struct {
	PolicyPath  string // absolute; "" is the shipped policy
	ArtifactDir string // absolute; "" is seccomp-artifacts in the state directory
	Mode        Mode
}

// Names of the variables that FromEnv reads.
const (
	envPolicyPath  = "FIRMA_RUN_MANAGED_SECCOMP_POLICY_PATH"
	envArtifactDir = "FIRMA_RUN_MANAGED_SECCOMP_ARTIFACT_DIR"
	envMode        = "FIRMA_RUN_MANAGED_SECCOMP_RUNTIME_MODE"
	envDisable     = "FIRMA_RUN_MANAGED_SECCOMP_DISABLE_DEFAULT"
)

// FromEnv returns o with what the environment overrides. Asking for no default
// filter is refused, since the base can't be turned off.
func (o Options) FromEnv(getenv func(string) string) (Options, error) {
	if v := getenv(envDisable); !slices.Contains([]string{"", "0", "false", "no", "off"}, strings.ToLower(v)) {
		return o, fault.New("SeccompNotOptional", envDisable+"="+v+" asks for a run without the managed syscall filter, and its base can't be turned off",
			"unset it; a policy file with deny_actions = [], named by "+envPolicyPath+", refuses the least there is")
	}
	if v := getenv(envPolicyPath); v != "" {
		o.PolicyPath = v
	}
	if v := getenv(envArtifactDir); v != "" {
		o.ArtifactDir = v
	}
	if v := getenv(envMode); v != "" {
		o.Mode = Mode(v)
	}
	return o, o.check()
}

func (o Options) check() error {
	switch o.Mode {
	case "", CompileOnLaunch, PrecompiledOnly:
	default:
		return fault.New("ConfigValidation", "there is no seccomp runtime mode "+string(o.Mode), "use compile_on_launch or precompiled_only")
	}
	if filepath.Clean(o.ArtifactDir) == "/" {
		return fault.New("ConfigValidation", "/ can't be the seccomp artifact directory", "name a directory of its own")
	}
	for _, p := range []string{o.PolicyPath, o.ArtifactDir} {
		if p != "" && !filepath.IsAbs(p) {
			return fault.New("ConfigValidation", "the seccomp policy and artifact directory must be absolute paths, and "+p+" is not", "write the whole path")
		}
	}
	return nil
}

// segment is a policy's id or version as a directory name.
func segment(s string) string {
	clean := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)) {
			return r
		}
		return '_'
	}, s)
	if strings.HasPrefix(clean, ".") { // "..", and the names of files being written
		clean = "_" + clean[1:]
	}
	return clean
}

// quote makes a path one word of a shell.
func quote(p string) string {
	safe := strings.IndexFunc(p, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/-_.+,:@%=", r))
	}) < 0
	if safe {
		return p
	}
	return "'" + strings.ReplaceAll(p, "'", `'\''`) + "'"
}
