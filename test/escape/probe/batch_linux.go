package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// patience bounds one try: a technique that hangs is cut and counted as an error.
const patience = 20 * time.Second

// batch runs each try in a process of its own, since a filter may answer with a
// signal. The entry ["hold"] prints a "ready" line and waits for a line of input,
// so that the driver can act on the host in between.
func batch(args []string) int {
	var tries [][]string
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &tries) != nil {
		fmt.Fprintln(os.Stderr, "probe: batch needs one JSON array of arrays")
		return 2
	}
	in := bufio.NewReader(os.Stdin)
	for _, t := range tries {
		if len(t) == 1 && t[0] == "hold" {
			emit(Result{Technique: "hold", Result: "ready"})
			if _, err := in.ReadString('\n'); err != nil {
				return 0
			}
			continue
		}
		emit(isolated(t))
	}
	return 0
}

func isolated(t []string) any {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", t...)
	cmd.Args[0] = "probe"
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, &out, &errs
	err := cmd.Run()
	line := bytes.TrimSpace(out.Bytes())
	if json.Valid(line) && len(line) > 0 {
		return json.RawMessage(line)
	}
	r := Result{Technique: t[0], Args: t[1:], Result: failed, Detail: fmt.Sprintf("no answer: %v %s", err, errs.Bytes())}
	var exit *exec.ExitError
	if ctx.Err() == nil && errors.As(err, &exit) && exit.ExitCode() == -1 {
		r.Result, r.Detail = refused, "killed: "+exit.String()
	}
	return r
}
