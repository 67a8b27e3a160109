//go:build linux

package launch

import (
	"bufio"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"firma/internal/config"
	"firma/internal/fault"
)

const prompt = `No Authority is configured for this project.
firma run can start a local Mini Authority for development on [::1]:<ephemeral-port>.
This is suitable for a single developer on a trusted workstation.
Start a local Mini Authority? [y/N]: `

// ChooseAuthority decides which Authority a run uses: the flag, then the
// persisted configuration, then one question on a terminal, whose "y" is kept in
// userFile. It returns Local or a URL.
func ChooseAuthority(flag string, c *config.Config, std Streams, userFile string) (string, error) {
	switch {
	case flag == Local:
		return Local, nil
	case flag != "":
		return flag, checkURL(flag)
	case c.Authority != nil:
		return Local, nil
	case c.Sidecar.Authority.URL != "":
		return c.Sidecar.Authority.URL, checkURL(c.Sidecar.Authority.URL)
	case !term.IsTerminal(int(std.In.Fd())):
		return "", fault.New("AuthorityPromptNoTty", "no Authority is configured, and there is no terminal to ask on",
			"start a per-run one with: firma run --authority local -- …; or add an [authority] table to "+userFile)
	}
	fmt.Fprint(std.Err, prompt)
	answer, _ := bufio.NewReader(std.In).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return "", fault.New("AuthorityDeclined", "no Authority was started",
			"answer y, pass --authority local, or point --authority at one that runs")
	}
	return Local, persist(userFile)
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fault.New("ConfigValidation", s+" is not the URL of an Authority", "use --authority local, or a URL such as http://[::1]:50051")
	}
	return nil
}

// persist adds an [authority] table to the user's configuration.
func persist(path string) error {
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	}
	if err == nil {
		_, err = f.WriteString("\n# firma run starts a local Mini Authority for each run.\n[authority]\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fault.Wrap(err, "ConfigNotWritable", "the choice could not be kept in "+path, "pass --authority local instead")
	}
	return nil
}
