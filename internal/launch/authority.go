//go:build linux

package launch

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"firma/internal/config"
	"firma/internal/fault"
)

const prompt = `No Authority is configured for this project.
firma run can start a local Mini Authority for development on [::1]:<ephemeral-port>.
This is suitable for a single developer on a trusted workstation.
Start a local Mini Authority? [y/N]: `

// AuthorityChoice is what an Authority is chosen by.
type AuthorityChoice struct {
	Flag        string // --authority
	NoAutostart bool
	Config      *config.Config
	Where       config.Where // of the configuration that keeps a "y"
}

// Configured decides which Authority a run uses by the flag, then the
// configuration. It returns Local, a URL, or "" when nothing is configured and the
// user would have to be asked. It starts nothing and asks nobody.
func (a *AuthorityChoice) Configured() (string, error) {
	c := a.Config
	switch {
	case a.Flag == Local && a.NoAutostart:
		return "", fault.New("AuthorityLocalNoAutostart", "--authority local starts an Authority, which --no-autostart forbids", "leave out one of the two")
	case a.Flag == Local:
		return Local, nil
	case a.Flag != "":
		return a.Flag, checkURL(a.Flag)
	case c.Authority != nil && !a.NoAutostart:
		return Local, nil
	case c.Sidecar.Authority.URL != "":
		return c.Sidecar.Authority.URL, checkURL(c.Sidecar.Authority.URL)
	case c.Authority != nil:
		return "", fault.New("MissingAuthority", "[authority] in "+c.Path+" asks for a local Authority, which --no-autostart forbids to start",
			"name one that runs: --authority URL, or url in [sidecar.authority]")
	case a.NoAutostart:
		return "", fault.New("MissingAuthority", "no Authority is configured, and --no-autostart forbids to start one",
			"name one that runs: --authority URL, or url in [sidecar.authority]; or leave --no-autostart out")
	}
	return "", nil
}

// Choose is Configured, then one question on a terminal, whose "y" is kept in the
// configuration.
func (a *AuthorityChoice) Choose(std Streams) (string, error) {
	chosen, err := a.Configured()
	if err != nil || chosen != "" {
		return chosen, err
	}
	if !term.IsTerminal(int(std.In.Fd())) {
		return "", a.noTerminal()
	}
	yes, err := ask(std)
	if err != nil {
		return "", err
	}
	if !yes {
		return "", fault.New("AuthorityDeclined", "no Authority was started",
			"answer y, pass --authority local, or point --authority at one that runs")
	}
	return Local, a.Config.PersistAuthority(a.Where)
}

func (a *AuthorityChoice) noTerminal() error {
	return fault.New("AuthorityPromptNoTty", "no Authority is configured, and there is no terminal to ask on",
		"start one for this run: firma run --authority local -- …; or add an [authority] table to "+a.Config.PersistPath(a.Where))
}

// ask asks, and waits for the answer. A signal that ends a process ends the question, and
// is said like any other failure.
func ask(std Streams) (yes bool, err error) {
	ended := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(ended, s)
		}
	}
	defer signal.Stop(ended)
	fmt.Fprint(std.Err, prompt)
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(std.In).ReadString('\n')
		line <- s
	}()
	select {
	case <-ended:
		fmt.Fprintln(std.Err) // the cursor is behind the question
		return false, fault.New("Interrupted", "the question was interrupted, and nothing was started", "answer it, or pass --authority local")
	case s := <-line:
		if !strings.HasSuffix(s, "\n") {
			fmt.Fprintln(std.Err)
		}
		s = strings.ToLower(strings.TrimSpace(s))
		return s == "y" || s == "yes", nil
	}
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fault.New(fault.ArgumentInvalid, s+" is not the URL of an Authority", "use --authority local, or a URL such as http://[::1]:50051")
	}
	return nil
}
